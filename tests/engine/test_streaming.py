"""Blocks that are in memory one after another: the same numbers, in a fraction of the memory."""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from studio.checkpoints.catalog import families
from studio.core.errors import Unavailable
from studio.costs.blocks import blocks_of, resident
from studio.costs.plan import WHOLE, Plan, ladder
from studio.engine.manager import DENOISERS
from studio.engine.skeletons import Skeleton
from studio.engine.slabs import arranged, outstanding
from studio.engine.streaming import FromFiles, FromMemory, Streamed, Supply, cut
from studio.families._family import Role
from tests.engine.desk import Desk
from tests.engine.test_families import ask, small_looks  # noqa: F401 (a fixture)
from tests.engine.tiny import save_tiny_sd
from tests.engine.tiny_families import SIZE_PX, TINY

WIDTH, DEPTH = 64, 24


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Deep(nn.Module):
    """Layers in a list, one of them called twice, and one weight that two of them share."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(DEPTH))
        self.layers[5].inner.weight = self.layers[6].inner.weight

    def forward(self, x: Tensor, seen: Callable[[nn.Module], None] = lambda _: None) -> Tensor:
        x = self.first(x)
        for layer in (*self.layers, self.layers[2]):
            x = torch.tanh(layer(x))
            seen(self)
        return x


def there(network: nn.Module) -> int:
    """Bytes of the weights that a network has at this moment."""
    return sum(p.nbytes for p in network.parameters() if not p.is_meta)


def supplies(weights: Mapping[str, Tensor]) -> Mapping[str, Supply]:
    def pour(into: Mapping[str, Tensor]) -> None:
        for name, target in into.items():
            target.copy_(weights[name])

    return {"files": FromFiles(pour), "memory": FromMemory(weights)}


@pytest.fixture(autouse=True)
def _no_slabs_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of tests before, which may be given back at any moment, are not counted."""
    monkeypatch.setattr("studio.engine.slabs._sizes", {})


@pytest.mark.parametrize("kind", ["files", "memory"])
def test_the_numbers_are_the_same_and_two_blocks_are_there_at_once(kind: str) -> None:
    whole = Deep()
    weights = dict(whole.named_parameters())
    with torch.device("meta"):
        empty = Deep()
    empty.layers[5].inner.weight = empty.layers[6].inner.weight
    skeleton = Skeleton(empty, "cpu")
    places, size = arranged((name, shape, torch.float32) for name, shape in skeleton.shapes.items())
    pieces = cut(skeleton, places)
    assert len(pieces.blocks) == DEPTH and pieces.size_bytes < size / 4
    streamed = Streamed(skeleton, pieces, supplies(weights)[kind], "cpu")
    assert outstanding() == streamed.size_bytes == pieces.size_bytes
    x, most = torch.randn(3, 4), list[int]()
    inside: list[int] = []
    empty.layers[3].register_forward_pre_hook(lambda *_: inside.append(there(empty)))
    with torch.inference_mode():
        wanted = whole(x)
        for _ in range(3):
            assert torch.equal(streamed.module(x, lambda one: most.append(there(one))), wanted)
    assert max(most) <= pieces.rest_bytes < max(inside) <= pieces.size_bytes
    assert outstanding() == pieces.size_bytes
    streamed.close()
    assert outstanding() == there(empty) == 0


def test_a_block_that_fails_leaves_the_network_fit_for_the_next_call() -> None:
    whole = Deep()
    with torch.device("meta"):
        empty = Deep()
    skeleton = Skeleton(empty, "cpu")
    places, _ = arranged((name, shape, torch.float32) for name, shape in skeleton.shapes.items())
    supply = FromMemory(dict(whole.named_parameters(remove_duplicate=False)))
    streamed = Streamed(skeleton, cut(skeleton, places), supply, "cpu")
    real = empty.layers[4].forward
    empty.layers[4].forward = lambda x: (_ for _ in ()).throw(MemoryError())
    with torch.inference_mode():
        with pytest.raises(MemoryError):
            streamed.module(torch.zeros(1, 4))
        empty.layers[4].forward = real
        assert torch.equal(streamed.module(torch.ones(1, 4)), whole(torch.ones(1, 4)))


def test_reading_that_fails_costs_no_memory_and_no_painted_picture() -> None:
    whole = Deep()
    weights = dict(whole.named_parameters(remove_duplicate=False))
    with torch.device("meta"):
        empty = Deep()
    skeleton = Skeleton(empty, "cpu")
    places, _ = arranged((name, shape, torch.float32) for name, shape in skeleton.shapes.items())
    read, most = list[str](), 0

    def pour(into: Mapping[str, Tensor]) -> None:
        read.extend(into)
        if len(read) > most:
            raise Unavailable("It is gone.", "Put it back.")
        for name, target in into.items():
            target.copy_(weights[name])

    threads = set(threading.enumerate())
    pieces, supply, x = cut(skeleton, places), FromFiles(pour), torch.randn(1, 4)
    most = len(pieces.rest)
    streamed = Streamed(skeleton, pieces, supply, "cpu")
    with torch.inference_mode():
        wanted = whole(x)
        for _ in range(3):
            with pytest.raises(Unavailable):
                streamed.module(x)
        most = 10_000
        told = [len(read)]
        for _ in range(3):
            assert torch.equal(streamed.module(x), wanted)
            supply.fetch({})()  # comes after all else
            told.append(len(read))
        most = 2 * told[-1] - told[-2] - 1  # the last that is read is what may come next
        assert torch.equal(streamed.module(x), wanted)
    streamed.close()
    assert outstanding() == there(empty) == 0
    assert set(threading.enumerate()) <= threads


