"""Make a picture larger."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.ui.form import Choices, Follow, Form, Now, Piece, Updates, Values, unchanged
from studio.ui.tabs._tab import Arrival, Context, Tab
from studio.ui.widgets import brought, painting, sampling, slots, upscaling
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.names import UNSEEN, named
from studio.ui.widgets.strength import strength

ID = "upscale"
SCALE, STRENGTH = 2.0, 0.3
DETAILS = ("checkpoint", "steps", "guidance", "sampler", "clip_skip", "weights")
"""Settings that only matter where details are painted."""


def build(context: Context) -> Form:
    choices = context.choices
    with painting.workplace(ID):
        with painting.column("words"):
            picture = slots.slot(ID, "image", "Picture to enlarge", several=True)
            scale = _scale()
            enlarging = upscaling.upscaler(ID, choices)
            details = gr.Checkbox(label="Paint details into it", **named(ID, "details"))
            with gr.Row(elem_classes="go"):
                generate = gr.Button("Upscale", variant="primary", **named(ID, "generate"))
            mount("estimate", ID)
        with (
            painting.column("settings"),
            gr.Column(visible=False, **named(ID, "details-settings")) as more,
        ):
            words = _words(choices)
            how_much = strength(ID, STRENGTH)
            pieces = painting.sampled(ID, choices, refined=False)
        with painting.column("stage"):
            painting.stage(ID)

    def dress(values: Values, now: Now) -> Updates:
        return {more: gr.update(visible=bool(values.get("details")))}

    wanted = Piece(
        widgets={"details": details},
        defaults=lambda choices: {"details": False},
        dress=dress,
        dressed=(more,),
        follows=(Follow(event=details.input, change=unchanged, name="details"),),
    )
    return Form(
        generate=generate, pieces=(picture, scale, enlarging, wanted, words, how_much, *pieces)
    )


def _words(choices: Choices) -> Piece:
    """What the picture shows, and of which picture from the gallery this was said."""
    prompt = gr.Textbox(
        value="",
        label="Prompt",
        info="What the picture shows",
        lines=3,
        max_lines=12,
        html_attributes=gr.InputHTMLAttributes(spellcheck=True, autocapitalize="off"),
        **named(ID, "prompt"),
    )
    negative = gr.Textbox(
        value="",
        label="Negative prompt",
        lines=1,
        max_lines=6,
        visible=sampling.supports(choices, None, "negative_prompt"),
        **named(ID, "negative-prompt"),
    )
    said_of = gr.Textbox("", visible="hidden", label="Said of", **named(ID, "said-of", UNSEEN))

    def dress(values: Values, now: Now) -> Updates:
        shown = sampling.supports(now.choices, values.get("checkpoint"), "negative_prompt")
        return {negative: gr.update(visible=shown)}

    return Piece(
        widgets={"prompt": prompt, "negative_prompt": negative, "said_of": said_of},
        defaults=lambda choices: {"prompt": "", "negative_prompt": "", "said_of": ""},
        dress=dress,
    )


def _scale() -> Piece:
    slider = gr.Slider(
        1, 8, value=SCALE, step=0.5, label="Times as large", buttons=[], **named(ID, "scale")
    )
    readout = gr.HTML(_outcome({}, None), **named(ID, "pixels"))

    def dress(values: Values, now: Now) -> Updates:
        return {readout: gr.update(value=_outcome(values, now))}

    return Piece(
        widgets={"scale": slider},
        defaults=lambda choices: {"scale": SCALE},
        dress=dress,
        dressed=(readout,),
        follows=(Follow(event=slider.input, change=unchanged, name="scale"),),
    )


def _outcome(values: Values, now: Now | None) -> str:
    """The size of the result, as HTML."""
    found = next(iter(slots.refs(values.get("image"))), None)
    size = now.size_of(found) if now and found else None
    if size is None or not values.get("scale"):
        return sampling.pixels_text(None, "")
    width, height = (max(1, round(side * values["scale"])) for side in size)
    return sampling.pixels_text((width, height))


def to_requests(values: Values) -> tuple[dict[str, Any], ...]:
    """A job for each picture, with the same settings."""
    pictures = slots.refs(values.get("image"))
    if not pictures:
        raise InvalidRequest(
            "There is no picture to enlarge.",
            "Choose, drop or paste one, or send one from the gallery.",
            field="image",
        )
    fields: dict[str, Any] = {}
    # words that are not in view are only taken where they are known to be the picture's own
    if values.get("details") or pictures == (values.get("said_of"),):
        fields = {name: values.get(name) or "" for name in ("prompt", "negative_prompt")}
    for name in ("upscaler", "scale"):
        if values.get(name):
            fields[name] = values[name]
    if values.get("details"):
        painted = sampling.to_fields(values)
        fields |= {
            name: painted[name] for name in (*DETAILS, "seed", "loras", "vae") if name in painted
        }
        fields["strength"] = values.get("strength") or 0.0
    return tuple({**fields, "image": picture} for picture in pictures)


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    request = record["request"]
    drawn = sampling.from_record(record) if request.get("seed") is not None else {}
    return {**drawn, **from_settings(request)}


def from_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    values = sampling.from_settings(fields)
    known = ("scale", "upscaler")
    values |= {name: fields[name] for name in known if fields.get(name) is not None}
    strength = fields.get("strength")
    values["details"] = bool(strength)
    if strength:
        values["strength"] = strength
    if pictures := slots.refs(fields.get("image")):
        values["image"] = values["said_of"] = " ".join(pictures)
    return values


def from_picture(record: Mapping[str, Any], held: Values, now: Now) -> Arrival:
    """The picture, and what it was painted with: details are painted with the same words."""
    told = brought.words(record, held, now)
    return Arrival(values={**told, "image": record["id"], "said_of": record["id"] if told else ""})


TAB = Tab(
    id=ID,
    label="Upscale",
    place=50,
    build=build,
    task="upscale",
    invitation="Choose a picture, then press Upscale.",
    to_requests=to_requests,
    from_record=from_record,
    from_settings=from_settings,
    from_picture=from_picture,
)
