"""The store behind the manager: what is shared, what goes first, what broken files leave behind."""

import json
import random
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.hashes import Hashes
from studio.core.errors import StudioError, Unavailable
from studio.engine.contents import hashed
from studio.engine.device import Device, usable_ram
from studio.engine.layouts import Layouts, Ref, Untraceable, trace
from studio.engine.manager import Manager
from studio.engine.slabs import Slab
from studio.families._family import Role
from studio.paths import CONFIGS
from tests.engine.desk import Desk

UNET = "unet/diffusion_pytorch_model.safetensors"


def test_what_two_checkpoints_share_is_held_once(manager: Manager, twins: Path) -> None:
    catalog = Catalog((twins,))
    with (
        manager.use(catalog.get("a"), Role.TEXT) as a,
        manager.use(catalog.get("b"), Role.TEXT) as b,
    ):
        assert a.pipeline.vae is b.pipeline.vae
        assert a.pipeline.text_encoder is b.pipeline.text_encoder
        assert a.pipeline.unet is not b.pipeline.unet
        one, other = a.pipeline.unet.conv_in.weight, b.pipeline.unet.conv_in.weight
        assert not torch.equal(one, other)
    ledger = manager.ledger()
    assert len(ledger.holdings) == 4 and set(ledger.whole) == {"a", "b"}
    shared = {h.part for h in ledger.holdings if h.checkpoints == ("a", "b")}
    assert shared == {"vae", "text_encoder"}


def test_one_skeleton_stands_for_both_in_turns(manager: Manager, twins: Path) -> None:
    catalog = Catalog((twins,))
    seen: list[tuple[int, int]] = []
    for name in ("a", "b", "a", "b"):
        with manager.use(catalog.get(name), Role.TEXT) as lease:
            unet = lease.pipeline.unet
            seen.append((id(unet), unet.conv_in.weight.data_ptr()))
    assert len({module for module, _ in seen}) == 1
    assert seen[0] == seen[2] != seen[1] == seen[3]


