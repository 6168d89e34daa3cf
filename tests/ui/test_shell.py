import html
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import gradio as gr
import pytest

from studio.core.errors import Busy, InvalidRequest, NotFound
from studio.core.events import JobState
from studio.core.records import ImageRecord, Job, Preset
from studio.service.studio import Studio
from studio.ui.errors import told
from studio.ui.form import Follow, Form, Now, Piece, shown_by, unchanged
from studio.ui.shell import about, submitted, tabs_in_order, understood, wanted
from studio.ui.tabs._tab import Arrival, Tab

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

    def seen_by(self, owner: str) -> "Shelf":
        return self

    def preset(self, name: str) -> Preset:
        if name != "Night":
            raise NotFound("There is no such style.")
        return Preset(name=name, prompt="{prompt}, moonlight", negative_prompt="")

    def draft(self, owner: str, tab: str) -> dict[str, Any]:
        return {}

    def __init__(self, record: ImageRecord) -> None:
        self._record = record

    def record(self, owner: str, image_id: str) -> ImageRecord:
        if (owner, image_id) != (self._record.owner, self._record.id):
            raise NotFound("There is no such picture.", "Look in the gallery.")
        return self._record


def read(message: object, owner: str = "local") -> tuple[Tab, dict[str, Any]]:
    tab, found = arrived(message, owner)
    return tab, found.values


def arrived(
    message: object, owner: str = "local", record: ImageRecord = RECORD
) -> tuple[Tab, Arrival]:
    tabs = {tab.id: tab for tab in tabs_in_order()}
    with gr.Blocks():
        held = {name: gr.Textbox() for name in ("prompt", "presets")}
        words = Piece(widgets=held, defaults=lambda choices: dict.fromkeys(held, ""))
        form = Form(generate=gr.Button(), pieces=(words,))
        forms = {"txt2img": form, "style": form}
    text = message if isinstance(message, str) else json.dumps(message)
    now = Now(choices={"checkpoints": [], "samplers": []})
    return understood(cast(Studio, Shelf(record)), tabs, forms, owner, now, text)


def test_painting_comes_first_and_the_gallery_last() -> None:
    ids = [tab.id for tab in tabs_in_order()]
    assert (ids[0], ids[-1]) == ("txt2img", "gallery")


def test_a_pictures_settings_go_to_the_tab_of_its_task() -> None:
    tab, values = read({"do": "reuse", "image": RECORD.id})
    assert tab.id == "txt2img"
    assert (values["prompt"], values["seed"], values["seed_mode"]) == ("a fox", "2", "Fixed")


def test_settings_from_a_file_are_words_as_they_were_typed() -> None:
    typed = {"prompt": "a fox", "negative_prompt": ""}
    asked = {**typed, "prompt": "a fox, moonlight", "styled": ["Night"], "typed": typed}
    _, found = arrived({"do": "fill", "settings": asked, "tab": "txt2img"})
    assert (found.values["prompt"], found.values["presets"]) == ("a fox", '["Night"]')
    assert found.notes == ()
    _, found = arrived({"do": "fill", "settings": {**asked, "styled": ["Day"]}, "tab": "txt2img"})
    assert (found.values["prompt"], found.values["presets"]) == ("a fox, moonlight", "")
    assert "Day" in found.notes[0]


def test_what_a_form_held_before_can_be_brought_back() -> None:
    _, values = read({"do": "put", "values": {"prompt": "a boat"}, "tab": "txt2img"})
    assert values == {"prompt": "a boat", "presets": ""}


def test_what_a_form_has_no_place_for_is_said() -> None:
    asked = {"prompt": "a fox", "checkpoint": "gone", "image": "a" * 64, "mask": "b" * 64}
    _, found = arrived({"do": "fill", "settings": asked, "tab": "txt2img"})
    assert found.notes == (
        "The checkpoint 'gone' is not here; the form keeps its own.",
        "This form has no place for the picture it was painted over and its mask.",
    )


def test_what_a_form_cannot_take_of_a_picture_is_said_where_it_is_sent_to() -> None:
    """Whichever form it is, and nothing of one that nothing was said of, such as a map."""
    asked = {"prompt": "a fox", "checkpoint": "gone", "mask": "b" * 64, "hires": {"factor": 2}}
    for words, notes in (("a fox", 2), ("", 0)):
        record = replace(RECORD, request={**asked, "prompt": words})
        _, found = arrived({"do": "send", "image": RECORD.id, "tab": "style"}, record=record)
        assert len(found.notes) == notes
        assert found.values["image"] == RECORD.id
    record = replace(RECORD, request=asked)
    _, found = arrived({"do": "send", "image": RECORD.id, "tab": "style"}, record=record)
    assert found.notes[1] == "This form has no place for its mask and its second pass."


def test_another_owners_picture_does_not_exist() -> None:
    with pytest.raises(NotFound):
        read({"do": "reuse", "image": RECORD.id}, owner="user:eve")


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "null", {"do": "reuse"}, {"do": "explode", "image": RECORD.id}]
    + [{"do": "send", "image": RECORD.id, "tab": tab} for tab in ("gallery", "txt2img", "nowhere")]
    + [{"do": "fill", "settings": 3, "tab": "txt2img"}, {"do": "fill", "settings": {}}]
    + [{"do": "fill", "settings": {}, "tab": "gallery"}, {"do": "fill"}]
    + [{"do": "put", "values": 3, "tab": "txt2img"}, {"do": "put", "values": {}, "tab": "gallery"}]
    + [{"do": {}, "image": RECORD.id}],
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


