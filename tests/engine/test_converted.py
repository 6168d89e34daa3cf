"""Weights that were converted are kept on disk as they are computed with."""

import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.hashes import Hashes
from studio.engine import converted
from studio.engine import manager as room
from studio.engine.device import Device
from studio.engine.manager import Manager
from studio.engine.store import Store
from studio.families._family import Role
from studio.paths import CONFIGS

UNET = "unet/diffusion_pytorch_model.safetensors"
Make = Callable[..., Manager]


@pytest.fixture
def own(twins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two checkpoints whose denoisers are in other numbers than is computed in."""
    monkeypatch.setattr(room, "MAPPED_BYTES", 1)
    made = Path(shutil.copytree(twins, tmp_path / "own"))
    for name in "ab":
        half = {key: one.half() for key, one in load_file(made / name / UNET).items()}
        save_file(half, made / name / UNET)
    return made


@pytest.fixture
def make(device: Device, tmp_path: Path) -> Make:
    """A studio's manager, as it is after each start."""
    return lambda most=None: Manager(device, CONFIGS, Hashes(None), tmp_path / "cache", most)


def painted(manager: Manager, own: Path, name: str) -> tuple[bool, dict[str, Any]]:
    """Whether the denoiser lay in a file, and its numbers; then there is nothing left to do, and
    nothing in memory."""
    with manager.use(Catalog((own,)).get(name), Role.TEXT) as lease:
        numbers = {key: one.clone() for key, one in lease.pipeline.unet.state_dict().items()}
        [mapped] = {h.mapped for h in manager.ledger().holdings if h.part == "unet"}
    manager.leisure.finish()
    manager.unload_all()
    return mapped, numbers


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "converted").glob("*.safetensors"))


def test_they_lie_in_a_file_from_the_second_time_on(make: Make, own: Path, tmp_path: Path) -> None:
    first, numbers = painted(make(), own, "a")
    [file] = kept(tmp_path)
    manager = make()
    assert manager.ledger().converted_bytes == file.stat().st_size
    second, same = painted(manager, own, "a")
    assert (first, second) == (False, True)
    assert same.keys() == numbers.keys()
    assert all(torch.equal(same[name], tensor) for name, tensor in numbers.items())


def test_a_file_that_was_changed_is_read_and_not_what_was_kept(
    make: Make, own: Path, tmp_path: Path
) -> None:
    manager = make()
    painted(manager, own, "a")
    shutil.copyfile(own / "b" / UNET, own / "a" / UNET)
    mapped, numbers = painted(manager, own, "a")
    wanted = load_file(own / "b" / UNET)
    assert not mapped
    assert all(torch.equal(numbers[name], tensor.float()) for name, tensor in wanted.items())


@pytest.mark.skipif(sys.platform != "linux", reason="others have no such names")
def test_a_checkpoint_may_have_any_name(make: Make, own: Path, tmp_path: Path) -> None:
    strange = own.with_name(os.fsdecode(b"caf\xe9\nof\tthe corner"))
    own.rename(strange)
    for _ in range(2):
        mapped, _ = painted(make(), strange, "a")
    assert mapped and kept(tmp_path)


def test_what_a_studio_was_killed_over_is_gone(make: Make, own: Path, tmp_path: Path) -> None:
    (tmp_path / "cache" / "converted").mkdir(parents=True)
    (tmp_path / "cache" / "converted" / ".tmp-1-half.safetensors").write_bytes(b"half of it")
    (tmp_path / "cache" / "converted" / "lost.safetensors").write_bytes(b"nobody knows whose")
    (tmp_path / "cache" / "converted" / "lost.from").write_bytes(b"")
    make()
    assert not list((tmp_path / "cache" / "converted").iterdir())


def test_what_is_half_written_when_the_studio_ends_is_gone(
    make: Make, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def writing(_: Store, ended: threading.Event) -> None:
        begun.set()
        assert ended.wait(20)

    monkeypatch.setattr(converted, "wait_until_idle", writing)
    manager = make()
    with manager.use(Catalog((own,)).get("a"), Role.TEXT):
        pass
    assert begun.wait(20)
    assert list((tmp_path / "cache" / "converted").iterdir())
    manager.end()
    assert not list((tmp_path / "cache" / "converted").iterdir())
    manager.leisure.finish()
    assert not list((tmp_path / "cache" / "converted").iterdir())


def test_what_is_damaged_is_converted_again(make: Make, own: Path, tmp_path: Path) -> None:
    manager = make()
    _, numbers = painted(manager, own, "a")
    [file] = kept(tmp_path)
    file.write_bytes(file.read_bytes()[:-8])
    mapped, same = painted(manager, own, "a")
    assert not mapped
    assert all(torch.equal(same[name], tensor) for name, tensor in numbers.items())
    assert painted(manager, own, "a")[0]


def test_what_cannot_be_opened_now_stays(
    make: Make, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(24, "Too many open files")

    manager = make()
    painted(manager, own, "a")
    with monkeypatch.context() as patch:
        patch.setattr(converted, "read_header", refuse)
        assert not painted(manager, own, "a")[0]
    assert kept(tmp_path)
    assert painted(manager, own, "a")[0]


def test_what_was_not_used_for_a_day_makes_room(make: Make, own: Path, tmp_path: Path) -> None:
    shutil.copytree(own / "b", own / "c")
    changed = {name: one + 1 for name, one in load_file(own / "c" / UNET).items()}
    save_file(changed, own / "c" / UNET)
    manager = make()
    for name in "ab":
        painted(manager, own, name)
    two = kept(tmp_path)
    manager = make(sum(file.stat().st_size for file in two))
    assert [painted(manager, own, "c")[0] for _ in range(3)] == [False] * 3
    assert kept(tmp_path) == two
    for mark in (tmp_path / "cache" / "converted").glob("*.from"):
        os.utime(mark, (1, 1))
    assert painted(manager, own, "b")[0]
    assert [painted(manager, own, name)[0] for name in "ccba"] == [False, True, True, False]


def test_nothing_is_kept_without_room_or_where_it_cannot_be_written(
    make: Make, own: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "converted").write_bytes(b"")
    for most in (None, 1000):
        manager = make(most)
        assert [painted(manager, own, "a")[0] for _ in range(3)] == [False] * 3
        (tmp_path / "cache" / "converted").unlink(missing_ok=True)
    assert not kept(tmp_path)


def test_those_of_a_checkpoint_that_is_gone_go_too_and_all_on_demand(
    make: Make, own: Path, tmp_path: Path
) -> None:
    manager = make()
    for name in "ab":
        painted(manager, own, name)
    (own / "a" / UNET).unlink()
    make()
    assert len(kept(tmp_path)) == 1
    make(0)
    assert not list((tmp_path / "cache" / "converted").iterdir())


def test_what_fails_holds_nothing_up(
    make: Make, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise PermissionError

    manager = make()
    with monkeypatch.context() as patched:
        patched.setattr(converted, "require_free", broken)
        with manager.use(Catalog((own,)).get("a"), Role.TEXT):
            done = list[bool]()
            [entry] = [e for e in manager._store.rows() if e.part == "unet"]
            manager.leisure.later("keep", manager._converted._keep, manager._store, entry)
            manager.leisure.later("last", lambda *_: done.append(True), manager._store, entry)
        manager.leisure.finish()
    assert done and not kept(tmp_path)