def test_a_known_layout_is_read_without_building_anything(
    device: Device, twins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a process that starts with what an earlier one found out: that is what reads ahead."""
    catalog = Catalog((twins,))
    with Manager(device, CONFIGS, Hashes(None), tmp_path).use(catalog.get("a"), Role.TEXT):
        pass

    def never(*_: Any) -> None:
        raise AssertionError("a network was built")

    later = Manager(device, CONFIGS, Hashes(None), tmp_path)
    monkeypatch.setattr("studio.engine.skeletons.Skeletons.make", never)
    later.prefetch(catalog.get("b"))
    later._reading_ahead.submit(int).result()
    assert later.kept == () and {h.part for h in later.ledger().holdings} == {
        "unet",
        "vae",
        "text_encoder",
    }
    monkeypatch.undo()
    told: list[str] = []
    with later.use(catalog.get("b"), Role.TEXT, loading=told.append):
        assert told == []


def test_reading_ahead_takes_no_room_from_what_is_used(
    device: Device, twins: Path, tmp_path: Path
) -> None:
    catalog = Catalog((twins,))
    tight = Manager(replace(device, ram_budget_bytes=1), CONFIGS, Hashes(None), tmp_path)
    with tight.use(catalog.get("a"), Role.TEXT):
        tight.prefetch(catalog.get("b"))
        tight._reading_ahead.submit(int).result()
        assert {name for h in tight.ledger().holdings for name in h.checkpoints} == {"a"}


def test_what_costs_most_to_read_again_stays(device: Device, twins: Path) -> None:
    catalog = Catalog((twins,))
    manager = Manager(device, CONFIGS, Hashes(None))
    with manager.use(catalog.get("a"), Role.TEXT):
        pass
    rows = {entry.part: entry for entry in manager._store.rows()}
    rows["unet"].priority, rows["vae"].priority, rows["text_encoder"].priority = 3.0, 2.0, 1.0
    manager._store.device = replace(device, ram_budget_bytes=manager._store.ram_bytes - 1)
    with manager._store.lock:
        manager._store._make_room(1)
    assert {entry.part for entry in manager._store.rows()} == {"unet", "vae"}


def damaged(weights: bytes, how: str) -> bytes:
    length = int.from_bytes(weights[:8], "little")
    header = weights[8 : 8 + length]
    match how:
        case "cut":
            return weights[: len(weights) // 2]
        case "bomb":
            return (1 << 40).to_bytes(8, "little") + weights[8:]
        case "shape":
            told: Any = json.loads(header)
            name = next(key for key in told if key != "__metadata__")
            told[name]["shape"] = [1 << 40, *told[name]["shape"]]
            text = json.dumps(told).encode()
            return len(text).to_bytes(8, "little") + text + weights[8 + length :]
        case _:
            flipped = bytearray(weights)
            chance = random.Random(how)
            for _ in range(20):
                flipped[8 + chance.randrange(length)] ^= 1 << chance.randrange(8)
            return bytes(flipped)


@pytest.mark.parametrize("how", ["cut", "bomb", "shape", "flips 1", "flips 2", "flips 3"])
def test_a_damaged_file_is_one_sentence_and_costs_nothing(
    twins: Path, tmp_path: Path, make_desk: Callable[..., Desk], how: str
) -> None:
    """Nothing that was in memory is lost, and the next job paints."""
    shutil.copytree(twins, tmp_path / "all")
    desk = make_desk(tmp_path / "all")
    fine = desk.paint(checkpoint="a")
    held = desk.held()
    weights = tmp_path / "all" / "b" / UNET
    good = weights.read_bytes()
    weights.write_bytes(damaged(good, how))
    ending = desk.run(checkpoint="b")
    assert ending["op"] == "failed" and ending["message"].endswith(".") and ending["hint"]
    assert desk.held() == held and desk.leases == 0
    assert desk.paint(checkpoint="a") == fine and not desk.frames("loading")
    weights.write_bytes(good)
    assert desk.paint(checkpoint="b")


def test_a_file_replaced_during_a_lease_is_read_by_the_next_one(
    twins: Path, tmp_path: Path, manager: Manager
) -> None:
    shutil.copytree(twins / "a", tmp_path / "a")
    catalog = Catalog((tmp_path,))
    with manager.use(catalog.get("a"), Role.TEXT) as old:
        before = old.pipeline.unet.conv_in.weight.clone()
        shutil.copy(twins / "b" / UNET, tmp_path / "a" / UNET)
        with manager.use(catalog.get("a"), Role.TEXT) as new:
            assert not torch.equal(new.pipeline.unet.conv_in.weight, before)
            assert torch.equal(old.pipeline.unet.conv_in.weight, before)
    assert len(manager.ledger().holdings) == 3


def test_a_file_cut_off_in_the_middle_of_reading_ends_only_that(
    twins: Path, tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(twins / "a", tmp_path / "a")
    found = Catalog((tmp_path,)).get("a")
    weights = tmp_path / "a" / UNET

    def cutting(self: Any, size: int) -> Any:
        with weights.open("r+b") as file:
            file.truncate(len(weights.read_bytes()) // 2)
        return real(size)

    from studio.engine import manager as room

    real = room.Slab
    monkeypatch.setattr(room, "Slab", lambda size: cutting(None, size))
    with (
        pytest.raises(Unavailable, match="cut off while it was being read"),
        manager.use(found, Role.TEXT),
    ):
        pass
    assert manager.ledger().holdings == () and manager.ledger().ram_bytes == 0


def test_a_load_that_fails_halfway_leaves_what_was_there(
    twins: Path, tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it shares with another checkpoint is that one's alone again, what it read is gone."""
    shutil.copytree(twins, tmp_path / "all")
    catalog = Catalog((tmp_path / "all",))
    with manager.use(catalog.get("a"), Role.TEXT):
        pass
    before = {(h.part, h.checkpoints, h.leases) for h in manager.ledger().holdings}
    [last] = (tmp_path / "all" / "b" / "vae").glob("*.safetensors")
    from studio.engine import manager as room

    def cutting(size: int) -> Any:
        with last.open("r+b") as file:
            file.truncate(5000)
        return Slab(size)

    monkeypatch.setattr(room, "Slab", cutting)
    with pytest.raises(Unavailable), manager.use(catalog.get("b"), Role.TEXT):
        pass
    assert {(h.part, h.checkpoints, h.leases) for h in manager.ledger().holdings} == before


def test_a_load_that_is_stopped_leaves_nothing_half_read(manager: Manager, twins: Path) -> None:
    class Stop(Exception):
        pass

    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) > 20:
            raise Stop

    found = Catalog((twins,)).get("a")
    with pytest.raises(Stop), manager.use(found, Role.TEXT, check=check):
        pass
    assert not any(h.part == "unet" for h in manager.ledger().holdings)
    with manager.use(found, Role.TEXT) as lease:
        assert lease.pipeline.unet.conv_in.weight.isfinite().all()


def test_memory_that_is_still_held_is_told(
    manager: Manager, twins: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with manager.use(Catalog((twins,)).get("a"), Role.TEXT) as lease:
        kept = [lease.pipeline.unet.conv_in.weight]
    manager.unload_all()
    assert "of a unet were dropped and are still held, by a list" in caplog.text
    assert kept


def test_a_config_that_announces_a_million_layers_is_refused(
    twins: Path, tmp_path: Path, manager: Manager
) -> None:
    shutil.copytree(twins / "a", tmp_path / "a")
    file = tmp_path / "a" / "text_encoder" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "num_hidden_layers": 10**6}))
    with (
        pytest.raises(StudioError, match="does not fit its weights"),
        manager.use(Catalog((tmp_path,)).get("a"), Role.TEXT),
    ):
        pass


