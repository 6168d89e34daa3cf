"""Units that other tabs carry along."""

import json

import pytest

from studio.ui.tabs import img2img, inpaint, outpaint, txt2img
from studio.ui.widgets import units

REF = "a" * 64
ROWS = [{"kind": "depth", "image": REF}]
FILLED = {"prompt": "a fox", "image": REF, "mask": REF}
TABS = pytest.mark.parametrize("tab", [txt2img, img2img, inpaint, outpaint])


@TABS
def test_units_go_through_and_back(tab) -> None:
    carried = json.dumps({"of": "control", "units": [*ROWS, {"kind": "edges"}]})
    [fields] = tab.to_requests({**FILLED, "units": carried})
    assert fields["units"] == ROWS, "what is not set up is left out"
    assert json.loads(tab.from_settings(fields)["units"]) == ROWS
    record = {"request": {**fields, "width": 64, "height": 64}, "seed": 1}
    assert json.loads(tab.from_record(record)["units"]) == ROWS


@TABS
def test_switched_off_there_are_none(tab) -> None:
    [fields] = tab.to_requests({**FILLED, "units": ""})
    assert "units" not in fields
    assert tab.from_settings({"units": []})["units"] == "", "a picture without switches them off"
    assert "units" not in tab.from_settings({}), "settings that say nothing do not"


@pytest.mark.parametrize(
    ("request_units", "held", "brought"),
    [
        (ROWS, "", ROWS),
        (ROWS, json.dumps({"of": "control", "units": []}), ROWS),
        ([], json.dumps(ROWS), []),  # of the picture that was there before
        ([], json.dumps({"of": "control", "units": ROWS}), None),
        ([], "", None),
    ],
)
def test_a_picture_brings_its_own(request_units, held, brought) -> None:
    found = units.brought({"units": request_units}, {"units": held})
    assert ("units" in found) == (brought is not None)
    assert units.read(found.get("units")) == (brought or [])


def test_another_checkpoint_looks_for_its_own_controlnet() -> None:
    row = {**ROWS[0], "controlnet": "of-sdxl"}
    asked = {"units": [row], "checkpoint": "sdxl"}
    for there, net in (("sdxl", "of-sdxl"), ("other", None)):
        found = units.brought(asked, {"units": "", "checkpoint": there})
        assert units.read(found["units"])[0]["controlnet"] == net


def test_people_are_a_source_too() -> None:
    posed = {"kind": "pose", "pose": {"people": []}}
    assert units.read(json.dumps([posed, {"kind": "pose", "pose": None}])) == [posed]
