"""What the forms of Control and Style ask for."""

import json
from typing import Any

import pytest

from studio.core.errors import InvalidRequest
from studio.ui.form import Now
from studio.ui.tabs import control, style
from studio.ui.tabs._tab import Arrival
from studio.ui.widgets import units

REF, OTHER = "a" * 64, "b" * 32


def test_units_go_through_a_form_and_back() -> None:
    rows = [{"kind": "edges", "image": REF, "weight": 0.5}, {"kind": "pose", "map": OTHER}]
    [fields] = control.to_requests({"prompt": "a fox", "units": units.write(rows)})
    assert fields["units"] == rows
    assert json.loads(control.from_settings(fields)["units"]) == rows


@pytest.mark.parametrize("value", ["", "[]", None, json.dumps([{"kind": "edges"}])])
def test_control_needs_a_picture(value: object) -> None:
    with pytest.raises(InvalidRequest, match="no picture"):
        control.to_requests({"prompt": "a fox", "units": value})


@pytest.mark.parametrize("value", ["{", '{"kind": 1}', "[" * 5000, "7"])
def test_what_is_no_list_of_units_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        units.read(value)


HERE = Now(
    choices={"checkpoints": [{"id": "here", "problem": None}], "samplers": [{"id": "euler"}]}
)
EDGES = {"kind": "edges", "image": REF, "controlnet": "net"}
POSED = {"kind": "pose", "map": REF, "weight": 0.5}


def sent(asked: dict[str, Any], held: list[Any], task: str = "txt2img", **facts: Any) -> Arrival:
    """What Control holds once a picture made of that request is sent to it."""
    record = {"id": OTHER, "task": task, "request": asked, "facts": facts, "seed": 7}
    values = {"checkpoint": "here", "units": units.write(held)}
    return control.from_picture(record, values, HERE)


def test_a_map_from_the_gallery_is_taken_as_it_is() -> None:
    [unit] = units.rows(sent({}, [], "preprocess", kind="depth").values["units"])
    assert unit == {"kind": "depth", "map": OTHER}
    pose = {"people": [], "canvas_width": 64, "canvas_height": 64}
    [unit] = units.rows(sent({}, [], "preprocess", kind="pose", pose=pose).values["units"])
    assert unit == {"kind": "pose", "pose": pose}, "to be edited further"


@pytest.mark.parametrize(
    ("own", "held", "then"),
    [
        ([], [], [{"kind": "edges", "image": OTHER}]),
        ([], [POSED], [POSED, {"kind": "edges", "image": OTHER}]),
        ([EDGES], [POSED], [EDGES, {"kind": "depth", "image": OTHER}]),
        # one that is set up but for its picture becomes it, as it is
        (
            [],
            [{"kind": "depth", "weight": 0.3}],
            [{"kind": "depth", "weight": 0.3, "image": OTHER}],
        ),
        ([], [POSED] * 4, [POSED] * 4),
        ([EDGES] * 4, [], [EDGES] * 4),
    ],
)
def test_a_picture_takes_a_unit_that_is_free(own: list[Any], held: list[Any], then: Any) -> None:
    found = sent({"checkpoint": "here", "units": own}, held)
    assert units.rows(found.values["units"]) == then
    assert ["four units" in note for note in found.notes] == [True] * (len(then) == 4)


def test_a_picture_brings_what_it_was_painted_with() -> None:
    asked = {"checkpoint": "here", "prompt": "a fox", "sampler": "euler", "seed": 6, "width": 96}
    found = sent({**asked, "units": []}, []).values
    assert (found["prompt"], found["seed"], found["width"]) == ("a fox", "7", 96)
    assert "prompt" not in sent({"image": REF, "prompt": ""}, [], "preprocess").values


def test_for_another_checkpoint_controlnets_are_found_anew() -> None:
    found = sent({"prompt": "a fox", "checkpoint": "gone", "units": [EDGES]}, [])
    assert "checkpoint" not in found.values
    assert units.rows(found.values["units"])[0] == {**EDGES, "controlnet": None}


def test_a_look_needs_a_picture_and_at_least_one_other() -> None:
    for values in (
        {},
        {"image": REF},
        {"image": REF, "styles": " ".join([f"{n:064x}" for n in range(9)])},
    ):
        with pytest.raises(InvalidRequest):
            style.to_requests(values)
    values = {"image": REF, "styles": f"{OTHER} {REF}", "method": "neural", "strength": 0.5}
    [fields] = style.to_requests(values)
    assert fields["styles"] == [{"image": OTHER}, {"image": REF}]
    assert style.from_settings(fields) == values
