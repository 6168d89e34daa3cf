"""What the forms of Control and Style ask for."""

import json

import pytest

from studio.core.errors import InvalidRequest
from studio.ui.tabs import control, style
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


def test_a_map_from_the_gallery_is_taken_as_it_is() -> None:
    record = {"id": OTHER, "task": "preprocess", "facts": {"kind": "depth"}}
    [unit] = json.loads(control.from_picture(record)["units"])
    assert unit == {"kind": "depth", "map": OTHER}
    pose = {"people": [], "canvas_width": 64, "canvas_height": 64}
    record = {"id": OTHER, "task": "preprocess", "facts": {"kind": "pose", "pose": pose}}
    [unit] = json.loads(control.from_picture(record)["units"])
    assert unit == {"kind": "pose", "pose": pose}, "to be edited further"


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
