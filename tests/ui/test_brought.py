"""What a picture brings along to each form that it can be sent to."""

import json
from typing import Any

import pytest

from studio.ui.form import Now
from studio.ui.shell import tabs_in_order
from studio.ui.tabs._tab import Tab

PICTURE, REF = "c" * 32, "a" * 64
NOW = Now(
    choices={
        "checkpoints": [
            {"id": "here", "problem": None, "references": ["shared", "adapter"]},
            {"id": "other", "problem": None, "references": ["shared", "adapter"]},
        ],
        "samplers": [{"id": "euler", "label": "Euler"}],
        "default_checkpoint": "here",
    }
)
ASKED: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "rain",
    "presets": ["Night"],
    "checkpoint": "other",
    "sampler": "euler",
    "steps": 9,
    "guidance": 3.5,
    "seed": 6,
    "count": 4,
    "width": 96,
    "height": 64,
    "units": [],
    "references": [],
    "loras": [],
}
TAKING = [tab for tab in tabs_in_order() if tab.from_picture]
TABS = pytest.mark.parametrize("tab", TAKING, ids=[tab.id for tab in TAKING])
STARTING = pytest.mark.parametrize("tab", [tab for tab in TAKING if tab.id != "control"])


def sent(tab: Tab, held: dict[str, Any], **changes: Any) -> dict[str, Any]:
    assert tab.from_picture is not None
    record = {"id": PICTURE, "task": "txt2img", "seed": 8, "facts": {}}
    return tab.from_picture({**record, "request": ASKED | changes}, held, NOW).values


@TABS
def test_it_brings_what_it_was_painted_with(tab: Tab) -> None:
    found = sent(tab, {"checkpoint": "here", "prompt": "a boat", "presets": ""})
    wanted = {name: ASKED[name] for name in ("prompt", "negative_prompt", "steps", "guidance")}
    wanted |= {"checkpoint": "other", "presets": '["Night"]', "seed_mode": "Fixed", "seed": "8"}
    assert wanted.items() <= found.items()
    assert found["count"] == 1, "this picture, not all of its job"


@STARTING
def test_the_size_follows_from_the_picture(tab: Tab) -> None:
    found = sent(tab, {"size_mode": "Like the picture"})
    assert found["image"] == PICTURE
    if tab.id not in {"upscale", "style"}:  # which have no size of their own
        assert found.keys().isdisjoint({"width", "height", "size_mode"})


@TABS
def test_one_that_nothing_was_said_of_leaves_the_words_that_are_there(tab: Tab) -> None:
    found = sent(tab, {"prompt": "a boat"}, prompt="", seed=None)
    assert found.keys().isdisjoint({"prompt", "presets", "seed", "checkpoint", "steps"})


@TABS
def test_a_checkpoint_that_is_gone_is_not_brought(tab: Tab) -> None:
    found = sent(tab, {"checkpoint": "here"}, checkpoint="gone")
    assert "checkpoint" not in found and found["prompt"] == "a fox"


@pytest.mark.parametrize("tab", [tab for tab in TAKING if tab.id in {"img2img", "inpaint"}])
def test_units_and_style_references_come_along(tab: Tab) -> None:
    unit = {"kind": "edges", "map": REF, "controlnet": "net"}
    look = {"image": REF, "weight": 0.5, "method": "shared", "takes": "style"}
    found = sent(tab, {"checkpoint": "here"}, units=[unit], references=[look])
    # its checkpoint comes along too, so its ControlNet still fits
    assert json.loads(found["units"]) == [unit]
    assert (found["references"], found["reference_weight"]) == (REF, 0.5)
    found = sent(tab, {"checkpoint": "here"}, units=[unit], checkpoint="gone")
    assert json.loads(found["units"]) == [{**unit, "controlnet": None}]
