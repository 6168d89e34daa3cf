from typing import Any, get_args

import gradio as gr
import pytest

from studio.core.errors import InvalidRequest
from studio.core.requests import MAX_SEED, Weights, parse
from studio.costs.work import Kept
from studio.tasks.txt2img import Txt2Img
from studio.ui.form import Form, Now
from studio.ui.widgets import brought, painting, sampling


def row(checkpoint_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": checkpoint_id,
        "label": checkpoint_id.title(),
        "native_px": 512,
        "multiple_px": 8,
        "defaults": {"steps": 20, "guidance": 7.0, "sampler": "euler"},
        "supports": {"negative_prompt": True, "clip_skip": True},
        "problem": "",
        "advice": "",
        **changes,
    }


CHOICES = {
    "checkpoints": [
        row("good"),
        row(
            "<img src=x onerror=alert(1)>", problem="It is <b>damaged</b>.", advice="Copy it again."
        ),
    ],
    "samplers": [{"id": "euler", "label": "Euler"}],
    "default_checkpoint": "good",
}
VALUES = {**sampling.defaults(CHOICES), "prompt": "a fox"}


def test_an_untouched_form_asks_for_something_that_can_be_painted() -> None:
    request = parse(Txt2Img, sampling.to_fields(VALUES))
    assert (request.prompt, request.width, request.steps, request.seed) == ("a fox", 512, 20, None)


def test_a_fixed_seed_is_sent_exactly_even_beyond_what_browsers_count() -> None:
    fields = sampling.to_fields({**VALUES, "seed_mode": "Fixed", "seed": f" {MAX_SEED} "})
    assert fields["seed"] == MAX_SEED


def test_a_random_seed_is_not_sent_even_if_a_number_stands_there() -> None:
    assert "seed" not in sampling.to_fields({**VALUES, "seed": "12"})


@pytest.mark.parametrize("text", ["", "twelve", "1.5", None])
def test_a_seed_that_is_no_whole_number_is_refused(text: str | None) -> None:
    with pytest.raises(InvalidRequest, match="whole number"):
        sampling.to_fields({**VALUES, "seed_mode": "Fixed", "seed": text})


def test_empty_fields_are_left_to_the_studio() -> None:
    fields = sampling.to_fields({**VALUES, "width": None, "sampler": ""})
    assert "width" not in fields
    assert "sampler" not in fields


def test_a_record_becomes_the_form_that_paints_it_again() -> None:
    request = {**sampling.to_fields(VALUES), "seed": 5, "count": 4}
    values = sampling.from_record({"request": request, "seed": 7})
    assert parse(Txt2Img, sampling.to_fields(values)).seed == 7
    assert values["count"] == 1
    assert {**sampling.to_fields(values), "seed": 5, "count": 4} == request


def test_settings_of_doubtful_origin_only_bring_what_fits() -> None:
    values = sampling.from_settings(
        {
            "prompt": ["not", "text"],
            "negative_prompt": "fog",
            "steps": True,
            "width": float("nan"),
            "guidance": "7",
            "height": 640,
            "seed": -1,
            "unknown": 1,
        }
    )
    assert values == {"negative_prompt": "fog", "height": 640}


def test_values_are_brought_within_what_the_controls_can_show() -> None:
    values = sampling.possible(
        {"checkpoint": "gone", "sampler": "euler", "steps": 9000, "width": 1}, CHOICES
    )
    assert values == {"sampler": "euler", "steps": 150, "width": 64}


def test_a_broken_checkpoint_is_not_offered_but_explained_as_text() -> None:
    assert sampling.checkpoint_choices(CHOICES) == [("Good", "good")]
    shown = sampling.problems_text(CHOICES)
    assert "<img" not in shown.lower()
    assert "<b>damaged" not in shown
    assert "Copy it again." in shown


def test_without_any_checkpoint_the_form_still_has_every_value() -> None:
    empty = {"checkpoints": [], "samplers": [], "default_checkpoint": None}
    assert set(sampling.defaults(empty)) == set(VALUES)


def test_a_flow_offers_its_own_samplers_and_says_how_it_reads() -> None:
    flow = row(
        "flow",
        samplers=["flow_euler"],
        guidance="embedded",
        supports={"negative_prompt": False, "prompt_weights": False, "clip_skip": False},
    )
    choices = {
        **CHOICES,
        "checkpoints": [*CHOICES["checkpoints"], flow],
        "samplers": [*CHOICES["samplers"], {"id": "flow_euler", "label": "Euler (flow)"}],
    }
    assert sampling.sampler_choices(choices, "flow") == [("Euler (flow)", "flow_euler")]
    assert len(sampling.sampler_choices(choices, "good")) == 2  # it does not say
    assert "sentences" in (sampling.prompt_info(choices, "flow") or "")
    assert sampling.prompt_info(choices, "good") is None
    assert "no time" in (sampling.guidance_info(choices, "flow") or "")
    assert sampling.guidance_info(choices, "good") is None


