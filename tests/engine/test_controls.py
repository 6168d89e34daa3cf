"""ControlNets beside real diffusers pipelines: what they add, when, and that nothing stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from studio import samplers
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controls import Controls
from studio.engine.schedulers import build
from studio.families._family import Role
from tests.engine.desk import REQUEST, Desk


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maps")


@pytest.fixture(scope="module")
def desk(make_desk: Callable[..., Desk], shelf: Path) -> Desk:
    """One for all: nothing that was painted before changes a picture."""
    return make_desk(shelf)


def lines(side: int = 64) -> Image.Image:
    drawn = Image.new("RGB", (side, side))
    ImageDraw.Draw(drawn).ellipse((10, 14, side - 12, side - 6), outline="white", width=3)
    return drawn


@pytest.fixture
def ref(desk: Desk, folder: Path) -> str:
    return desk.put(lines(), folder)


def unit(ref: str, net: str = "tiny-canny", **changes: Any) -> dict[str, Any]:
    return {"map": ref, "controlnet": net, **changes}


def test_it_is_what_the_pipeline_of_diffusers_gives(desk: Desk, shelf: Path, ref: str) -> None:
    """Same noise, same embeddings, same ControlNet: the same picture, to the byte."""
    [ours] = desk.paint(units=[unit(ref, weight=0.8, start=0.2, end=0.9)], steps=6)
    net = diffusers.ControlNetModel.from_pretrained(shelf / "controlnet" / "tiny-canny")
    plain = diffusers.StableDiffusionControlNetPipeline.from_pretrained(
        shelf / "sd", controlnet=net, safety_checker=None, requires_safety_checker=False
    )
    plain.scheduler = build(samplers.find("euler"), plain.scheduler.config)
    plain.set_progress_bar_config(disable=True)
    theirs = plain(
        REQUEST["prompt"],
        image=lines(),
        width=64,
        height=64,
        num_inference_steps=6,
        guidance_scale=REQUEST["guidance"],
        controlnet_conditioning_scale=0.8,
        control_guidance_start=0.2,
        control_guidance_end=0.9,
        generator=torch.Generator("cpu").manual_seed(REQUEST["seed"]),
    ).images[0]
    assert ours == theirs.tobytes()


@pytest.mark.parametrize(
    ("kind", "number"),
    [({"kind": "depth"}, 1), ({"kind": "edges"}, 3), ({"kind": "edges", "preprocessor": "hed"}, 2)],
)
def test_a_union_is_told_what_the_map_shows(
    desk: Desk, shelf: Path, ref: str, kind: dict[str, str], number: int
) -> None:
    """As diffusers' own pipeline tells it, from a file in the layout that people have."""
    steered: dict[str, Any] = {"checkpoint": "xl", "steps": 2}
    [ours] = desk.paint(**steered, units=[unit(ref, "xl-union", weight=0.8, **kind)])
    with desk.runner.manager.use(desk.runner.catalog.get("xl"), Role.TEXT) as lease:
        lent = desk.runner.manager.use_control(desk.runner.controls.get("xl-union"), lease)
        with lent as net:
            parts = {**lease.pipeline.components, "controlnet": net}
            plain = diffusers.StableDiffusionXLControlNetUnionPipeline(**parts)
            plain.scheduler = build(samplers.find("euler"), plain.scheduler.config)
            plain.set_progress_bar_config(disable=True)
            theirs = plain(
                REQUEST["prompt"],
                control_image=[lines()],
                control_mode=[number],
                width=64,
                height=64,
                num_inference_steps=2,
                guidance_scale=REQUEST["guidance"],
                controlnet_conditioning_scale=0.8,
                generator=torch.Generator("cpu").manual_seed(REQUEST["seed"]),
            ).images[0]
    assert ours == theirs.tobytes()


@pytest.mark.parametrize(
    ("checkpoint", "net"), [("sd", "tiny-canny"), ("v", "tiny-canny"), ("xl", "xl-pose")]
)
@pytest.mark.parametrize("balance", ["prompt", "balanced", "control"])
def test_a_unit_changes_the_picture_and_weight_0_does_not(
    desk: Desk, ref: str, checkpoint: str, net: str, balance: str
) -> None:
    plain = desk.paint(checkpoint=checkpoint)
    steered = desk.paint(checkpoint=checkpoint, units=[unit(ref, net, balance=balance)])
    without = desk.paint(checkpoint=checkpoint, units=[unit(ref, net, weight=0.0)])
    assert steered != plain
    assert without == plain
    assert desk.paint(checkpoint=checkpoint) == plain


def test_the_three_balances_differ(desk: Desk, ref: str) -> None:
    made = {
        desk.paint(units=[unit(ref, balance=balance)])[0]
        for balance in ("prompt", "balanced", "control")
    }
    assert len(made) == 3


def test_it_acts_between_start_and_end_only(desk: Desk, ref: str) -> None:
    plain = desk.paint(steps=10)
    assert desk.paint(steps=10, units=[unit(ref, start=0.95, end=1.0)]) == plain
    assert desk.paint(steps=10, units=[unit(ref, start=0.0, end=0.05)]) == plain
    halves = [
        desk.paint(steps=10, units=[unit(ref, start=start, end=end)])
        for start, end in ((0.0, 0.5), (0.5, 1.0), (0.0, 1.0))
    ]
    assert len({pixels for [pixels] in [plain, *halves]}) == 4


