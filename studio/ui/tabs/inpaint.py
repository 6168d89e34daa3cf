"""Paint a part of a picture anew."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.families._family import Role
from studio.ui.form import Choices, Follow, Form, Now, Piece, Updates, Values
from studio.ui.tabs._tab import Arrival, Context, Tab
from studio.ui.widgets import brought, canvas, painting, references, sampling, slots, units
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.names import named
from studio.ui.widgets.strength import strength

ID = "inpaint"
START: Mapping[str, Any] = MappingProxyType(
    {
        "strength": 0.8,
        "content": "original",
        "area": "masked",
        "padding_px": 32,
        "feather_px": 8,
        "grow_px": 0,
        "invert": False,
    }
)
"""What the fields of its own are untouched: those of the request."""
CONTENTS = MappingProxyType(
    {"Itself": "original", "Fill": "fill", "Noise": "noise", "Nothing": "nothing"}
)
"""What the masked part starts as, by label."""
AREAS = MappingProxyType({"The mask": "masked", "Whole picture": "whole"})
OF_MASK = ("area", "padding_px", "feather_px", "grow_px", "invert")
"""What decides, with picture and strokes, which pixels change."""


def build(context: Context) -> Form:
    choices = context.choices
    with painting.workplace(ID):
        with painting.column("words"):
            words, generate = painting.words(ID, choices)
        with painting.column("settings"):
            how_much = strength(ID, START["strength"], Role.INPAINT)
            masked = _masked()
            settings = painting.settings(ID, choices, BY_ITSELF)
            looks = references.references(ID)
            carried = units.carried(ID)
        with painting.column("stage"):
            image = slots.slot(ID, "image", "Picture")
            mask = slots.held(ID, "mask", "Mask")
            said = canvas.told(ID, OF_MASK)
            mount("canvas", ID)
            painting.stage(ID)
    pieces = (image, mask, words, how_much, masked, said, *settings, looks, carried)
    return Form(generate=generate, pieces=pieces)


def _masked() -> Piece:
    content = gr.Radio(
        list(CONTENTS.items()),
        value=START["content"],
        label="The masked part starts as",
        **named(ID, "content"),
    )
    area = gr.Radio(list(AREAS.items()), value=START["area"], label="Look at", **named(ID, "area"))
    padding = gr.Slider(
        0,
        2048,
        value=START["padding_px"],
        step=1,
        label="Around it (px)",
        buttons=[],
        **named(ID, "padding-px"),
    )
    with gr.Row():
        feather = gr.Slider(
            0,
            512,
            value=START["feather_px"],
            step=1,
            label="Feather (px)",
            buttons=[],
            **named(ID, "feather-px"),
        )
        grow = gr.Slider(
            -512,
            512,
            value=START["grow_px"],
            step=1,
            label="Grow or shrink (px)",
            buttons=[],
            **named(ID, "grow-px"),
        )
    invert = gr.Checkbox(
        label="Invert: repaint what is not masked", value=False, **named(ID, "invert")
    )

    def defaults(choices: Choices) -> Values:
        return {name: START[name] for name in widgets}

    def dress(values: Values, now: Now) -> Updates:
        return {padding: gr.update(visible=values.get("area") == "masked")}

    widgets = {
        "content": content,
        "area": area,
        "padding_px": padding,
        "feather_px": feather,
        "grow_px": grow,
        "invert": invert,
    }
    return Piece(
        widgets=widgets,
        defaults=defaults,
        dress=dress,
        follows=(Follow(event=area.input, change=painting.unchanged, name="area"),),
    )


BY_ITSELF = painting.Decided(
    label="By itself",
    size=lambda values, now: None,
    unknown="as large as the checkpoint paints best",
)
"""The size that the area is painted in; the result has that of the picture."""


def to_requests(values: Values) -> tuple[dict[str, Any], ...]:
    image, mask = (slots.refs(values.get(name)) for name in ("image", "mask"))
    if not image:
        raise InvalidRequest(
            "There is no picture to paint into.",
            "Choose, drop or paste one, or send one from the gallery.",
            field="image",
        )
    if not mask:
        raise InvalidRequest(
            "Nothing is masked: nothing would be repainted.",
            "Paint over what you want to change, or invert the mask.",
            field="mask",
        )
    own = {name: values[name] for name in START if values.get(name) is not None}
    return (
        {
            **sampling.to_fields(values),
            **references.fields(values),
            **units.fields(values),
            **own,
            "image": image[0],
            "mask": mask[0],
        },
    )


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **sampling.from_record(record),
        **references.shown(record["request"]),
        **units.shown(record["request"]),
        **_own(record["request"]),
    }


def from_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **sampling.from_settings(fields),
        **references.shown(fields),
        **units.shown(fields),
        **_own(fields),
    }


def _own(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What this form has beside the common settings."""
    values = {
        name: fields[name]
        for name, start in START.items()
        if name in fields and isinstance(fields[name], bool) == isinstance(start, bool)
    }
    # a mask is one of its own picture
    image, mask = (slots.refs(fields.get(name)) for name in ("image", "mask"))
    if image:
        values |= {"image": image[0], "mask": mask[0] if mask else ""}
    if "width" in fields or "height" in fields:
        values["size_mode"] = sampling.OWN
    return values


def from_picture(record: Mapping[str, Any], held: Values, now: Now) -> Arrival:
    return Arrival(values={**brought.settings(record, held, now), "image": record["id"]})


TAB = Tab(
    id=ID,
    label="Inpaint",
    place=30,
    build=build,
    task="inpaint",
    invitation="Paint over what is to change, say what comes there, then press Generate or Ctrl + Enter.",
    to_requests=to_requests,
    from_record=from_record,
    from_settings=from_settings,
    from_picture=from_picture,
)
