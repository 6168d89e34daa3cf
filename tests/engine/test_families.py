"""Every family of the drawer: a tiny checkpoint of the real classes is recognised by its keys and
paints in each of its roles, twice with the same bytes."""

import inspect
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage import (
    pipeline_qwenimage_edit,
    pipeline_qwenimage_edit_inpaint,
)
from PIL import Image, ImageDraw

from studio.checkpoints.catalog import Catalog, families
from studio.checkpoints.folder import read_parts, saved_from, shapes_of
from studio.checkpoints.hashes import Hashes
from studio.costs import machine
from studio.engine.device import Device
from studio.engine.manager import Manager
from studio.families._family import Family, Over, Role
from studio.families._keys import saved_as
from studio.paths import CONFIGS
from studio.samplers import FLOW, find
from tests.engine.desk import Desk
from tests.engine.tiny_families import SIZE_PX, TINY

FAMILIES = families()
DERIVED = {
    *("sd15_inpaint", "sdxl_inpaint", "sdxl_refiner", "kandinsky22_inpaint", "pixart_alpha"),
    *("flux_schnell", "flux2_klein", "sana_sprint"),
}
"""Families that are others but for their weights, or for the channels that these see."""


@pytest.fixture(scope="module")
def drawer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with the tiny checkpoint of one family, made when it is first asked for."""
    home = tmp_path_factory.mktemp("families")

    def of(family: str) -> Path:
        folder = home / family
        if not folder.exists():
            assert family in TINY, f"the family {family} has no tiny checkpoint"
            TINY[family](folder / family)
        return folder

    return of


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    return tmp_path


def ask(role: Role, desk: Desk, uploads: Path, side: int) -> dict[str, Any]:
    """A request for a task that needs a pipeline of that role."""
    if role is Role.TEXT:
        return {"task": "txt2img"}
    rows, columns = np.mgrid[:side, :side]
    pixels = np.stack([columns * 3 % 256, rows * 2 % 256, (rows + columns) % 256], -1)
    image = desk.put(Image.fromarray(pixels.astype(np.uint8)), uploads)
    if role is Role.IMAGE:
        return {"task": "img2img", "image": image, "strength": 0.6}
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).rectangle((0, 0, side // 2, side), fill=255)
    return {
        "task": "inpaint",
        "image": image,
        "mask": desk.put(mask, uploads),
        "strength": 0.9,
        "area": "whole",
    }


@pytest.fixture
def small_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen-Image-Edit looks at pictures of a megapixel, which takes minutes here."""
    for module in (pipeline_qwenimage_edit, pipeline_qwenimage_edit_inpaint):
        fitted = module.calculate_dimensions
        monkeypatch.setattr(
            module, "calculate_dimensions", lambda _, ratio, f=fitted: f(64**2, ratio)
        )


@pytest.mark.usefixtures("small_looks")
@pytest.mark.parametrize(
    "family",
    [pytest.param(one, marks=pytest.mark.slow) if one in DERIVED else one for one in FAMILIES],
)
def test_a_tiny_checkpoint_is_recognised_and_paints(
    family: str, drawer: Callable[[str], Path], make_desk: Callable[..., Desk], uploads: Path
) -> None:
    desk = make_desk(drawer(family))
    found = desk.runner.catalog.get(family)
    assert (found.family, found.problem) == (family, "")
    paint_in_each_role(desk, family, uploads)


@pytest.mark.slow
@pytest.mark.usefixtures("small_looks")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_large_checkpoint_paints_in_short_numbers(
    family: str,
    drawer: Callable[[str], Path],
    make_desk: Callable[..., Desk],
    uploads: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "LARGE", 0)
    desk = make_desk(drawer(family))
    manager = desk.runner.manager
    short = replace(manager.device, dtype=torch.bfloat16, exact=torch.float32)
    manager.device = manager._store.device = short
    paint_in_each_role(desk, family, uploads)
    assert desk.frames("picture")[0]["facts"]["dtype"] == "bfloat16"
    found = desk.runner.catalog.get(family)
    with manager.use(found, next(iter(found.roles))) as lease:
        parts = lease.weights.components
        if (vae := parts.get("vae", parts.get("vqgan"))) is not None:
            # pipelines that encode pictures by themselves know one number format
            mixed = FAMILIES[family].over is Over.LATENTS
            assert vae.dtype is (torch.float32 if mixed else torch.bfloat16)


def paint_in_each_role(desk: Desk, family: str, uploads: Path) -> None:
    found = desk.runner.catalog.get(family)
    side = SIZE_PX.get(family, SIZE_PX[""])
    changes: dict[str, Any] = {
        "checkpoint": family,
        "prompt": "a (red:1.3) fox",
        "width": side,
        "height": side,
        "steps": 2,
        "guidance": found.defaults.guidance,
        "sampler": found.defaults.sampler,
    }
    if found.supports.negative_prompt:
        changes["negative_prompt"] = "rain"
    painted = set()
    for role in found.roles:
        wish = {**changes, **ask(role, desk, uploads, side)}
        first, second = desk.paint(**wish, count=2)
        assert len(first) == side * side * 3 and len(set(first)) > 10 and first != second
        told = [(f["step"], f["steps"]) for f in desk.frames("progress")]
        assert told and told[-1][0] == told[-1][1]
        assert desk.paint(**{**wish, "seed": 8}) == [second]
        taller = side + found.multiple_px
        [quick] = desk.paint(**{**wish, "steps": 1, "height": taller})
        # what is repainted keeps the size of its picture
        assert len(quick) == side * (side if role is Role.INPAINT else taller) * 3
        painted.add(first)
    assert len(painted) == len(found.roles)


