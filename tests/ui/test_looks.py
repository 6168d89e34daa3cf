"""Values of forms about looks: style references, styles in words, and methods that paint."""

from typing import Any

import gradio as gr
import pytest

from studio.core.errors import InvalidRequest
from studio.core.records import Preset
from studio.ui.form import Now
from studio.ui.tabs import img2img, inpaint, outpaint, style, txt2img
from studio.ui.widgets import presets, references, sampling

REFS = ("a" * 64, "b" * 32)


def test_references_go_into_a_request_and_come_back() -> None:
    values = {
        "references": " ".join(REFS),
        "reference_weight": 0.5,
        "reference_method": "adapter",
        "reference_takes": "all",
    }
    fields = references.fields(values)
    common = {"weight": 0.5, "method": "adapter", "takes": "all"}
    assert fields == {"references": [{"image": ref, **common} for ref in REFS]}
    assert references.form_values(fields) == values
    assert references.fields({"references": ""}) == {}
    asked = references.fields({"references": REFS[0], "reference_method": "auto"})
    assert asked == {"references": [{"image": REFS[0]}]}
    for nonsense in ({}, {"references": 7}, {"references": [3, {"image": "x"}]}):
        assert references.form_values(nonsense) == {"references": ""}


def test_a_checkpoint_is_asked_to_look_only_as_it_can() -> None:
    rows = [
        {"id": "sd", "references": ["shared", "adapter"], "problem": ""},
        {"id": "flux", "references": ["adapter"], "problem": ""},
        {"id": "blind", "references": [], "problem": ""},
    ]
    faces = {"label": "faceid", "eyes": "clip", "fits": [], "problem": "It knows faces."}
    choices = {"checkpoints": rows, "image_prompts": [faces], "default_checkpoint": "sd"}
    choices["samplers"] = []
    with gr.Blocks():
        piece = references.references("txt2img")
    widgets = piece.widgets

    def dressed(checkpoint: str, method: str) -> tuple[Any, Any, str]:
        now = Now(choices=choices)
        values = {"checkpoint": checkpoint, "reference_method": method}
        updates = piece.dress(values, now)
        about = next(up["value"] for up in updates.values() if "meaning" in str(up.get("value")))
        return updates[widgets["reference_method"]], updates[widgets["reference_takes"]], about

    method, takes, about = dressed("flux", "shared")
    assert method["value"] == "auto" and not method["visible"], "it knows one way"
    assert not takes["visible"]
    assert "No Redux" in about and "faceid" not in about
    method, takes, about = dressed("sd", "adapter")
    assert len(method["choices"]) == 3 and takes["visible"]
    assert "faceid" in about
    method, takes, about = dressed("sd", "auto")
    assert "value" not in method and method["visible"] and not takes["visible"]
    assert "nothing more is needed" in about, "whatever was used before"
    method, takes, about = dressed("blind", "shared")
    assert not method["visible"] and "cannot look" in about
    values = {"checkpoint": "flux", "reference_method": "shared"}
    assert sampling.possible(values, choices)["reference_method"] == "auto"
    assert piece.defaults(choices)["reference_method"] == "auto"


def test_names_of_styles_are_read_from_a_draft_of_doubtful_origin() -> None:
    assert presets.names('["A", 3, "B"]') == ["A", "B"]
    for nonsense in ("", "{", "7", None, '{"a": 1}'):
        assert presets.names(nonsense) == []


@pytest.mark.parametrize("tab", [txt2img, img2img, inpaint, outpaint])
def test_every_tab_that_paints_takes_them(tab) -> None:
    values = {"image": REFS[0], "mask": REFS[0], "references": REFS[1], "reference_weight": 0.5}
    [asked] = tab.to_requests(values)
    assert asked["references"] == [{"image": REFS[1], "weight": 0.5}]
    record = {"request": {**asked, "width": 64, "height": 64}, "seed": 1}
    assert tab.from_record(record)["references"] == REFS[1]
    assert tab.from_settings({"references": []})["references"] == ""


INK = Preset(name="Ink", prompt="ink drawing of {prompt}", negative_prompt="colour")
REQUEST = {"prompt": "ink drawing of a fox", "negative_prompt": "colour", "styled": ["Ink"]}
TYPED = {"prompt": "a fox", "negative_prompt": ""}


def called(name: str) -> Preset:
    if name != INK.name:
        raise InvalidRequest("There is no such style.", "Choose another one.")
    return INK


def test_a_prompt_comes_back_as_it_was_typed_with_its_styles() -> None:
    asked = presets.as_typed({**REQUEST, "typed": TYPED}, called)
    values = sampling.from_settings(asked)
    assert (values["prompt"], values["negative_prompt"]) == ("a fox", "")
    assert presets.names(values["presets"]) == ["Ink"]
    again = style.from_settings(asked)
    assert (again["prompt"], presets.names(again["presets"])) == ("a fox", ["Ink"])


@pytest.mark.parametrize(
    "change",
    [
        {"styled": ["Gone"]},
        {"typed": None},
        {"typed": {"prompt": "a dog", "negative_prompt": ""}},  # somebody has rewritten the prompt
        {"typed": {}, "styled": 7},
        {"styled": []},
    ],
)
def test_what_the_styles_no_longer_give_stays_written_out(change: dict[str, Any]) -> None:
    values = sampling.from_settings(presets.as_typed({**REQUEST, "typed": TYPED, **change}, called))
    assert (values["prompt"], values["presets"]) == (REQUEST["prompt"], "")


def test_only_methods_that_paint_send_words() -> None:
    values = {
        "image": REFS[0],
        "styles": REFS[1],
        "method": "shared",
        "prompt": "a fox",
        "presets": '["Linocut"]',
        "structure": "depth",
        "steps": 9,
        "width": 64,
        "seed_mode": "Random",
    }
    [asked] = style.to_requests(values)
    assert asked["prompt"] == "a fox" and asked["steps"] == 9
    assert (asked["presets"], asked["structure"]) == (["Linocut"], "depth")
    assert "width" not in asked and "count" not in asked
    worn = '{"loras": [{"name": "ink", "weight": 0.5}], "vae": "kl", "refiner": "last"}'
    [dressed] = style.to_requests({**values, "clip_skip": 2, "extras": worn})
    assert (dressed["loras"], dressed["clip_skip"]) == ([{"name": "ink", "weight": 0.5}], 2)
    assert (dressed["vae"], dressed["refiner"]) == ("kl", "last")
    again = style.from_settings({**dressed, "seed": 7})
    assert style.to_requests({**values, **again})[0]["loras"][0]["name"] == "ink"
    [narrow] = style.to_requests({**values, "weights": "fp8"})
    assert narrow == {**asked, "weights": "fp8"}
    assert style.from_settings({**narrow, "seed": 7})["weights"] == "fp8"
    [plain] = style.to_requests({**values, "method": "neural", "weights": "fp8"})
    assert set(plain) == {"image", "styles", "method"}
    [words] = style.to_requests({**values, "method": "words", "styles": "", "structure": "auto"})
    assert words["styles"] == [] and "structure" not in words
    again = style.from_settings({**asked, "seed": 7})
    assert (again["prompt"], again["structure"], again["seed"]) == ("a fox", "depth", "7")
