"""What the tab Upscale and the second pass of Paint ask for, as plain values."""

from typing import Any

import pytest

from studio.core.errors import InvalidRequest
from studio.ui.form import Now
from studio.ui.tabs.txt2img import TAB as PAINT
from studio.ui.tabs.upscale import TAB as UPSCALE
from studio.ui.tabs.upscale import _outcome
from studio.ui.widgets.upscaling import about, larger

REF, OTHER, ID = "a" * 64, "b" * 64, "c" * 32
VALUES: dict[str, Any] = {
    "image": REF,
    "scale": 2,
    "upscaler": "lanczos",
    "details": False,
    "prompt": "a red fox",
    "negative_prompt": "rain",
    "said_of": "",
    "strength": 0.3,
    "checkpoint": "fox",
    "steps": 20,
    "guidance": 5.0,
    "sampler": "euler",
    "clip_skip": 1,
    "seed_mode": "Fixed",
    "seed": "7",
}


def test_enlarging_alone_asks_for_nothing_else() -> None:
    assert UPSCALE.to_requests(VALUES) == ({"image": REF, "scale": 2, "upscaler": "lanczos"},)
    both = UPSCALE.to_requests(VALUES | {"image": f"{REF} {OTHER}"})
    assert [request["image"] for request in both] == [REF, OTHER]


def test_words_out_of_view_are_only_taken_with_the_picture_they_were_said_of() -> None:
    record: dict[str, Any] = {"id": ID, "request": {"prompt": "a boat"}}
    sent = VALUES | UPSCALE.from_picture(record, VALUES, now()).values
    assert UPSCALE.to_requests(sent)[0]["prompt"] == "a boat"
    assert "prompt" not in UPSCALE.to_requests(sent | {"image": REF})[0]
    assert "prompt" not in UPSCALE.to_requests(sent | {"image": f"{ID} {REF}"})[0]
    record["request"] = {"preprocessor": "canny"}
    sent |= UPSCALE.from_picture(record, sent, now()).values
    assert "prompt" not in UPSCALE.to_requests(sent)[0], "nothing was said of a map"


def test_details_are_painted_with_the_settings_in_view() -> None:
    [request] = UPSCALE.to_requests(VALUES | {"details": True})
    assert request == {
        "image": REF,
        "scale": 2,
        "upscaler": "lanczos",
        "prompt": "a red fox",
        "negative_prompt": "rain",
        "strength": 0.3,
        "checkpoint": "fox",
        "steps": 20,
        "guidance": 5.0,
        "sampler": "euler",
        "clip_skip": 1,
        "seed": 7,
    }
    [narrow] = UPSCALE.to_requests(VALUES | {"details": True, "weights": "fp8"})
    assert narrow == request | {"weights": "fp8"}
    [planned] = UPSCALE.to_requests(VALUES | {"details": True, "weights": "planned"})
    assert planned.get("weights", "planned") == "planned"
    assert "weights" not in UPSCALE.to_requests(VALUES | {"weights": "fp8"})[0]
    whole = {"seed": 7, "strength": 0.3, **narrow}
    assert UPSCALE.from_record({"request": whole, "seed": 7})["weights"] == "fp8"


def test_without_a_picture_there_is_nothing_to_enlarge() -> None:
    for value in ("", None, "nonsense"):
        with pytest.raises(InvalidRequest, match="no picture to enlarge"):
            UPSCALE.to_requests(VALUES | {"image": value})


@pytest.mark.parametrize("details", [True, False])
def test_a_record_gives_the_same_request_again(details: bool) -> None:
    [request] = UPSCALE.to_requests(VALUES | {"details": details, "image": ID})
    # as the studio stores it: nothing is left out
    whole = {"seed": None, "steps": None, "strength": 0.0, "prompt": ""} | request
    values = UPSCALE.from_record({"request": whole, "seed": 7})
    [again] = UPSCALE.to_requests(VALUES | values)
    assert {**again, "prompt": "", "negative_prompt": ""} == {
        **request,
        "prompt": "",
        "negative_prompt": "",
    }
    assert bool(values["details"]) is details


def test_nonsense_in_settings_is_left_out() -> None:
    values = UPSCALE.from_settings(
        {"image": "../x", "prompt": 5, "steps": "many", "strength": None}
    )
    assert values == {"details": False}


def now(**changes: Any) -> Now:
    choices = {
        "checkpoints": [{"id": "fox", "native_px": 64, "multiple_px": 8, "problem": ""}],
        "default_checkpoint": "fox",
        "samplers": [],
        "default_upscaler": "lanczos",
        "upscalers": [
            {"id": "lanczos", "label": "Lanczos", "about": "At once.", "problem": "", "advice": ""},
            {"id": "x", "label": "<x>", "about": "", "problem": "It is bad.", "advice": "Go."},
        ],
    }
    return Now(choices=choices, **changes)


def test_the_size_of_the_result_is_told() -> None:
    there = now(size_of=lambda ref: (30, 21))
    assert "75 × 52 px" in _outcome(VALUES | {"scale": 2.5}, there)
    assert _outcome(VALUES, now()).endswith("></span>")


def test_upscalers_that_cannot_be_used_are_told_with_their_reason() -> None:
    said = about(now().choices, "lanczos")
    assert "At once." in said and "1 upscaler cannot be used" in said
    assert "&lt;x&gt;" in said and "It is bad. Go." in said


HIRES = {
    "hires": True,
    "hires_factor": 1.5,
    "hires_strength": 0.4,
    "hires_steps": 0,
    "hires_upscaler": "lanczos",
}


def test_a_second_pass_is_asked_for_and_comes_back() -> None:
    [plain] = PAINT.to_requests({"prompt": "a", **HIRES, "hires": False})
    assert "hires" not in plain
    [request] = PAINT.to_requests({"prompt": "a", "steps": 20, **HIRES})
    assert request["hires"] == {"factor": 1.5, "strength": 0.4, "upscaler": "lanczos"}
    stored = request | {"hires": request["hires"] | {"steps": 20}}
    values = PAINT.from_record({"request": stored, "seed": 7})
    assert {name: values[name] for name in HIRES} == HIRES
    stored["hires"]["steps"] = 12
    assert PAINT.from_settings(stored)["hires_steps"] == 12
    assert PAINT.from_settings({"hires": "nonsense"})["hires"] is False
    assert PAINT.from_settings({"prompt": "a", "hires": None})["hires"] is False


def test_the_size_of_the_second_pass_is_the_tasks() -> None:
    assert larger({"width": 72, "height": 64, "hires_factor": 1.5}, now()) == (104, 96)
    assert larger({"width": None, "height": 64, "hires_factor": 1.5}, now()) is None
