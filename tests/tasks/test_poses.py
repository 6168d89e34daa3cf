"""People that a person posed: understood, drawn, refused where nobody is there."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from studio.core.errors import InvalidRequest
from studio.core.requests import parse
from studio.preprocessors._people import COLOURS, POINTS
from studio.tasks._poses import read_pose
from studio.tasks._units import Unit, maps, misfits, resolve_units, unweighed

REF = "a" * 64


def written(size: tuple[int, int] = (64, 96), **changes: Any) -> dict[str, Any]:
    """Somebody whose joints stand on a line down the middle."""
    numbers = [value for row in range(18) for value in (size[0] / 2, 4 + row * 5, 1.0)]
    return {
        "people": [{"pose_keypoints_2d": numbers}],
        "canvas_width": size[0],
        "canvas_height": size[1],
        **changes,
    }


def hidden(pose: dict[str, Any], *names: str) -> dict[str, Any]:
    numbers = list(pose["people"][0]["pose_keypoints_2d"])
    for name in names:
        numbers[3 * POINTS.index(name) + 2] = 0.0
    return {**pose, "people": [{"pose_keypoints_2d": numbers}]}


class Facts:
    """A ControlNet for everything, pictures of 128 × 96, and no weights of preprocessors."""

    def size(self, ref: str) -> tuple[int, int]:
        return (128, 96)

    def has_weights(self, *_: Any) -> bool:
        return False

    def controlnet(self, *_: Any) -> Any:
        return type("Net", (), {"id": "net", "types": 0})


CHECKPOINT: Any = SimpleNamespace(label="Any", balances=("balanced", "control"))


def resolved(**fields: Any) -> Unit:
    [unit] = resolve_units((parse(Unit, fields),), CHECKPOINT, Facts())  # type: ignore[arg-type]
    return unit


@pytest.mark.parametrize(
    ("way", "said"), [("crop", "cut off"), ("stretch", "pulled"), ("pad", "drawn out")]
)
def test_a_map_of_another_shape_than_the_picture_is_said(way: str, said: str) -> None:
    unit = parse(Unit, {"map": REF, "kind": "depth", "resize": way})
    [note] = misfits((unit,), (512, 512), Facts())  # type: ignore[arg-type]
    assert "depth (128×96 px)" in note and said in note
    made = parse(Unit, {"image": REF})
    others = (made, replace(unit, weight=0.0))
    assert misfits(others, (512, 512), Facts()) == ()  # type: ignore[arg-type]
    # of one shape but for rounding
    assert misfits((unit,), (512, 376), Facts()) == ()  # type: ignore[arg-type]


def test_where_prompt_and_map_cannot_be_weighed_they_matter_alike_and_that_is_said() -> None:
    units = {
        name: parse(Unit, {"pose": written(), "kind": "pose", "balance": name})
        for name in ("prompt", "control")
    }
    assert resolved(kind="pose", pose=written(), balance="control").balance == "control"
    assert unweighed((units["control"],), CHECKPOINT) == ()
    assert resolved(kind="pose", pose=written(), balance="prompt").balance == "balanced"
    [said] = unweighed(tuple(units.values()), CHECKPOINT)
    assert "both matter alike" in said
    idle = replace(units["prompt"], weight=0.0)
    assert unweighed((idle,), CHECKPOINT) == ()


def test_a_hidden_joint_keeps_its_place_and_is_not_drawn() -> None:
    pose = read_pose(hidden(written(), "nose"))
    pixels = np.asarray(pose.image)
    assert pose.image.size == (64, 96)
    assert tuple(pixels[4, 32]) == (0, 0, 0)
    assert tuple(pixels[9, 32]) != (0, 0, 0)
    assert pose.people[0].points[0].y == 4
    assert read_pose(pose.data) == pose


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (written(people=[]), "Nobody is to be seen"),
        (hidden(written(), *POINTS), "Nobody is to be seen"),
        (
            written(people=[{"pose_keypoints_2d": [99.0, 10.0, 1.0] * 18}]),
            "Nobody .* outside of its picture",
        ),
        (written(canvas_width=None), "does not tell how large"),
        (written((8, 8)), "cannot be 8 × 8"),
        (written((9000, 64)), "cannot be 9000 × 64"),
        (written((8000, 8000)), "cannot be 8000 × 8000"),
        ({}, "no pose as OpenPose writes it"),
    ],
)
def test_what_is_no_pose_is_refused(pose: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        read_pose(pose)
    with pytest.raises(InvalidRequest, match=words) as refused:
        resolved(kind="pose", pose=pose)
    assert refused.value.field == "units"


def test_a_unit_paints_with_the_very_map_that_was_shown() -> None:
    unit = resolved(kind="pose", pose=written())
    [shown] = maps((unit,), None)  # type: ignore[arg-type]
    assert shown.tobytes() == read_pose(written()).image.tobytes()
    assert resolved(kind="pose", pose=unit.pose).pose == unit.pose


def test_people_in_a_picture_have_its_size_and_are_not_looked_for() -> None:
    unit = resolved(kind="pose", image=REF, pose=written())
    assert unit.pose is not None
    assert (unit.pose["canvas_width"], unit.pose["canvas_height"]) == (128, 96)
    assert unit.preprocessor == "pose"  # what they began from, for whoever edits them again
    [shown] = maps((unit,), None)  # type: ignore[arg-type]
    assert shown.size == (128, 96)
    assert tuple(np.asarray(shown)[4, 64]) == COLOURS[0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "pose", "map": REF, "pose": written()}, "not both"),
        ({"kind": "pose"}, "needs a picture"),
        ({"kind": "depth", "pose": written()}, "People steer poses"),
        (
            {"kind": "pose", "image": REF, "preprocessor": "canny"},
            "maps of kind 'edges', not 'pose'",
        ),
        ({"kind": "depth", "map": REF, "preprocessor": "hed"}, "maps of kind 'edges', not 'depth'"),
        ({"image": REF, "preprocessor": "hed"}, "weights of HED are not here"),
    ],
)
def test_one_source_and_the_right_one(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        resolved(**fields)


def test_the_preprocessors_that_fit_are_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolved(kind="depth", image=REF, preprocessor="canny")
    assert "depth_estimate" in caught.value.hint and "hed" not in caught.value.hint


@pytest.mark.parametrize(
    "fields",
    [
        {"image": REF, "preprocessor": "hed", "weight": 0.0},
        {"kind": "pose", "image": REF, "pose": written(), "preprocessor": "dwpose"},
        {"map": REF, "preprocessor": "hed"},
    ],
)
def test_weights_are_only_asked_for_where_a_map_is_made(fields: dict[str, Any]) -> None:
    assert resolved(**fields).preprocessor == fields["preprocessor"]


def test_a_pose_is_not_changed_by_what_else_is_asked() -> None:
    unit = resolved(kind="pose", pose=written(), weight=0.5)
    assert replace(unit, weight=1.0) == resolved(kind="pose", pose=written())
