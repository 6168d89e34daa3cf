"""Memory runs out, or would: the job goes on by a cheaper plan, tells it, and leaves nothing."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from studio.costs.plan import Plan
from studio.costs.work import Kept
from studio.engine.frugal import Split, tiled
from studio.engine.gauge import Before, Gauge
from studio.engine.layouts import Layouts
from studio.engine.runner import JobTools
from studio.engine.slabs import Slab
from studio.families._family import Role
from studio.tasks._task import Brush
from tests.engine.desk import Desk
from tests.engine.test_denoiser_files import keep

Params = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: Params) -> None:
    """The tiny checkpoints paint 64 px, which no real tile would cut."""
    monkeypatch.setattr("studio.costs.plan.TILES_PX", (48, 32))


class Exhausting:
    """Stands in for a network's forward: memory runs out at the given calls, counted from 1."""

    def __init__(self, real: Callable[..., Any], calls: set[int]) -> None:
        self.real, self.calls, self.count = real, calls, 0
        self.sizes: list[int] = []

    def __call__(self, network: Any, *args: Any, **options: Any) -> Any:
        self.count += 1
        self.sizes.append(len(args[0]))
        if self.count in self.calls:
            hoard = torch.empty(1000)  # what a traceback would hold
            raise torch.OutOfMemoryError(f"CUDA out of memory ({len(hoard)})")
        return self.real(network, *args, **options)


@pytest.fixture
def exhaust(monkeypatch: Params) -> Callable[..., Exhausting]:
    def inject(*calls: int, kind: Any = diffusers.UNet2DConditionModel) -> Exhausting:
        made = Exhausting(kind.forward, set(calls))

        def forward(network: Any, *args: Any, **options: Any) -> Any:
            return made(network, *args, **options)

        monkeypatch.setattr(kind, "forward", forward)
        return made

    return inject


def notes(desk: Desk) -> list[str]:
    return [frame["note"] for frame in desk.frames("note")]


def facts(desk: Desk) -> list[list[str]]:
    return [frame["facts"].get("plan", []) for frame in desk.frames("picture")]


@pytest.mark.parametrize("step", [1, 3])
def test_out_of_memory_at_step_k_costs_no_job(
    desk: Desk, make_desk: Callable[..., Desk], shelf: Path, exhaust: Any, step: int
) -> None:
    fresh = make_desk(shelf).paint()
    desk.paint(checkpoint="sd2")
    hook = exhaust(step)
    assert desk.paint() == fresh
    assert hook.count == step + 3
    assert desk.runner.manager.kept == ("sd",)  # what nobody used made room
    assert desk.paint() == fresh and desk.paint(checkpoint="xl") == make_desk(shelf).paint(
        checkpoint="xl"
    )
    assert not any(holding.leases for holding in desk.runner.manager.ledger().holdings)


def test_pictures_that_are_done_are_not_made_again(desk: Desk, exhaust: Any) -> None:
    alone = desk.paint(count=3)
    hook = exhaust(5)
    assert desk.paint(count=3) == alone
    assert [frame["index"] for frame in desk.frames("picture")] == [0, 1, 2]
    assert hook.count == 3 + 2 + 3 + 3


def test_it_says_what_it_changed_and_begins_there_the_next_time(desk: Desk, exhaust: Any) -> None:
    whole = desk.paint()
    hook = exhaust(1, 2, 3)
    desk.paint()
    [told] = facts(desk)
    assert told == ["Pictures encoded and decoded in tiles of 32 px."]
    assert notes(desk)[-1].startswith("Memory ran out: pictures encoded and decoded in")
    hook.count = 3
    desk.paint()
    assert hook.count == 6 and facts(desk) == [told]
    assert desk.paint(width=128)  # another size begins at the top
    assert facts(desk) == [[]]
    desk.runner.unload()
    assert desk.paint() == whole and facts(desk) == [[]]


def test_the_ladder_ends_with_figures_and_the_next_job_is_fine(desk: Desk, exhaust: Any) -> None:
    fresh = desk.paint()
    hook = exhaust(*range(1, 100))
    ending = desk.run()
    assert ending["op"] == "failed"
    assert ending["message"].startswith(
        "There is not enough memory for a picture of 64×64 px: it needs more, and there are "
    )
    assert hook.count == 8 and hook.sizes[-1] == 1  # the last plans paint one after the other
    assert desk.runner.manager.kept == ()
    hook.calls.clear()
    assert desk.paint() == fresh


