"""Weights are shared, kept within a budget, and never what is no longer on disk."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.checkpoints.catalog import Catalog, Checkpoint, families
from studio.checkpoints.hashes import Hashes
from studio.core.errors import InvalidRequest
from studio.engine.device import Device
from studio.engine.manager import Manager
from studio.engine.slabs import Slab
from studio.families._family import Role
from studio.paths import CONFIGS
from tests.engine.desk import Desk
from tests.engine.tiny import save_tiny_sd


def checkpoint(shelf: Path, name: str) -> Checkpoint:
    return Catalog((shelf,)).get(name)


def digest(pipeline: Any) -> str:
    found = hashlib.sha256()
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        for name, tensor in part.state_dict().items():
            found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def test_pipelines_are_private_and_networks_shared(manager: Manager, shelf: Path) -> None:
    sd = checkpoint(shelf, "sd")
    told: list[str] = []
    with (
        manager.use(sd, Role.TEXT, loading=told.append) as one,
        manager.use(sd, Role.IMAGE, loading=told.append) as two,
    ):
        assert one.pipeline is not two.pipeline
        assert one.pipeline.scheduler is not two.pipeline.scheduler
        assert one.pipeline.unet is two.pipeline.unet
        assert type(two.pipeline).__name__ == "StableDiffusionImg2ImgPipeline"
    assert told == ["Reading sd"]


@pytest.mark.parametrize("name", ["sd", "xl"])
@pytest.mark.parametrize("role", [Role.TEXT, Role.IMAGE, Role.INPAINT])
def test_every_role_of_a_family_can_be_made(
    manager: Manager, shelf: Path, name: str, role: Role
) -> None:
    found = checkpoint(shelf, name)
    with manager.use(found, role) as lease:
        assert type(lease.pipeline).__name__ == families()[found.family].pipelines[role]


def test_painting_leaves_weights_as_they_were(desk: Desk, shelf: Path) -> None:
    manager, sd = desk.runner.manager, checkpoint(shelf, "sd")
    with manager.use(sd, Role.TEXT) as lease:
        before, keys = digest(lease.pipeline), set(vars(lease.pipeline.unet))
    desk.paint(sampler="dpmpp_2m_sde", count=2)
    desk.run(steps=0)
    with manager.use(sd, Role.TEXT) as lease:
        assert digest(lease.pipeline) == before
        hooks = [
            m for m in lease.pipeline.unet.modules() if m._forward_hooks or hasattr(m, "_hf_hook")
        ]
        assert not hooks and set(vars(lease.pipeline.unet)) == keys


def test_a_role_that_a_family_lacks_is_said(
    manager: Manager, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = families()["sd15"]
    monkeypatch.setitem(families(), "sd15", replace(family, pipelines={}))
    with (
        pytest.raises(InvalidRequest, match="'sd' cannot be used for this"),
        manager.use(checkpoint(shelf, "sd"), Role.IMAGE),
    ):
        pass


@pytest.fixture
def small(device: Device, shelf: Path) -> Manager:
    """A manager with room for one tiny checkpoint and a half."""
    roomy = Manager(device, CONFIGS, Hashes(None))
    touch(roomy, checkpoint(shelf, "sd"))
    size = roomy.ledger().ram_bytes
    return Manager(replace(device, ram_budget_bytes=size * 3 // 2), CONFIGS, Hashes(None))


def touch(manager: Manager, found: Checkpoint) -> None:
    with manager.use(found, Role.TEXT):
        pass


def test_the_least_recently_used_is_dropped(small: Manager, shelf: Path) -> None:
    touch(small, checkpoint(shelf, "sd"))
    assert small.kept == ("sd",)
    touch(small, checkpoint(shelf, "sd2"))
    assert small.kept == ("sd2",)


def test_what_is_on_loan_stays(small: Manager, shelf: Path) -> None:
    with small.use(checkpoint(shelf, "sd"), Role.TEXT) as lease:
        touch(small, checkpoint(shelf, "sd2"))
        assert "sd" in small.kept
        assert lease.pipeline.unet.conv_in.weight.isfinite().all()
    assert small.kept == ("sd2",)


def test_one_that_is_larger_than_the_budget_still_works(device: Device, shelf: Path) -> None:
    manager = Manager(replace(device, ram_budget_bytes=1), CONFIGS, Hashes(None))
    touch(manager, checkpoint(shelf, "sd"))
    touch(manager, checkpoint(shelf, "sd"))
    assert manager.kept == ("sd",)


def test_two_who_ask_at_once_load_once(manager: Manager, shelf: Path) -> None:
    told: list[str] = []
    sd = checkpoint(shelf, "sd")

    def use() -> None:
        with manager.use(sd, Role.TEXT, loading=told.append):
            pass

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["Reading sd"]


def test_a_changed_file_is_read_again(tmp_path: Path, make_desk: Callable[..., Desk]) -> None:
    save_tiny_sd(tmp_path / "sd")
    desk = make_desk(tmp_path)
    [old] = desk.paint()
    save_tiny_sd(tmp_path / "sd", seed=5)
    [new] = desk.paint()
    assert old != new and desk.frames("loading")


def test_a_failed_load_leaves_the_store_as_it_was(
    tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    """F06, S07: a checkpoint that breaks between listing and loading; the one before still works."""
    save_tiny_sd(tmp_path / "good")
    save_tiny_sd(tmp_path / "bad")
    desk = make_desk(tmp_path)
    [picture] = desk.paint(checkpoint="good")
    weights = tmp_path / "bad" / "unet" / "diffusion_pytorch_model.safetensors"
    stolen = weights.read_bytes()
    weights.write_bytes(stolen[:-1000])
    ending = desk.run(checkpoint="bad")
    assert ending["op"] == "failed" and "The model file is damaged (size " in ending["message"]
    assert desk.runner.manager.kept == ("good",)
    assert desk.paint(checkpoint="good") == [picture] and not desk.frames("loading")
    weights.write_bytes(stolen)
    assert desk.run(checkpoint="bad")["op"] == "done"


def test_weights_that_do_not_fit_their_config_are_refused(
    tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    from safetensors.torch import load_file, save_file

    save_tiny_sd(tmp_path / "sd")
    weights = tmp_path / "sd" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    del tensors["mid_block.resnets.0.conv1.weight"]
    save_file(tensors, weights)
    desk = make_desk(tmp_path)
    ending = desk.run(checkpoint="sd")
    assert ending["message"] == ("'sd' cannot be loaded: its weights are not what they should be.")
    assert desk.runner.manager.kept == ()


def test_a_file_that_shrinks_under_a_loaded_checkpoint_does_no_harm(
    tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    """Weights that were still windows into the file would end the process here."""
    save_tiny_sd(tmp_path / "sd")
    desk = make_desk(tmp_path)
    with desk.runner.manager.use(checkpoint(tmp_path, "sd"), Role.TEXT) as lease:
        weights = tmp_path / "sd" / "unet" / "diffusion_pytorch_model.safetensors"
        with weights.open("r+b") as file:
            file.truncate(100)
        assert sum(float(p.sum()) for p in lease.pipeline.unet.parameters()) != 0


def test_memory_that_runs_out_while_loading_is_tried_again_with_room(
    small: Manager, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(small, checkpoint(shelf, "sd"))
    attempts: list[tuple[str, ...]] = []

    def tight(size_bytes: int) -> Any:
        attempts.append(small.kept)
        if len(attempts) == 1:
            raise MemoryError
        return Slab(size_bytes)

    monkeypatch.setattr("studio.engine.manager.Slab", tight)
    small.device = replace(small.device, ram_budget_bytes=10**9)
    small._store.device = small.device
    touch(small, checkpoint(shelf, "sd2"))
    assert attempts[:2] == [("sd",), ()] and small.kept == ("sd2",)


def test_the_ledger_says_what_is_held_and_by_whom(manager: Manager, shelf: Path) -> None:
    assert manager.ledger().holdings == ()
    with manager.use(checkpoint(shelf, "sd"), Role.TEXT):
        ledger = manager.ledger()
        assert {h.part for h in ledger.of("sd")} == {"unet", "vae", "text_encoder"}
        assert {(h.tier, h.leases) for h in ledger.of("sd")} == {("ram", 1)}
    assert ledger.ram_bytes == sum(h.size_bytes for h in ledger.holdings) > 0
    assert ledger.tier("sd") == "ram" and manager.ledger().tier("two") == "disk"
    assert manager.unload_all() == ledger.ram_bytes
    assert manager.ledger().ram_bytes == 0


def test_what_is_pinned_stays(small: Manager, shelf: Path) -> None:
    small.pin("sd")
    touch(small, checkpoint(shelf, "sd"))
    touch(small, checkpoint(shelf, "sd2"))
    assert "sd" in small.kept and small.ledger().pinned("sd")
    small.pin("sd", on=False)
    touch(small, checkpoint(shelf, "sd2"))
    assert small.kept == ("sd2",)