@pytest.mark.parametrize(
    ("asked", "acting"),
    [
        ({"start": 0.2, "end": 0.6}, [2, 3, 4, 5]),
        ({}, list(range(10))),
        ({"start": 0.5}, [5, 6, 7, 8, 9]),
        ({"weight": 0.0}, []),
    ],
)
def test_its_network_is_asked_in_those_steps_alone(
    desk: Desk,
    ref: str,
    asked: dict[str, Any],
    acting: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float] = []
    forward: Any = diffusers.ControlNetModel.forward

    def watched(net: Any, sample: Any, timestep: Any, *rest: Any, **options: Any) -> Any:
        seen.append(float(timestep))
        return forward(net, sample, timestep, *rest, **options)

    monkeypatch.setattr(diffusers.ControlNetModel, "forward", watched)
    desk.paint(units=[unit(ref)], steps=10)
    every, seen[:] = list(seen), []
    desk.paint(units=[unit(ref, **asked)], steps=10)
    assert len(every) == 10
    assert seen == [every[step] for step in acting]


def test_a_unit_of_weight_0_needs_nothing(desk: Desk, folder: Path) -> None:
    nobody = desk.put(Image.new("RGB", (64, 64), "navy"), folder)
    pose = {"kind": "pose", "image": nobody, "preprocessor": "pose", "params": {}}
    without = {**pose, "controlnet": "tiny-canny", "weight": 0.0}
    assert desk.paint(units=[without]) == desk.paint()


def test_units_add_up(desk: Desk, ref: str) -> None:
    one, other = unit(ref), unit(ref, "tiny-depth")
    both = desk.paint(units=[one, other])
    assert both not in (desk.paint(units=[one]), desk.paint(units=[other]))
    assert desk.paint(units=[one, {**other, "weight": 0.0}]) == desk.paint(units=[one])


@pytest.mark.parametrize("checkpoint", ["sd", "sd9"])
def test_it_steers_painting_over_a_picture_too(
    desk: Desk, folder: Path, ref: str, checkpoint: str
) -> None:
    picture = desk.put(Image.effect_noise((64, 64), 90).convert("RGB"), folder)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (8, 8, 40, 40))
    ask: dict[str, Any] = {
        "image": picture,
        "mask": desk.put(mask, folder),
        "checkpoint": checkpoint,
        "strength": 0.9,
        "steps": 6,
    }
    plain, steered = (desk.paint(task="inpaint", **ask, units=units) for units in ([], [unit(ref)]))
    assert plain != steered
    assert desk.paint(task="control", **ask, units=[unit(ref)]) == steered
    if checkpoint == "sd":
        del ask["mask"]
        plain = desk.paint(task="img2img", **ask)
        steered = desk.paint(task="img2img", **ask, units=[unit(ref)])
        assert plain != steered
        assert desk.paint(task="control", **ask, units=[unit(ref)]) == steered


def test_a_picture_is_preprocessed_on_the_way(desk: Desk, folder: Path) -> None:
    photo = Image.new("RGB", (128, 128), "navy")
    ImageDraw.Draw(photo).rectangle((30, 30, 90, 90), fill="gold")
    given = {"image": desk.put(photo, folder), "preprocessor": "canny", "params": {}}
    [made] = desk.paint(units=[{**given, "controlnet": "tiny-canny"}])
    assert made != desk.paint()[0]


def test_weights_are_as_before_also_after_a_failure(desk: Desk, ref: str, shelf: Path) -> None:
    manager = desk.runner.manager
    desk.runner.unload()
    desk.paint(units=[unit(ref)])
    before = desk.held()
    assert set(manager.kept) == {"sd", "controlnet:tiny-canny"}
    sd = Catalog((shelf,)).get("sd")
    control = desk.runner.controls.get("tiny-canny")
    with manager.use(sd, Role.TEXT) as lease, manager.use_control(control, lease) as found:
        net: Any = found

    def broken(*_: Any) -> None:
        raise RuntimeError("in mid-step")

    hook = net.register_forward_hook(broken)
    assert desk.run(units=[unit(ref)])["op"] == "failed"
    hook.remove()
    assert desk.held() == before
    assert desk.leases == 0


def test_one_of_another_family_is_refused(desk: Desk, ref: str) -> None:
    ending = desk.run(checkpoint="sd", units=[unit(ref, "xl-pose")])
    assert ending["op"] == "failed"
    assert "not made for" in ending["message"]


def test_what_it_fits_is_read_from_its_keys(shelf: Path) -> None:
    found = {control.id: control for control in Controls((shelf / "controlnet",)).all()}
    assert {name: control.kinds for name, control in found.items()} == {
        "tiny-canny": ("edges",),
        "tiny-depth": ("depth",),
        "xl-pose": ("pose",),
        "xl-union": ("edges", "depth", "pose", "normals", "segments"),
    }
    encoders = {c.id: c.steered for c in Catalog((shelf,)).all() if not c.problem}
    assert found["tiny-canny"].made_for == encoders["sd"] == encoders["sd9"]
    assert found["xl-pose"].made_for == encoders["xl"] != encoders["sd"]
    assert found["xl-union"].made_for == encoders["xl"]


def test_a_map_of_another_size_is_fitted(desk: Desk, folder: Path) -> None:
    wide = desk.put(lines(200).resize((300, 90)), folder)
    made = {
        np.frombuffer(desk.paint(units=[unit(wide, resize=way)])[0], np.uint8).tobytes()
        for way in ("stretch", "crop", "pad")
    }
    assert len(made) == 3