@pytest.mark.parametrize("task", ["img2img", "inpaint"])
def test_it_goes_on_over_a_picture_too(desk: Desk, exhaust: Any, tmp_path: Path, task: str) -> None:
    image = desk.put(Image.effect_noise((64, 64), 80).convert("RGB"), tmp_path)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (8, 8, 40, 40))
    asked: dict[str, Any] = {"image": image, "strength": 0.9}
    if task == "inpaint":
        asked["mask"] = desk.put(mask, tmp_path)
    before = desk.paint(task=task, **asked)
    exhaust(2)
    assert desk.paint(task=task, **asked) == before


def test_weights_that_do_not_fit_beside_others_are_read_once_there_is_room(
    desk: Desk, monkeypatch: Params
) -> None:
    fresh = desk.paint()
    desk.runner.unload()
    desk.paint(checkpoint="sd2")
    tried: list[tuple[str, ...]] = []

    def full(size_bytes: int) -> Slab:
        tried.append(desk.runner.manager.kept)
        if len(tried) < 4:
            raise MemoryError
        return Slab(size_bytes)

    monkeypatch.setattr("studio.engine.manager.Slab", full)
    assert desk.paint() == fresh
    assert tried[:2] == [("sd2",), ()]


def test_a_job_that_would_not_fit_whole_is_admitted_by_a_plan(
    desk: Desk, monkeypatch: Params
) -> None:
    whole = desk.paint()

    def fits_whole(free: int) -> bool:
        monkeypatch.setattr(Gauge, "free", lambda _: free)
        return desk.run()["op"] == "done" and not facts(desk)[0]

    sizes = range(0, 9_000_000, 100_000)
    assert not fits_whole(sizes[bisect_left(sizes, True, key=fits_whole) - 1])
    assert facts(desk) == [["Pictures encoded and decoded in tiles of 48 px."]]
    assert notes(desk) == ["To fit into memory: pictures encoded and decoded in tiles of 48 px."]
    monkeypatch.setattr(Gauge, "free", lambda _: 0)
    desk.runner.unload()
    refused = desk.run()
    assert refused["op"] == "failed" and not desk.frames("picture")
    assert refused["message"].startswith("This needs about ")
    assert "for 64×64 px" in refused["message"]
    monkeypatch.undo()
    assert desk.paint() == whole


def test_four_units_are_counted_before_they_are_read(
    desk: Desk, monkeypatch: Params, tmp_path: Path
) -> None:
    shown = desk.put(Image.new("RGB", (64, 64), "white"), tmp_path)
    units = [
        {"map": shown, "controlnet": net}
        for net in ("tiny-canny", "tiny-depth", "tiny-canny", "tiny-depth")
    ]
    desk.paint()
    monkeypatch.setattr(Gauge, "free", lambda _: 1_000)
    refused = desk.run(units=units)
    assert refused["op"] == "failed" and "for 2 ControlNets" in refused["message"]
    assert "fewer control units" in refused["hint"]
    assert not any("controlnet" in name for name in desk.runner.manager.kept)
    monkeypatch.undo()
    assert desk.paint(units=units)


@pytest.mark.parametrize("checkpoint", ["sd", "v", "xl"])
def test_splitting_changes_little_and_tiles_leave_the_shared_autoencoder_alone(
    desk: Desk, monkeypatch: Params, checkpoint: str
) -> None:
    whole = desk.paint(checkpoint=checkpoint)
    shared = desk.networks(checkpoint)
    before = {name: dict(vars(part)) for name, part in shared.items() if name in ("vae", "unet")}
    monkeypatch.setattr(
        desk.runner.learned, "rung", lambda *_: "evict tiles-32 split" if on else ""
    )
    on = True
    thrifty = desk.paint(checkpoint=checkpoint)
    assert len(facts(desk)[0]) == 2
    off = np.abs(
        np.frombuffer(whole[0], np.uint8).astype(int) - np.frombuffer(thrifty[0], np.uint8)
    )
    # random networks have nothing but seams, and the small one blends none of so small tiles
    assert checkpoint == "v" or off.mean() < 40
    on = False
    assert desk.paint(checkpoint=checkpoint) == whole
    assert {name: dict(vars(shared[name])) for name in before} == before


def held(desk: Desk) -> dict[str, int]:
    """Bytes of what is in memory, by part."""
    return {row.part: row.size_bytes for row in desk.runner.manager.ledger().holdings}