def test_extras_go_through_a_form_and_back() -> None:
    rows = [
        {"name": "ink", "weight": 0.5, "text_weight": 0.5, "from_prompt": False},
        {"name": "wash", "weight": 1.0, "text_weight": 0.2, "from_prompt": False},
        {"name": "tagged", "weight": 1.0, "text_weight": 1.0, "from_prompt": True},
    ]
    values = sampling.from_settings({"prompt": "a", "loras": rows, "vae": "kl"})
    fields = sampling.to_fields(values)
    assert fields["vae"] == "kl"
    assert fields["loras"] == [
        {"name": "ink", "weight": 0.5},
        {"name": "wash", "weight": 1.0, "text_weight": 0.2},
    ]
    assert "loras" not in sampling.to_fields({"prompt": "a", "extras": ""})
    with pytest.raises(InvalidRequest, match="extras"):
        sampling.to_fields({"prompt": "a", "extras": '{"loras": 7}'})


def test_ways_to_keep_weights_are_offered_where_there_are_several() -> None:
    choices = {
        **CHOICES,
        "checkpoints": [row("good", ways=["whole", "fp8"]), row("plain", ways=["whole"])],
    }
    assert sampling.weights_choices(choices, "good")[-1] == ("8 bit", "fp8")
    assert sampling.has_ways(choices, "good") and not sampling.has_ways(choices, "plain")
    values = sampling.from_settings({"checkpoint": "good", "weights": "fp8"})
    assert sampling.possible(values, choices)["weights"] == "fp8"
    assert sampling.to_fields({**VALUES, **values})["weights"] == "fp8"
    values = sampling.from_settings({"checkpoint": "plain", "weights": "fp8"})
    assert sampling.possible(values, choices)["weights"] == sampling.PLANNED


def test_a_picture_whose_checkpoint_is_gone_is_judged_by_the_one_that_the_form_keeps() -> None:
    choices = {
        **CHOICES,
        "checkpoints": [row("good", ways=["whole"]), row("other", ways=["whole", "fp8"])],
        "default_checkpoint": "good",
    }
    values = {"checkpoint": "gone", "weights": "fp8"}
    assert sampling.possible(values, choices) == {"weights": sampling.PLANNED}
    held = {"checkpoint": "other"}
    assert sampling.possible(values, choices, held) == {"weights": "fp8"}
    record = {"request": {"prompt": "a fox", **values}, "seed": 3}
    assert brought.words(record, held, Now(choices=choices))["weights"] == "fp8"


def test_every_way_to_keep_weights_has_a_name() -> None:
    assert set(sampling.WEIGHTS) == {sampling.PLANNED, *get_args(Kept)} == set(get_args(Weights))


def test_a_sampler_that_does_not_fit_gives_way_to_the_checkpoints_own() -> None:
    flow = row(
        "flow",
        samplers=["flow_euler"],
        defaults={"steps": 20, "guidance": 3.5, "sampler": "flow_euler"},
    )
    choices = {
        **CHOICES,
        "checkpoints": [row("good", samplers=["euler"]), flow],
        "samplers": [*CHOICES["samplers"], {"id": "flow_euler", "label": "Euler (flow)"}],
    }
    with gr.Blocks():
        pieces = painting.sampled("txt2img", choices)
        form = Form(generate=gr.Button(), pieces=pieces)
    sampler, now = form.widgets["sampler"], Now(choices=choices)
    brought = form.write({"checkpoint": "flow", "sampler": "euler"}, now)
    assert brought[sampler]["value"] == "flow_euler"
    held = form.write({"checkpoint": "flow"}, now, over={"checkpoint": "good", "sampler": "euler"})
    assert held[sampler]["value"] == "flow_euler"
    assert form.write({"sampler": "euler"}, now)[sampler]["value"] == "euler"


def test_a_checkpoint_changes_the_form_when_it_is_another_one() -> None:
    """Its list is left as often as it is chosen from, and Gradio tells of both."""
    quick = row("quick", defaults={"steps": 4, "guidance": 1.0, "sampler": "euler"})
    choices = {**CHOICES, "checkpoints": [row("good"), quick]}
    with gr.Blocks():
        form = Form(generate=gr.Button(), pieces=painting.sampled("txt2img", choices))
    now, settled = Now(choices=choices), form.steering["settled_for"]
    [pick] = [change for change, told in form.follows().items() if told[0].name == "picked"]
    values = {"checkpoint": "good", "steps": 33, "guidance": 5.0, "sampler": "euler"}
    assert pick({**values, "settled_for": "good"}, now) == {}
    values = {**values, "checkpoint": "quick"}
    chosen = pick({**values, "settled_for": "good"}, now)
    assert (chosen["steps"], chosen["guidance"]) == (4, 1.0)
    assert form.write(chosen, now, over=values)[settled]["value"] == "quick"
