"""Weights that a processor can compute with as they lie in their file stay there."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.header import read_header
from studio.core.errors import Unavailable
from studio.costs.memory import Held, Memory
from studio.costs.predict import room_for
from studio.costs.work import Work
from studio.engine import gauge
from studio.engine import manager as room
from studio.engine.contents import hashed
from studio.engine.device import Device
from studio.engine.gauge import Gauge
from studio.engine.manager import Manager
from studio.engine.slabs import Mapped, Window, arranged, views
from studio.families._family import Role

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def own(twins: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twins, tmp_path / "own"))


@pytest.fixture(autouse=True)
def _all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAPPED_BYTES", 1)


def numbers(net: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_they_are_those_of_the_file_and_take_no_memory_of_their_own(
    manager: Manager, twins: Path
) -> None:
    catalog, store = Catalog((twins,)), manager._store
    with manager.use(catalog.get("a"), Role.TEXT) as lease:
        held = numbers(lease.pipeline.unet)
        wanted = load_file(twins / "a" / UNET)
        assert all(torch.equal(held[name], tensor) for name, tensor in wanted.items())
        assert all(holding.mapped for holding in manager.ledger().holdings)
        assert store.anonymous_bytes == 0 < store.ram_bytes
    with manager.use(catalog.get("b"), Role.TEXT):
        shared = {h.part for h in manager.ledger().holdings if h.checkpoints == ("a", "b")}
        assert shared == {"vae", "text_encoder"}
    assert manager.unload_all() > 0 and manager.ledger().ram_bytes == 0


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(),
    reason="this system has no large pages",
)
def test_they_are_to_lie_in_large_pages(manager: Manager, twins: Path) -> None:
    with manager.use(Catalog((twins,)).get("a"), Role.TEXT):
        _, found = Path("/proc/self/smaps").read_text().split(str(twins / "a" / UNET))
    flags = next(line for line in found.splitlines() if line.startswith("VmFlags:"))
    assert "hg" in flags.split()


def test_what_is_small_or_in_other_numbers_is_copied(
    manager: Manager, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = {name: one.half() for name, one in load_file(own / "a" / UNET).items()}
    save_file(half, own / "a" / UNET)
    monkeypatch.setattr(room, "MAPPED_BYTES", 20_000)
    with manager.use(Catalog((own,)).get("a"), Role.TEXT) as lease:
        found = numbers(lease.pipeline.unet)
        assert all(torch.equal(found[name], tensor.float()) for name, tensor in half.items())
    holdings = manager.ledger().holdings
    mapped = {h.part for h in holdings if h.mapped}
    assert mapped == {h.part for h in holdings if h.part != "unet" and h.size_bytes >= 20_000}


def test_what_a_file_system_does_not_map_is_copied(
    manager: Manager, twins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> Any:
        raise OSError(19, "No such device")

    monkeypatch.setattr(room, "Mapped", refused)
    with manager.use(Catalog((twins,)).get("a"), Role.TEXT) as lease:
        wanted = load_file(twins / "a" / UNET)
        assert torch.equal(lease.pipeline.unet.conv_in.weight, wanted["conv_in.weight"])
    assert not any(holding.mapped for holding in manager.ledger().holdings)


def test_a_file_that_another_takes_the_place_of_is_what_it_was(manager: Manager, own: Path) -> None:
    catalog = Catalog((own,))
    with manager.use(catalog.get("a"), Role.TEXT) as old:
        before = numbers(old.pipeline.unet)
        os.replace(own / "b" / UNET, own / "a" / UNET)
        with manager.use(catalog.get("a"), Role.TEXT) as new:
            assert not torch.equal(new.pipeline.unet.conv_in.weight, before["conv_in.weight"])
        after = numbers(old.pipeline.unet)
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_file_that_is_overwritten_in_use_is_told_and_read_again(
    manager: Manager, own: Path
) -> None:
    catalog, written = Catalog((own,)), (own / "b" / UNET).read_bytes()
    with (
        pytest.raises(Unavailable, match="'a' was overwritten while it was used"),
        manager.use(catalog.get("a"), Role.TEXT),
        (own / "a" / UNET).open("r+b") as file,
    ):
        file.write(written)
    wanted = load_file(own / "a" / UNET)
    with manager.use(catalog.get("a"), Role.TEXT) as lease:
        assert torch.equal(lease.pipeline.unet.conv_in.weight, wanted["conv_in.weight"])


def test_what_others_share_of_an_overwritten_file_is_read_from_their_own(
    manager: Manager, own: Path
) -> None:
    catalog = Catalog((own,))
    for name in "ab":
        with manager.use(catalog.get(name), Role.TEXT):
            pass
    [file] = (own / "a" / "vae").glob("*.safetensors")
    good, wanted = file.read_bytes(), load_file(own / "b" / "vae" / file.name)
    with file.open("r+b") as opened:
        opened.write(good[:-64] + bytes(64))
    with manager.use(catalog.get("b"), Role.TEXT) as lease:
        found = numbers(lease.pipeline.vae)
        assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_a_file_that_was_cut_off_is_refused_before_it_is_looked_at(
    manager: Manager, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Mapped):
        def __init__(self, *args: Any) -> None:
            with (own / "a" / UNET).open("r+b") as file:
                file.truncate(5000)
            super().__init__(*args)

    monkeypatch.setattr(room, "Mapped", Late)
    with (
        pytest.raises(Unavailable, match="cut off while it was being read"),
        manager.use(Catalog((own,)).get("a"), Role.TEXT),
    ):
        pass
    assert manager.ledger().holdings == ()


def test_a_tensor_without_numbers_is_one_too(tmp_path: Path) -> None:
    stored = {"a": torch.randn(3), "none": torch.empty(0, 3), "z": torch.ones(2, 2)}
    save_file(stored, tmp_path / "a.safetensors")
    header = read_header(tmp_path / "a.safetensors")
    windows = {
        name: Window(tmp_path / "a.safetensors", header.data_begin + one.begin)
        for name, one in header.tensors.items()
    }
    places, size = arranged((name, tuple(one.shape), one.dtype) for name, one in stored.items())
    found = Mapped(windows, places, size, lambda: None).tensors(places)
    assert all(torch.equal(found[name], tensor) for name, tensor in stored.items())


def test_memory_is_not_found_more_than_it_is() -> None:
    places, size = arranged([("a", (2, 3), torch.float16), ("b", (), torch.int64)])
    memory = torch.zeros(2 * size, dtype=torch.uint8)[size:]
    found = views(memory, places)
    found["b"].fill_(-1)
    assert memory.sum() == 8 * 255 == memory[places["b"].offset :][:8].sum()
    assert found["a"].shape == (2, 3) and found["a"].is_contiguous()
    with pytest.raises(ValueError, match="memory"):
        views(memory[: size - 256], places)


def test_what_the_system_takes_back_by_itself_is_counted_once() -> None:
    def memory(*, mapped: bool) -> Memory:
        held = Held(id="x", name="unet", owners=("sd",), bytes=2 * 10**9, tier="ram", mapped=mapped)
        return Memory(device="cpu", dtype="bfloat16", free=10**10, components=(held,))

    work = Work(checkpoint="sd", passes=())
    assert room_for(work, memory(mapped=False), ()).most == 12 * 10**9
    assert room_for(work, memory(mapped=True), ()).most == 10**10


def test_parts_of_files_that_go_are_not_what_a_job_took(device: Device, tmp_path: Path) -> None:
    measures, file, count = Gauge(device=device), tmp_path / "weights", 24 << 18
    file.write_bytes(b"x" * 4 * count)
    places, size = arranged([("w", (count,), torch.float32)])
    mapped = Mapped({"w": Window(file, 0)}, places, size, lambda: None)
    assert mapped.tensors(places)["w"].sum()  # which brings all of it into memory
    before = measures.begin()
    taken = torch.ones(count // 4)
    del taken, mapped
    assert measures.peak(before) < size // 2


def test_the_content_of_an_overwritten_file_is_not_found_out(manager: Manager, own: Path) -> None:
    with manager.use(Catalog((own,)).get("a"), Role.TEXT):
        pass
    store = manager._store
    [entry] = [one for one in store.rows() if one.part == "unet"]
    assert hashed(store, entry)
    os.utime(own / "a" / UNET, (1, 1))
    assert hashed(store, entry) is None


def test_files_in_use_are_free_to_a_container_too(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = "anon 100000000\ninactive_file 200000000\nactive_file 300000000\nunevictable 0\n"
    told = {"memory.max": "1000000000", "memory.current": "700000000", "memory.stat": stat}
    for name, text in told.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(gauge, "CGROUP", tmp_path)
    monkeypatch.setattr(gauge, "LEFT_FREE", 0)
    assert Gauge(device=device).free() == 800_000_000