def test_no_tiny_checkpoint_is_taken_for_another(drawer: Callable[[str], Path]) -> None:
    """The rule of one family holds for each, and no other."""
    for family in FAMILIES:
        folder = drawer(family) / family
        shapes = {**shapes_of(read_parts(folder)), saved_as(saved_from(folder)): ()}
        assert [other.id for other in FAMILIES.values() if other.keys(shapes)] == [family]


@pytest.mark.parametrize("sampler", FLOW)
def test_every_flow_sampler_paints(
    drawer: Callable[[str], Path], make_desk: Callable[..., Desk], uploads: Path, sampler: str
) -> None:
    """Of a flow that leans as the checkpoint says, and of one that leans as the size does."""
    for family in ("sd3", "flux"):
        desk = make_desk(drawer(family))
        for role in Role:
            wish = {"checkpoint": family, "sampler": sampler, "steps": 4}
            assert desk.paint(**wish, **ask(role, desk, uploads, 64))
            assert desk.frames("progress")[-1]["step"] == desk.frames("progress")[-1]["steps"]
        assert desk.frames("picture")[0]["facts"]["scheduler"] == find(sampler).scheduler


def aligned(pipeline: Any) -> Any:
    """The pipeline with weights that begin where a processor likes it, as ours always do. A mapped
    file has them anywhere, and the last bits of a product depend on it."""
    for part in pipeline.components.values():
        for weight in part.parameters() if isinstance(part, torch.nn.Module) else ():
            weight.data = weight.data.clone()
    return pipeline


def test_a_picture_of_a_flow_is_bit_equal_to_the_bare_call(
    drawer: Callable[[str], Path], make_desk: Callable[..., Desk]
) -> None:
    for family, negative in (("sd3", {"negative_prompt": "rain"}), ("flux", {})):
        [ours] = make_desk(drawer(family)).paint(
            checkpoint=family, prompt="a fox", sampler="flow_euler", **negative
        )
        pipeline = aligned(diffusers.DiffusionPipeline.from_pretrained(drawer(family) / family))
        pipeline.set_progress_bar_config(disable=True)
        [image] = pipeline(
            "a fox",
            width=64,
            height=64,
            num_inference_steps=3,
            guidance_scale=5.0,
            generator=torch.Generator("cpu").manual_seed(7),
            **negative,
        ).images
        assert ours == image.tobytes(), family


@pytest.mark.parametrize("family", FAMILIES)
def test_its_networks_are_read_byte_by_byte_and_as_large_as_is_said(
    family: str, drawer: Callable[[str], Path], device: Device
) -> None:
    """Rather than by a converter, whose networks can only be kept whole."""
    found = Catalog((drawer(family),)).get(family)
    manager = Manager(device, CONFIGS, Hashes(None))
    with manager.use(found, next(iter(found.roles)), kept="packed") as lease:
        sizes, size = manager.sizes(found), lease.weights.size_bytes
    assert sizes is not None and set(sizes.denoiser) == {"whole", "packed", "fp8", "blocks"}
    assert size == sizes.denoiser["packed"] + sizes.text["packed"] + sizes.rest
    assert None not in manager._layouts._known.values()


def test_weights_mean_nothing_to_a_reader_of_sentences(
    drawer: Callable[[str], Path], make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk(drawer("flux"))
    wish = {"checkpoint": "flux", "sampler": "flow_euler"}
    plain = desk.paint(prompt="a red fox", **wish)
    assert desk.paint(prompt="a (red:1.6) BREAK [fox]", **wish) == plain
    assert desk.paint(prompt="a red wolf", **wish) != plain


def test_sd3_paints_without_t5(
    drawer: Callable[[str], Path], make_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    shutil.copytree(drawer("sd3"), tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "sd3"
    index = json.loads((folder / "model_index.json").read_text())
    for part in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(folder / part)
        index[part] = [None, None]
    (folder / "model_index.json").write_text(json.dumps(index))
    wish = {"checkpoint": "sd3", "sampler": "flow_euler"}
    without = make_desk(tmp_path).paint(**wish)
    assert without != make_desk(drawer("sd3")).paint(**wish)


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_previews_of_a_flow_come_near_the_picture(
    drawer: Callable[[str], Path], make_desk: Callable[..., Desk], family: str
) -> None:
    desk = make_desk(drawer(family))
    desk.control.watched = True
    wish = {"checkpoint": family, "sampler": "flow_euler", "steps": 6, "width": 96}
    [picture] = desk.paint(**wish)
    [jpeg] = [blob for frame, blob in desk.sent if frame["op"] == "preview"][:1]
    assert Image.open(io.BytesIO(jpeg)).size == (96, 64)
    desk.control.watched = False
    assert desk.paint(**wish) == [picture]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.id)
def test_a_family_says_where_a_strength_means_nothing(family: Family) -> None:
    asked = {
        role: inspect.signature(getattr(diffusers, name).__call__).parameters
        for role, name in family.pipelines.items()
        if role is not Role.TEXT and role not in family.begun
    }
    assert family.strengthless == {role for role, names in asked.items() if "strength" not in names}
