from typing import Any

import pytest

from studio.core.errors import InvalidRequest
from studio.core.requests import parse
from studio.tasks.outpaint import TASK
from studio.ui.form import Now
from studio.ui.tabs.outpaint import FEATHER_PX, MOST_ADDED_PX, SIDES, STRENGTH, TAB, to_requests

IMAGE = "a" * 64
FORM: dict[str, Any] = {
    "prompt": "more sky",
    "image": IMAGE,
    "size_mode": "By itself",
    "strength": STRENGTH,
    "feather_px": FEATHER_PX,
    **dict.fromkeys(SIDES, 0),
}


def test_a_form_becomes_a_request() -> None:
    (fields,) = to_requests({**FORM, "left": MOST_ADDED_PX})
    request = parse(TASK.request, fields)
    assert (request.left, request.right, request.image) == (MOST_ADDED_PX, 0, IMAGE)


def test_an_untouched_form_asks_for_what_an_untouched_request_does() -> None:
    plain = parse(TASK.request, {"prompt": "more sky", "image": IMAGE})
    assert (plain.strength, plain.feather_px) == (STRENGTH, FEATHER_PX)


def test_without_a_picture_nothing_is_asked_for() -> None:
    with pytest.raises(InvalidRequest, match="no picture"):
        to_requests({**FORM, "image": ""})


def test_a_record_gives_the_form_that_made_it() -> None:
    (fields,) = to_requests({**FORM, "top": 40, "strength": 1.0})
    record = {"request": {**fields, "width": 64, "height": 64}, "seed": 7}
    (again,) = to_requests({**FORM, **TAB.from_record(record)})
    assert again == {**fields, "width": 64, "height": 64, "seed": 7, "count": 1}


def test_another_picture_begins_without_anything_added() -> None:
    assert TAB.from_picture is not None
    values = TAB.from_picture({"id": "c" * 32, "request": {}}, {}, Now(choices={})).values
    assert values == {"image": "c" * 32, "left": 0, "right": 0, "top": 0, "bottom": 0}
