"""Continue a picture beyond its edges."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.core.intake import MAX_PIXELS, MAX_SIDE_PX
from studio.families._family import Role
from studio.ui.form import Choices, Form, Now, Piece, Values
from studio.ui.tabs._tab import Arrival, Context, Tab
from studio.ui.widgets import brought, canvas, painting, references, sampling, slots, units
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.names import named
from studio.ui.widgets.strength import strength

ID = "outpaint"
SIDES = ("left", "right", "top", "bottom")
MOST_ADDED_PX = 4096
"""At one side, as the task has it."""
STRENGTH, FEATHER_PX = 0.8, 16
"""As the request has them."""
OWN = ("strength", "feather_px", *SIDES)


def build(context: Context) -> Form:
    choices = context.choices
    with painting.workplace(ID):
        with painting.column("words"):
            words, generate = painting.words(ID, choices)
        with painting.column("settings"):
            sides = _sides()
            how_much = strength(ID, STRENGTH, Role.INPAINT)
            settings = painting.settings(ID, choices, BY_ITSELF)
            looks = references.references(ID)
            carried = units.carried(ID)
        with painting.column("stage"):
            image = slots.slot(ID, "image", "Picture")
            limits = {
                "most_added_px": MOST_ADDED_PX,
                "most_side_px": MAX_SIDE_PX,
                "most_pixels": MAX_PIXELS,
            }
            said = canvas.told(ID, SIDES, limits)
            mount("sides", ID)
            painting.stage(ID)
    return Form(
        generate=generate, pieces=(image, words, sides, how_much, said, *settings, looks, carried)
    )


def _sides() -> Piece:
    with gr.Row(elem_classes="sides-row"):
        numbers = {
            side: gr.Number(
                label=f"{side.capitalize()} px",
                value=0,
                minimum=0,
                maximum=MOST_ADDED_PX,
                precision=0,
                step=8,
                min_width=70,
                **named(ID, side),
            )
            for side in SIDES
        }
    feather = gr.Slider(
        0,
        512,
        value=FEATHER_PX,
        step=1,
        label="Feather into the old picture (px)",
        buttons=[],
        **named(ID, "feather-px"),
    )

    def defaults(choices: Choices) -> Values:
        return {**dict.fromkeys(SIDES, 0), "feather_px": FEATHER_PX}

    return Piece(widgets={**numbers, "feather_px": feather}, defaults=defaults)


BY_ITSELF = painting.Decided(
    label="By itself",
    size=lambda values, now: None,
    unknown="as large as the checkpoint paints best",
)
"""The size that the area around the new part is painted in; the result is larger by what is
added."""


def to_requests(values: Values) -> tuple[dict[str, Any], ...]:
    image = slots.refs(values.get("image"))
    if not image:
        raise InvalidRequest(
            "There is no picture to go on from.",
            "Choose, drop or paste one, or send one from the gallery.",
            field="image",
        )
    own = {name: values[name] for name in OWN if values.get(name) is not None}
    return (
        {
            **sampling.to_fields(values),
            **references.fields(values),
            **units.fields(values),
            **own,
            "image": image[0],
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
    values = {name: fields[name] for name in OWN if name in fields}
    if image := slots.refs(fields.get("image")):
        values["image"] = image[0]
    if "width" in fields or "height" in fields:
        values["size_mode"] = sampling.OWN
    return values


def from_picture(record: Mapping[str, Any], held: Values, now: Now) -> Arrival:
    """Another picture has other sides."""
    own = brought.settings(record, held, now)
    return Arrival(values={**own, "image": record["id"], **dict.fromkeys(SIDES, 0)})


TAB = Tab(
    id=ID,
    label="Outpaint",
    place=40,
    build=build,
    task="outpaint",
    invitation="Say by how much the picture grows, then press Generate or Ctrl + Enter.",
    to_requests=to_requests,
    from_record=from_record,
    from_settings=from_settings,
    from_picture=from_picture,
)