def weights_of(desk: Desk, checkpoint: str) -> dict[str, bytes]:
    with desk.runner.manager.use(desk.runner.catalog.get(checkpoint), Role.TEXT) as lease:
        return {
            f"{name}.{key}": tensor.numpy().tobytes()
            for name, part in lease.weights.components.items()
            if isinstance(part, torch.nn.Module)
            for key, tensor in part.state_dict().items()
        }


@pytest.mark.parametrize("checkpoint", ["sd", pytest.param("xl", marks=pytest.mark.slow)])
def test_what_a_plan_gives_back_is_gone_while_it_paints_and_there_for_the_next_job(
    desk: Desk,
    make_desk: Callable[..., Desk],
    shelf: Path,
    monkeypatch: Params,
    exhaust: Any,
    checkpoint: str,
) -> None:
    fresh = make_desk(shelf).paint(checkpoint=checkpoint)
    weights = weights_of(desk, checkpoint)
    rung = ""
    monkeypatch.setattr(desk.runner.learned, "rung", lambda *_: rung)
    seen: list[dict[str, int]] = []
    hook = exhaust()
    real = hook.real

    def looking(*args: Any, **options: Any) -> Any:
        seen.append(held(desk))
        return real(*args, **options)

    hook.real = looking

    def painted(**more: Any) -> list[bytes]:
        seen.clear()
        return desk.paint(checkpoint=checkpoint, count=2, **more)

    rung = "evict tiles-32 split"
    split = painted()
    assert all({"unet", "text_encoder"} <= parts.keys() for parts in seen)
    wide = seen[0]["unet"]
    rung = "evict tiles-32 split drop-text"
    assert painted() == split  # only its time tells
    assert not any(part.startswith("text") for parts in seen for part in parts)
    assert facts(desk)[1][-1] == "Text encoders dropped once the prompt is read."
    rung = "evict tiles-32 split drop-text fp8"
    narrow = painted()
    assert all(parts["unet"] < 0.4 * wide and "text_encoder" not in parts for parts in seen)
    off = np.frombuffer(narrow[0], np.uint8).astype(int) - np.frombuffer(split[0], np.uint8)
    assert narrow != split and np.abs(off).mean() < 40
    assert "unet" not in held(desk)  # no job may count on what is narrow
    hires = {"factor": 2.0, "strength": 0.5, "upscaler": "lanczos", "steps": 3}
    assert painted(hires=hires)
    rung = "evict tiles-32 split drop-text blocks"
    assert painted() == split
    assert all(parts["unet"] < 0.4 * wide and "text_encoder" not in parts for parts in seen)
    assert facts(desk)[1][-1] == "Blocks of the denoiser brought in one after another."
    assert painted(hires=hires)
    rung = ""
    assert desk.paint(checkpoint=checkpoint) == fresh
    assert weights_of(desk, checkpoint) == weights
    assert not any(row.leases for row in desk.runner.manager.ledger().holdings)


def test_what_painting_takes_is_measured_without_what_is_given_back(
    desk: Desk, monkeypatch: Params
) -> None:
    monkeypatch.setattr(desk.runner.learned, "rung", lambda *_: "evict tiles-32 split drop-text")
    begun: list[set[str]] = []
    real = Gauge.begin

    def begin(gauge: Gauge) -> Before:
        begun.append(set(held(desk)))
        return real(gauge)

    monkeypatch.setattr(Gauge, "begin", begin)
    desk.paint()
    assert "unet" in begun[-1] and "text_encoder" not in begun[-1]


def test_weights_that_only_a_converter_can_make_are_kept_whole(
    make_desk: Callable[..., Desk], shelf: Path, monkeypatch: Params
) -> None:
    monkeypatch.setattr(Layouts, "get", lambda *_: None)
    desk = make_desk(shelf)
    for kept in ("fp8", "blocks"):
        rung = f"evict tiles-32 split drop-text {kept}"
        monkeypatch.setattr(desk.runner.learned, "rung", lambda *_, rung=rung: rung)
        desk.paint()
        assert facts(desk)[0][-1] == "Text encoders dropped once the prompt is read."


