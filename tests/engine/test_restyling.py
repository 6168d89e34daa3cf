"""Methods of the task `style` that paint with a checkpoint."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controls import Controls
from studio.core.errors import InvalidRequest
from studio.core.requests import dump, parse
from studio.tasks.style import TASK, Restyle
from tests.engine.desk import Desk


class Facts:
    """`tasks.Facts` over the shelf, with pictures of one size."""

    def __init__(self, shelf: Path, nets: Path) -> None:
        self.catalog, self.controls = Catalog((shelf,)), Controls((nets,))

    def checkpoint(self, checkpoint_id: str | None) -> Any:
        return self.catalog.get(checkpoint_id)

    def controlnet(self, control_id: str | None, kind: str, checkpoint: Any) -> Any:
        for control in self.controls.fitting(checkpoint.steered):
            if kind in control.kinds and control_id in (None, control.id):
                return control
        raise InvalidRequest("There is none.", "Choose another.", field="units")

    def ways(self, checkpoint: Any) -> tuple[str, ...]:
        return "whole", "fp8", "blocks"

    def embeddings(self, checkpoint: Any) -> dict[str, Any]:
        return {}

    def size(self, ref: str) -> tuple[int, int]:
        return 96, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("looks")


@pytest.fixture(scope="module")
def desk(make_desk: Callable[..., Desk], shelf: Path) -> Desk:
    """One for all: nothing that was painted before changes a picture."""
    return make_desk(shelf)


@pytest.fixture
def asked(desk: Desk, folder: Path) -> dict[str, Any]:
    photo = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    style = Image.effect_noise((64, 64), 80).convert("RGB")
    return {
        "image": desk.put(photo, folder),
        "styles": [{"image": desk.put(style, folder)}],
        "prompt": "a fox",
        "checkpoint": "sd",
        "steps": 4,
        "seed": 7,
    }


def resolved(shelf: Path, nets: Path, **fields: Any) -> Any:
    return TASK.resolve(parse(Restyle, fields), Facts(shelf, nets))  # type: ignore[arg-type]


def painted(desk: Desk, request: Restyle) -> tuple[bytes, dict[str, Any]]:
    desk.sent.clear()
    desk.control.expected("job")
    desk.runner.run("job", "style", dump(request), desk.files)
    assert desk.sent[-1][0]["op"] == "done", desk.sent[-1][0]
    [(frame, blob)] = [one for one in desk.sent if one[0]["op"] == "picture"]
    return blob, frame


def test_a_picture_is_painted_anew_and_its_structure_held(
    desk: Desk, shelf: Path, asked: dict[str, Any]
) -> None:
    nets = shelf / "controlnet"
    made: dict[str, bytes] = {}
    for method in ("words", "shared"):
        found = resolved(shelf, nets, **asked, method=method)
        request = found.request
        assert resolved(shelf, nets, **dump(request)).request == request
        assert [unit.controlnet for unit in request.units] == ["tiny-canny"]
        assert (request.structure, found.notes) == ("edges", ())
        assert set(asked["image"].split()) <= set(TASK.pictures(request))
        made[method], frame = painted(desk, request)
        assert frame["facts"]["stylizer"] == method
        assert frame["width"] > frame["height"]
        assert painted(desk, request)[0] == made[method]
        assert painted(desk, replace(request, clip_skip=2))[0] != made[method]
        blocks, frame = painted(desk, replace(request, weights="blocks"))
        assert blocks == made[method]
        assert frame["facts"]["plan"] == ["Blocks of the denoiser brought in one after another."]
    assert made["words"] != made["shared"]


def test_without_a_controlnet_it_says_so_and_paints_less(
    desk: Desk, shelf: Path, asked: dict[str, Any], tmp_path: Path
) -> None:
    found = resolved(shelf, tmp_path, **asked, method="shared")
    assert found.request.units == () and "No ControlNet for edges" in found.notes[0]
    painted(desk, found.request)
    with pytest.raises(InvalidRequest, match="There is none"):
        resolved(shelf, tmp_path, **asked, method="shared", structure="depth")


def test_no_strength_keeps_the_picture_and_colours_are_kept_on_demand(
    desk: Desk, shelf: Path, asked: dict[str, Any]
) -> None:
    asked |= {"method": "words", "structure": "none"}
    nothing = resolved(shelf, shelf, **asked, strength=0.0).request
    blob, _ = painted(desk, nothing)
    assert len(set(blob[::3])) > 20, "the gradient"
    grey = resolved(shelf, shelf, **asked, keep_colours=True).request
    pixels = np.frombuffer(painted(desk, grey)[0], np.uint8).reshape(-1, 3).astype(int)
    assert np.abs(pixels - pixels.mean(axis=1, keepdims=True)).max() <= 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": " "}, "no words"),
        ({"styles": []}, "No style picture"),
        ({"styles": [{"image": "a" * 64}] * 5}, "At most 4"),
    ],
)
def test_nonsense_is_refused(
    shelf: Path, asked: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        resolved(shelf, shelf, **{**asked, "method": "shared", **change})
