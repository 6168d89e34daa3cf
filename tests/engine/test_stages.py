"""Families that paint in two stages: a prior foresees, a decoder paints."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel
from PIL import Image

from studio.costs import machine
from studio.costs.needs import rest_bytes
from studio.engine.loading import size_of
from studio.families._family import Role
from tests.engine.desk import Desk
from tests.engine.tiny_families import TINY


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stages")
    for family in ("kandinsky22", "stable_cascade"):
        TINY[family](folder / family)
    return folder


KANDINSKY = {"checkpoint": "kandinsky22", "sampler": "ddpm"}
CASCADE = {"checkpoint": "stable_cascade", "sampler": "wuerstchen", "width": 128, "height": 128}


def bare(kind: str, folder: Path) -> Any:
    """The pipeline as diffusers reads it, part by part: it does not find PaellaVQModel by itself."""
    parts: dict[str, Any] = {}
    for name, entry in json.loads((folder / "model_index.json").read_text()).items():
        if isinstance(entry, list) and entry[1]:
            library = {"diffusers": diffusers, "transformers": transformers}[entry[0]]
            cls = PaellaVQModel if name == "vqgan" else getattr(library, entry[1])
            parts[name] = cls.from_pretrained(folder / name)
    return getattr(diffusers, kind)(**parts)


def test_a_picture_is_that_of_the_bare_call(shelf: Path, make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(shelf)
    assert desk.runner.catalog.get("kandinsky22").encoder is None
    for kind, wish, given in (
        ("KandinskyV22CombinedPipeline", KANDINSKY, {"guidance_scale": 5.0}),
        (
            "StableCascadeCombinedPipeline",
            CASCADE,
            {
                "prior_guidance_scale": 5.0,
                "prior_num_inference_steps": 3,
                "num_inference_steps": 10,
            },
        ),
    ):
        [ours] = desk.paint(**wish)
        pipeline = bare(kind, shelf / wish["checkpoint"])
        pipeline.set_progress_bar_config(disable=True)
        side = wish.get("width", 64)
        [image] = pipeline(
            "a fox",
            **{"width": side, "height": side, "num_inference_steps": 3, **given},
            generator=torch.Generator("cpu").manual_seed(7),
        ).images
        # diffusers cuts down to bytes, we round to them
        assert max(abs(a - b) for a, b in zip(ours, image.tobytes(), strict=True)) <= 1, kind


@pytest.mark.parametrize(
    ("dtype", "exact"), [(torch.bfloat16, torch.float32), (torch.float16, None)], ids=str
)
def test_what_decodes_computes_in_long_numbers_and_is_counted_so(
    shelf: Path,
    make_desk: Callable[..., Desk],
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    exact: torch.dtype | None,
) -> None:
    monkeypatch.setattr(machine, "LARGE", 0)
    desk = make_desk(shelf)
    manager = desk.runner.manager
    short = replace(manager.device, dtype=dtype, exact=exact)
    manager.device = manager._store.device = short
    assert desk.paint(**CASCADE)
    found = desk.runner.catalog.get("stable_cascade")
    with manager.use(found, Role.TEXT) as lease:
        parts = lease.weights.components
        assert (parts["vqgan"].dtype, parts["decoder"].dtype) == (torch.float32, dtype)
        there = size_of(parts["vqgan"])
    assert found.anatomy
    predicted = rest_bytes(found.anatomy, short.machine.painting(found.anatomy))
    assert predicted == pytest.approx(there, rel=0.05)


def test_both_stages_are_counted_and_can_be_stopped(
    shelf: Path, make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk(shelf)

    def cancelling(header: dict[str, Any], blob: bytes = b"") -> None:
        desk.runner.send(header, blob)
        if header["op"] == "progress" and header["step"] == 2:
            desk.control.cancel("job")

    stopped = replace(desk, runner=replace(desk.runner, send=cancelling))
    for wish, steps in ((KANDINSKY, 28), (CASCADE, 13)):
        desk.paint(**wish)
        told = [(f["step"], f["steps"]) for f in desk.frames("progress")]
        assert told == [(n + 1, steps) for n in range(steps)]
        assert stopped.run(**wish)["op"] == "cancelled"
        assert [f["step"] for f in desk.frames("progress")] == [1, 2]


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m_karras", "dpmpp_2m_sde"])
def test_a_picture_that_is_not_square_is_painted_over(
    shelf: Path, make_desk: Callable[..., Desk], tmp_path: Path, sampler: str
) -> None:
    desk = make_desk(shelf)
    image = Image.radial_gradient("L").resize((128, 64)).convert("RGB")
    wish = {**KANDINSKY, "sampler": sampler, "image": desk.put(image, tmp_path)}
    [made] = desk.pictures("img2img", **wish, width=128, height=64, strength=0.5)
    assert made.size == (128, 64)
    assert desk.frames("picture")[0]["facts"]["scheduler"] in {
        "DDIMScheduler",
        "DPMSolverMultistepScheduler",
    }