def test_another_prompt_of_the_same_job_is_read_though_text_encoders_are_gone(
    desk: Desk, monkeypatch: Params
) -> None:
    first = Brush(
        prompt="a fox",
        negative_prompt="",
        width=64,
        height=64,
        steps=2,
        guidance=5.0,
        sampler="euler",
        seed=1,
    )

    def painted(rung: str) -> list[bytes]:
        monkeypatch.setattr(desk.runner.learned, "rung", lambda *_: rung)
        descent = desk.runner._descent("job")
        tools = JobTools(job="job", runner=desk.runner, files={}, work=None, descent=descent)
        with tools.pipeline("sd", Role.TEXT) as painter:
            return [
                painter.paint(replace(first, prompt=prompt), index=0, pictures=1).pixels
                for prompt in ("a fox", "a boat", "a fox")
            ]

    desk.control.expected("job")
    whole = painted("evict tiles-32 split")
    assert painted("evict tiles-32 split drop-text") == whole and whole[0] != whole[1]


def test_an_autoencoder_in_tiles_is_the_same_weights() -> None:
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        sample_size=64,
    )
    own: Any = tiled(vae, 48)
    assert own.use_tiling and not vae.use_tiling
    assert (own.tile_sample_min_size, own.tile_latent_min_size) == (48, 24)
    assert vae.tile_sample_min_size == 64
    assert all(a is b for a, b in zip(own.parameters(), vae.parameters(), strict=True))
    latents = torch.randn(1, 4, 40, 40)
    with torch.inference_mode():
        small, large = own.decode(latents).sample, vae.decode(latents).sample
    assert small.shape == large.shape and not torch.equal(small, large)


def test_a_split_network_takes_its_part_of_everything() -> None:
    def network(sample: Any, step: Any, *, states: Any, more: Any, scale: float) -> Any:
        assert len(sample) == len(states) == len(more["ids"]) == len(more["list"][0]) == 1
        return (sample + states, [more["list"][0] * scale])

    both = torch.arange(2.0).reshape(2, 1)
    split: Any = Split(network)
    summed, [scaled] = split(
        both, torch.tensor(3), states=both, more={"ids": both, "list": [both]}, scale=2.0
    )
    assert summed.tolist() == [[0.0], [2.0]] and scaled.tolist() == [[0.0], [2.0]]


def test_what_jobs_took_is_told_once(desk: Desk, monkeypatch: Params) -> None:
    desk.paint(count=2, steps=4)
    desk.runner.account()
    told = desk.frames("account")[-1]
    kinds = [row["kind"] for row in told["measured"]]
    assert kinds == ["loaded", "painted", "painted"]
    row = told["measured"][1]
    assert (row["pixels"], row["calls"], row["batch"], row["plan"]) == (4096, 4, 2, "")
    assert row["call_s"] > 0 and row["rest_s"] >= 0 and row["parameters"] > 0
    memory = told["memory"]
    assert memory["anonymous"] > 0 and memory["total"] > memory["free"] > 0
    assert {held["name"] for held in memory["components"]} == {"unet", "vae", "text_encoder"}
    desk.runner.account()
    assert not desk.frames("account")[-1]["measured"]
    for kept in ("fp8", "blocks"):  # of which less is in memory than was read
        keep(monkeypatch, kept)
        desk.paint(checkpoint="sd2")
        desk.runner.account()
        [row] = desk.frames("account")[-1]["measured"]
        assert row["plan"].endswith(kept) and row["kind"] == "painted"
    desk.runner.unload()
    desk.runner.account()
    assert not desk.frames("account")[-1]["memory"]["components"]


@pytest.mark.parametrize("weights", ["blocks", "fp8"])
def test_weights_are_kept_as_somebody_chose(
    desk: Desk, weights: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = desk.paint()
    asked: list[str] = []
    use = desk.runner.manager.use

    def watched(*args: Any, **options: Any) -> Any:
        asked.append(options.get("kept", "whole"))
        return use(*args, **options)

    monkeypatch.setattr(desk.runner.manager, "use", watched)
    chosen = desk.paint(weights=weights)
    assert asked == [weights] and not notes(desk)
    assert facts(desk) == [list(Plan(kept=weights).changes)]
    assert (chosen == plain) == (weights != "fp8")
    asked.clear()
    assert desk.paint(weights="whole") == plain == desk.paint()
    assert asked == ["whole", "whole"]


def test_a_way_of_keeping_weights_that_there_is_not_is_left_to_the_plan(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = desk.paint()
    for weights in ("packed", "fp8"):  # its file is as wide as what is computed with
        assert desk.paint(weights=weights) == plain
        assert "left to the plan" in notes(desk)[0] and facts(desk) == [[]]
        monkeypatch.setattr(desk.runner.manager, "ways", lambda checkpoint: ("whole",))