def test_converters_are_followed_and_arithmetic_is_not() -> None:
    shapes = {"qkv": ((6, 4), torch.float16), "p": ((3, 5), torch.float16)}
    found = trace(
        lambda state: {
            "q": state["qkv"][:2].clone(),
            "p": state["p"].T.contiguous(),
            "kv": torch.cat([state["qkv"][2:4], state["qkv"][4:]]),
        },
        shapes,
    )
    assert found["q"].pieces[0].offset == 0 and found["q"].shape == (2, 4)
    assert found["p"].shape == (5, 3) and not found["p"].pieces[0].in_one_piece
    assert [piece.offset for piece in found["kv"].pieces] == [8, 16]
    with pytest.raises(Untraceable):
        trace(lambda state: {"q": state["qkv"] + 1}, shapes)


def test_a_broken_layout_on_disk_is_found_out_again(tmp_path: Path) -> None:
    layout = trace(lambda state: state, {"x": ((2, 3), torch.float32)})
    Layouts(tmp_path).get("key", lambda: layout)
    again = Layouts(tmp_path).get("key", dict)
    assert again == layout and isinstance(next(iter(again.values())), Ref)
    (tmp_path / "key.json").write_text('{"version": 1, "tensors": {"x": [0, ["x"]]}}')
    assert Layouts(tmp_path).get("key", lambda: layout) == layout


def test_a_limit_around_this_process_counts(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "memory.max").write_text("123456789\n")
    (tmp_path / "a" / "b" / "memory.max").write_text("max\n")
    (tmp_path / "cgroup").write_text("0::/a/b\n")
    assert usable_ram(tmp_path, tmp_path / "cgroup") == 123456789


def test_content_is_found_out_while_nothing_is_on_loan(
    device: Device, twins: Path, tmp_path: Path
) -> None:
    manager = Manager(device, CONFIGS, Hashes(None), tmp_path)
    with manager.use(Catalog((twins,)).get("a"), Role.TEXT):
        pass
    manager.leisure.finish()
    ids = {holding.part: holding.id for holding in manager.ledger().holdings}
    other = Manager(device, CONFIGS, Hashes(None), tmp_path / "other")
    copy = tmp_path / "copies"
    shutil.copytree(twins / "a", copy / "c")
    with other.use(Catalog((copy,)).get("c"), Role.TEXT):
        pass
    other.leisure.finish()
    assert {holding.part: holding.id for holding in other.ledger().holdings} == ids


def test_hashing_holds_nothing_while_it_waits(manager: Manager, twins: Path) -> None:
    with manager.use(Catalog((twins,)).get("a"), Role.TEXT):
        pass
    manager.leisure.finish()  # else it may hold what is counted here
    entry = max(manager._store.rows(), key=lambda row: len(row.blob.places))
    names = sorted(entry.blob.places)
    held: list[int] = []

    class Looked:
        lock, entries = manager._store.lock, manager._store.entries

        def rows(self) -> list[Any]:
            held.append(sum(sys.getrefcount(entry.blob.host[name]) for name in names))
            return []

    assert hashed(Looked(), entry)  # type: ignore[arg-type]
    assert len(held) == len(names) and len(set(held)) == 1


def test_two_jobs_on_two_checkpoints_at_once_keep_to_their_weights(
    manager: Manager, twins: Path
) -> None:
    catalog = Catalog((twins,))
    seen: dict[str, set[float]] = {"a": set(), "b": set()}
    stumbled: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for _ in range(5):
                with manager.use(catalog.get(name), Role.TEXT) as lease:
                    seen[name].add(float(lease.pipeline.unet.conv_in.weight.sum()))
        except BaseException as error:
            stumbled.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not stumbled
    assert len(seen["a"]) == len(seen["b"]) == 1 and seen["a"] != seen["b"]


@pytest.mark.skipif(sys.platform != "linux", reason="others do not list their memory")
def test_memory_is_still_there_when_its_end_is_told() -> None:
    """A device that reads it by itself has to be told before the system takes it back."""
    slab, told = Slab(1 << 20), list[bool]()
    slab.bytes.zero_()
    address = slab.bytes.data_ptr()

    def mapped() -> None:
        lines = Path("/proc/self/maps").read_text().splitlines()
        ranges = (line.split()[0].split("-") for line in lines)
        told.append(any(int(a, 16) <= address < int(b, 16) for a, b in ranges))

    slab.on_release(mapped)
    view = slab.bytes[:10]
    del slab
    assert told == []
    del view
    assert told == [True]
