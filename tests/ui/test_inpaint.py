import json
import re
from html import unescape
from typing import Any

import gradio as gr
import pytest

from studio.core.errors import InvalidRequest
from studio.core.requests import parse
from studio.tasks.inpaint import TASK
from studio.ui.form import Now
from studio.ui.tabs.inpaint import START, TAB, from_record, from_settings, to_requests
from studio.ui.widgets.canvas import told

IMAGE, MASK = "a" * 64, "b" * 64
FORM: dict[str, Any] = {
    "prompt": "a fox",
    "checkpoint": "tiny",
    "image": IMAGE,
    "mask": MASK,
    "size_mode": "By itself",
    "width": 512,
    "height": 512,
    **START,
}


def test_a_form_becomes_one_request_that_leaves_the_size_to_the_studio() -> None:
    (fields,) = to_requests(FORM)
    request = parse(TASK.request, fields)
    assert (request.image, request.mask, request.area) == (IMAGE, MASK, "masked")
    assert "width" not in fields


def test_an_untouched_form_asks_for_what_an_untouched_request_does() -> None:
    plain = parse(TASK.request, {"prompt": "a fox", "image": IMAGE, "mask": MASK})
    assert {name: getattr(plain, name) for name in START} == dict(START)


@pytest.mark.parametrize(
    ("missing", "words"), [("image", "no picture"), ("mask", "Nothing is masked")]
)
def test_what_is_missing_is_said(missing: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as found:
        to_requests({**FORM, missing: ""})
    assert found.value.field == missing


def test_a_record_gives_the_form_that_made_it() -> None:
    (fields,) = to_requests({**FORM, "invert": True, "grow_px": -4, "content": "noise"})
    record = {"request": {**fields, "width": 64, "height": 64}, "seed": 7}
    (again,) = to_requests({**FORM, **from_record(record)})
    assert again == {**fields, "width": 64, "height": 64, "seed": 7, "count": 1}


def test_a_mask_of_another_picture_is_not_taken_over() -> None:
    values = from_settings({"prompt": "a fox", "mask": MASK, "invert": 1, "image": "../../etc"})
    assert {"mask", "image", "invert"} & set(values) == set()
    assert from_settings({"image": IMAGE}) == {"image": IMAGE, "mask": ""}


def test_a_picture_from_the_gallery_leaves_the_mask_to_the_canvas() -> None:
    # which asks whether to keep it
    assert TAB.from_picture is not None
    assert TAB.from_picture({"id": "c" * 32, "request": {}}, {}, Now(choices={})).values == {
        "image": "c" * 32
    }


def test_the_canvas_is_told_values_as_text() -> None:
    with gr.Blocks():
        piece = told("inpaint", ("area",), {"most": 3})
    (update,) = piece.dress({"area": '"><script>'}, Now(choices={})).values()
    assert "<script>" not in update["value"]
    said = re.search('data-values="([^"]*)"', update["value"])
    assert said is not None
    assert json.loads(unescape(said[1])) == {"area": '"><script>', "most": 3}