def test_blocks_are_what_is_numbered_and_small_enough() -> None:
    transformer = {f"blocks.{n}.{part}": 10 for n in range(40) for part in ("a.weight", "to.0.b")}
    transformer |= {"embed.0.weight": 5}  # a single layer is in memory all the time
    assert list(blocks_of(transformer)) == [f"blocks.{n}" for n in range(40)]
    assert resident(transformer) == 5 + 2 * 20
    unet = {
        **{f"down.{n}.resnets.{m}.conv.weight": 10 for n in range(3) for m in range(4)},
        "down.3.resnets.0.conv.weight": 2,
        "conv_in.weight": 1,
    }
    assert set(blocks_of(unet)) == {f"down.{n}.resnets.{m}" for n in range(3) for m in range(4)} | {
        "down.3"
    }
    assert resident({"a.weight": 7}) == 7


def _denoiser(family: str) -> str:
    found = families()[family].components
    return next(found[part][0] for part in DENOISERS if part in found)


QUICK = {"UNet2DConditionModel", "SD3Transformer2DModel"}
"""A network of each shape, for every run; the others take most of a minute together."""

ONE_EACH = [
    pytest.param(family, marks=() if denoiser in QUICK else pytest.mark.slow)
    for denoiser, family in {_denoiser(family): family for family in families()}.items()
]
"""A family for each kind of denoiser."""


def halved(folder: Path) -> None:
    """The files of a denoiser as most people save them: 16 bits a number."""
    for file in folder.rglob("*.safetensors"):
        if file.parent.name in DENOISERS:
            save_file({name: one.half() for name, one in load_file(file).items()}, file)


@pytest.mark.usefixtures("small_looks")
@pytest.mark.parametrize("family", ONE_EACH)
def test_every_network_paints_by_every_plan(
    family: str, make_desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How weights are kept changes no byte, but for 8 bits that the file does not have."""
    TINY[family](tmp_path / family)
    halved(tmp_path)
    desk = make_desk(tmp_path)
    found = desk.runner.catalog.get(family)
    assert found.anatomy is not None
    side = SIZE_PX.get(family, SIZE_PX[""])
    wish: dict[str, Any] = {
        "checkpoint": family,
        "width": side,
        "height": side,
        "steps": 1,
        "guidance": found.defaults.guidance,
        "sampler": found.defaults.sampler,
    }
    wish |= ask(min(found.roles, key=list(Role).index), desk, tmp_path, side)
    wanted = WHOLE
    monkeypatch.setattr("studio.engine.plan.named", lambda _, plans: plans.index(wanted))
    plans: list[Plan] = []

    def noted(*args: Any) -> tuple[Plan, ...]:
        work, means = args  # tiny ones have a block or two, of which nothing would be saved
        plans[:] = ladder(work, replace(means, blocks=True))
        return tuple(plans)

    monkeypatch.setattr("studio.engine.plan.ladder", noted)
    desk.paint(**wish)
    text = families()[family].text
    assert plans[-1].drop_text == (text is None or bool(text.results))
    made: dict[str, list[bytes]] = {}
    for wanted in plans[-4:]:
        made[wanted.kept] = desk.paint(**wish)
        assert desk.frames("picture")[0]["facts"].get("plan", []) == list(wanted.changes)
    assert list(made) == ["whole", "packed", "fp8", "blocks"]
    assert made["packed"] == made["blocks"] == made["whole"] != made["fp8"]
    assert desk.leases == 0
    sizes = {row.key: row.size_bytes for row in desk.runner.manager._store.rows()}
    assert sizes and not any("blocks" in key for key in sizes)


def test_a_file_that_changes_while_its_blocks_come_ends_the_job_in_one_sentence(
    make_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    save_tiny_sd(tmp_path / "sd")
    manager = make_desk(tmp_path).runner.manager
    checkpoint = make_desk(tmp_path).runner.catalog.get("sd")
    with manager.use(checkpoint, Role.TEXT, kept="blocks") as lease:
        assert {row.part: row.size_bytes for row in manager.ledger().holdings}["unet"] > 0
        unet: Any = lease.pipeline.unet
        given = (torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, 77, unet.config.cross_attention_dim))
        with torch.inference_mode():
            unet(*given)
            [file] = (tmp_path / "sd" / "unet").glob("*.safetensors")
            os.utime(file, ns=(1, 1))
            with pytest.raises(Unavailable, match="changed while it was being read"):
                unet(*given)