def prompt_form() -> tuple[Form, gr.Textbox, gr.Slider, gr.Radio]:
    """A prompt, a slider that a long prompt hides, and a way to resize."""
    with gr.Blocks():
        box, steps, way = gr.Textbox(""), gr.Slider(1, 150), gr.Radio(["crop", "pad"])
        button = gr.Button()
    words = Piece(widgets={"prompt": box}, defaults=lambda choices: {"prompt": ""})
    sampled = Piece(
        widgets={"steps": steps, "way": way},
        defaults=lambda choices: {"steps": 20, "way": "crop"},
        dress=lambda values, now: {steps: gr.update(visible=len(values["prompt"]) < 10)},
    )
    return Form(generate=button, pieces=(words, sampled)), box, steps, way


def test_a_form_is_read_and_written_by_name() -> None:
    form, box, steps, way = prompt_form()
    assert form.read({steps: 3, box: "a fox"}) == {"prompt": "a fox", "steps": 3, "way": None}
    updates = form.write({"prompt": "a very long prompt", "steps": 4, "else": 5}, Now(choices={}))
    assert updates[box]["value"] == "a very long prompt"
    assert (updates[steps]["value"], updates[steps]["visible"]) == (4, False)
    assert way not in updates


def test_a_form_is_dressed_for_what_its_other_widgets_hold() -> None:
    form, _, steps, _ = prompt_form()
    written = form.write({"steps": 4}, Now(choices={}), over={"prompt": "a very long prompt"})
    assert not written[steps]["visible"]
    assert form.write({"steps": 4}, Now(choices={}))[steps]["visible"]


@pytest.mark.parametrize(
    ("value", "shown"), [(7, 7), (-5, 1), (9000, 150), ("7", None), (True, None), (None, None)]
)
def test_a_number_is_written_within_its_bounds(value: object, shown: int | None) -> None:
    assert shown_by(gr.Slider(1, 150), value) == shown


def test_a_choice_that_there_is_not_is_not_written() -> None:
    form, _, _, way = prompt_form()
    assert way not in form.write({"way": "explode"}, Now(choices={}))
    assert form.write({"way": "pad"}, Now(choices={}))[way]["value"] == "pad"


class Desk:
    """A studio where only so many jobs may wait."""

    def __init__(self, room: int) -> None:
        self.taken: list[dict[str, Any]] = []
        self.room = room

    def submit(self, owner: str, task: str, fields: dict[str, Any]) -> Job:
        if len(self.taken) == self.room:
            raise Busy("Too many jobs wait.", "Wait for some.")
        self.taken.append(fields)
        notes = ("Width 77 became 72.",)
        return Job(
            id="",
            owner=owner,
            task=task,
            request=fields,
            state=JobState.QUEUED,
            created=0,
            notes=notes,
        )


def test_several_requests_become_a_job_each_and_a_note_is_said_once() -> None:
    desk = Desk(room=9)
    said = list(submitted(cast(Studio, desk), "local", "img2img", ({"image": "a"}, {"image": "b"})))
    assert [fields["image"] for fields in desk.taken] == ["a", "b"]
    assert said == ["Width 77 became 72."]


def test_how_many_were_queued_is_said_when_the_next_is_refused() -> None:
    wishes = ({"image": "a"}, {"image": "b"}, {"image": "c"})
    steps = submitted(cast(Studio, Desk(room=2)), "local", "img2img", wishes)
    assert [next(steps), next(steps)] == [
        "Width 77 became 72.",
        "2 of 3 pictures are queued.",
    ]
    with pytest.raises(Busy):
        next(steps)


def test_what_the_form_asks_for_is_there_to_be_estimated() -> None:
    tab = next(tab for tab in tabs_in_order() if tab.id == "txt2img")
    found = wanted(tab, {"prompt": 'a "fox" <b>', "steps": 3})
    asked = json.loads(html.unescape(found.split('data-ask="')[1].split('"')[0]))
    assert asked["task"] == "txt2img" and asked["prompt"] == 'a "fox" <b>' and asked["steps"] == 3
    assert "<b>" not in found and 'data-times="1"' in found
    assert wanted(tab, {"prompt": "x", "seed_mode": "Fixed", "seed": "no number"}) == ""


def test_a_page_that_was_just_built_is_told_only_what_it_does_not_show() -> None:
    form, box, steps, way = prompt_form()
    shown = {"prompt": "", "steps": steps.value, "way": way.value}
    assert form.news(form.write({**shown, "steps": 4}, Now(choices={}))) == {
        steps: {**gr.update(), "value": 4}
    }
    assert box not in form.news(form.write({"prompt": ""}, Now(choices={})))


def test_what_a_part_that_appears_hides_is_told_again() -> None:
    with gr.Blocks():
        with gr.Column(visible=False) as more:
            box = gr.Textbox("", visible=False)
        form = Form(generate=gr.Button(), pieces=())
    again = {more: gr.update(visible=True), box: gr.update(value="", visible=False)}
    assert form.news(again)[box] == {**gr.update(), "visible": False}
    assert form.news({**again, more: gr.update(visible=False)}) == {}


def test_controls_that_change_the_same_are_followed_as_one() -> None:
    with gr.Blocks():
        one, other, third = gr.Radio(["a"]), gr.Radio(["a"]), gr.Button()
        follows = (
            Follow(event=one.input, change=unchanged, name="one"),
            Follow(event=third.click, change=lambda values, now: {}, name="third"),
            Follow(event=other.input, change=unchanged, name="other"),
        )
        piece = Piece(widgets={}, defaults=lambda choices: {}, follows=follows)
        form = Form(generate=gr.Button(), pieces=(piece,))
    names = [[one.name for one in together] for together in form.follows().values()]
    assert names == [["one", "other"], ["third"]]
