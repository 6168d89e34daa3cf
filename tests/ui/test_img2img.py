from typing import Any

import gradio as gr
import pytest

from studio.core.errors import InvalidRequest
from studio.core.requests import parse
from studio.families._family import Role
from studio.tasks.img2img import Img2Img
from studio.ui.form import Now, Piece
from studio.ui.tabs.img2img import TAB, from_record, from_settings, like_the_picture, to_requests
from studio.ui.widgets import sampling
from studio.ui.widgets.slots import refs
from studio.ui.widgets.strength import in_words, strength
from tests.ui.test_sampling import CHOICES, row

UPLOAD, PICTURE = "a" * 64, "b" * 32
VALUES: dict[str, Any] = {
    **sampling.defaults(CHOICES),
    "prompt": "a fox",
    "image": UPLOAD,
    "strength": 0.3,
    "resize": "pad",
    "size_mode": "Like the picture",
}


def test_a_size_like_the_picture_is_left_to_the_studio() -> None:
    (fields,) = to_requests(VALUES)
    request = parse(Img2Img, fields)
    assert (request.image, request.strength, request.resize) == (UPLOAD, 0.3, "pad")
    assert (request.width, request.height) == (None, None)


def test_a_size_of_ones_own_is_sent() -> None:
    (fields,) = to_requests({**VALUES, "size_mode": sampling.OWN})
    assert (fields["width"], fields["height"]) == (512, 512)


def test_several_pictures_are_a_request_each() -> None:
    wishes = to_requests({**VALUES, "image": f"{UPLOAD} {PICTURE}"})
    assert [fields["image"] for fields in wishes] == [UPLOAD, PICTURE]
    assert len({tuple(sorted({**fields, "image": ""}.items())) for fields in wishes}) == 1


@pytest.mark.parametrize("image", ["", None, "../../etc/passwd", 7])
def test_without_a_picture_it_says_so(image: object) -> None:
    with pytest.raises(InvalidRequest, match="no picture to start from"):
        to_requests({**VALUES, "image": image})


def test_a_record_becomes_the_form_that_paints_it_again() -> None:
    (asked,) = to_requests({**VALUES, "size_mode": sampling.OWN})
    values = from_record({"request": {**asked, "seed": 5, "count": 4}, "seed": 7})
    (again,) = to_requests({**VALUES, "strength": 0.9, "resize": "crop", **values})
    assert again == {**asked, "seed": 7, "count": 1}


def test_settings_of_another_studio_bring_a_size_and_no_picture() -> None:
    values = from_settings({"prompt": "a barn", "width": 640, "height": 512, "image": "a barn.png"})
    assert values["size_mode"] == sampling.OWN
    assert "image" not in values
    assert "size_mode" not in from_settings({"prompt": "a barn"})


def test_a_picture_can_be_sent_here() -> None:
    assert TAB.from_picture is not None
    assert TAB.from_picture({"id": PICTURE, "request": {}}, {}, Now(choices={})).values == {
        "image": PICTURE
    }


def test_the_size_that_is_shown_is_of_the_pictures_shape() -> None:
    now = Now(choices=CHOICES, size_of={UPLOAD: (1024, 512)}.get)
    assert like_the_picture(VALUES, now) == (728, 360)
    assert like_the_picture({**VALUES, "image": PICTURE}, now) is None
    assert like_the_picture({**VALUES, "image": ""}, now) is None


def test_what_is_no_ref_is_left_out_of_a_slot() -> None:
    assert refs(f"{UPLOAD} nonsense {PICTURE} {UPLOAD[1:]}") == (UPLOAD, PICTURE)
    assert refs(None) == refs(["a" * 64]) == ()


def test_more_strength_is_told_in_other_words() -> None:
    told = [in_words(step / 20) for step in range(21)]
    assert told[0] == "keeps it as it is"
    assert told[-1] == "only the words count"
    assert len(set(told)) == 6


def test_a_slider_that_would_do_nothing_is_not_shown() -> None:
    edits = row("edits", strengthless=["image"])
    now = Now(choices={**CHOICES, "checkpoints": [*CHOICES["checkpoints"], edits]})
    with gr.Blocks():
        over, into = strength("t", 0.6), strength("t2", 0.6, Role.INPAINT)

    def shown(piece: Piece, checkpoint: str) -> tuple[bool, str]:
        updates = piece.dress({"strength": 0.6, "checkpoint": checkpoint}, now)
        (readout,) = piece.dressed
        return updates[piece.widgets["strength"]]["visible"], updates[readout]["value"]

    assert shown(over, "edits") == (
        False,
        f'<span class="meaning">{sampling.AFTER_PICTURES}</span>',
    )
    assert shown(into, "edits")[0] and shown(over, "good")[0]
    assert in_words(0.6) in shown(over, "good")[1]
