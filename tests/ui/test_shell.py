import json
from collections.abc import Callable
from typing import Any, cast

import gradio as gr
import pytest

from studio.core.errors import InvalidRequest, NotFound
from studio.core.records import ImageRecord
from studio.service import Studio
from studio.ui.errors import told
from studio.ui.form import Form
from studio.ui.shell import about, tabs_in_order, understood
from studio.ui.tabs._tab import Tab

RECORD = ImageRecord(
    id="a" * 32,
    owner="local",
    job_id="b" * 32,
    index=0,
    task="txt2img",
    request={"prompt": "a fox", "steps": 3, "seed": 1, "count": 2},
    seed=2,
    width=64,
    height=64,
    infotext="",
    facts={},
    file="",
    created=0.0,
)


class Shelf:
    """A studio with one picture in it."""

    def record(self, owner: str, image_id: str) -> ImageRecord:
        if (owner, image_id) != (RECORD.owner, RECORD.id):
            raise NotFound("There is no such picture.", "Look in the gallery.")
        return RECORD


def read(message: object, owner: str = "local") -> tuple[Tab, dict[str, Any]]:
    tabs = {tab.id: tab for tab in tabs_in_order()}
    forms = cast(dict[str, Form], {"txt2img": object()})
    text = message if isinstance(message, str) else json.dumps(message)
    return understood(cast(Studio, Shelf()), tabs, forms, owner, text)


def test_painting_comes_first_and_the_gallery_last() -> None:
    ids = [tab.id for tab in tabs_in_order()]
    assert (ids[0], ids[-1]) == ("txt2img", "gallery")


def test_a_pictures_settings_go_to_the_tab_of_its_task() -> None:
    tab, values = read({"do": "reuse", "image": RECORD.id})
    assert tab.id == "txt2img"
    assert (values["prompt"], values["seed"], values["seed_mode"]) == ("a fox", "2", "Fixed")


def test_another_owners_picture_does_not_exist() -> None:
    with pytest.raises(NotFound):
        read({"do": "reuse", "image": RECORD.id}, owner="user:eve")


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "null", {"do": "reuse"}, {"do": "explode", "image": RECORD.id}]
    + [{"do": "send", "image": RECORD.id, "tab": tab} for tab in ("gallery", "txt2img", "nowhere")]
    + [{"do": "fill", "settings": 3}, {"do": "fill"}, {"do": {}, "image": RECORD.id}],
)
def test_a_message_that_makes_no_sense_is_refused_in_words(message: object) -> None:
    with pytest.raises(InvalidRequest, match="should not"):
        read(message)


def test_what_the_scripts_are_told_of_a_tab_is_escaped() -> None:
    tab = Tab(id="x", label='"><img src=x onerror=alert(1)>', place=1, build=lambda context: None)
    assert "<img" not in about((tab,))


def raised_by(error: Exception) -> gr.Error:
    def handler() -> None:
        raise error

    with pytest.raises(gr.Error) as found:
        cast(Callable[[], None], told(handler))()
    return found.value


def test_a_known_error_is_shown_with_its_hint_as_text() -> None:
    shown = raised_by(InvalidRequest("No <b>such</b> sampler.", "Choose another."))
    assert shown.message == "No &lt;b&gt;such&lt;/b&gt; sampler.<br>Choose another."


def test_an_unknown_error_is_shown_by_its_id_alone(caplog: pytest.LogCaptureFixture) -> None:
    shown = raised_by(RuntimeError("/home/somebody/secret"))
    assert "secret" not in str(shown.message)
    number = str(shown.message).split("(id ")[1].split(")")[0]
    assert number in caplog.text


def test_a_form_is_read_and_written_by_name() -> None:
    with gr.Blocks():
        box, number, button = gr.Textbox(), gr.Number(), gr.Button()
    form = Form(
        widgets={"prompt": box, "steps": number},
        generate=button,
        defaults=lambda choices: {"prompt": "", "steps": 20},
        dress=lambda values, choices: {number: gr.update(visible=values["steps"] > 1)},
    )
    assert form.read({number: 3, box: "a fox"}) == {"prompt": "a fox", "steps": 3}
    updates = form.write({"steps": 1, "else": 5}, {})
    assert set(updates) == {number}
    assert (updates[number]["value"], updates[number]["visible"]) == (1, False)
