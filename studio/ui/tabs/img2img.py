"""Paint from a picture and words."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.core.geometry import Size, near
from studio.ui.form import Form, Now, Piece, Values
from studio.ui.tabs._tab import Arrival, Context, Tab
from studio.ui.widgets import brought, painting, references, sampling, size, slots, units
from studio.ui.widgets.names import named
from studio.ui.widgets.strength import strength

ID = "img2img"
STRENGTH = 0.6
WAYS = MappingProxyType({"Crop": "crop", "Stretch": "stretch", "Pad": "pad"})
"""How a picture is brought to a size of another shape, by label."""


def build(context: Context) -> Form:
    choices = context.choices
    with painting.workplace(ID):
        with painting.column("words"):
            pictures = slots.slot(ID, "image", "Picture to start from", several=True)
            words, generate = painting.words(ID, choices)
        with painting.column("settings"):
            how_much = strength(ID, STRENGTH)
            resize = _resize()
            settings = painting.settings(ID, choices, LIKE_PICTURE, with_own=resize.widgets)
            looks = references.references(ID)
            carried = units.carried(ID)
        with painting.column("stage"):
            painting.stage(ID)
    return Form(
        generate=generate, pieces=(pictures, words, how_much, *settings, resize, looks, carried)
    )


def _resize() -> Piece:
    """Drawn below the size, as long as it is one's own."""
    way = gr.Radio(
        list(WAYS.items()),
        value="crop",
        label="If the shapes differ",
        visible=False,
        render=False,
        **named(ID, "resize"),
    )
    return Piece(widgets={"resize": way}, defaults=lambda choices: {"resize": "crop"})


def like_the_picture(values: Values, now: Now) -> Size | None:
    """The size that the task decides on: the first picture's shape, as large as the checkpoint
    paints best."""
    found = next(iter(slots.refs(values.get("image"))), None)
    of_picture = now.size_of(found) if found else None
    if of_picture is None:
        return None
    side, multiple = sampling.native_size(now.choices, values.get("checkpoint"))
    return near(of_picture, side, multiple, least=size.LEAST_PX, most=size.MOST_PX)


LIKE_PICTURE = painting.Decided(
    label="Like the picture", size=like_the_picture, unknown="follows the picture"
)


def to_requests(values: Values) -> tuple[dict[str, Any], ...]:
    """A job for each picture, with the same settings."""
    pictures = slots.refs(values.get("image"))
    if not pictures:
        raise InvalidRequest(
            "There is no picture to start from.",
            "Choose, drop or paste one, or send one from the gallery.",
            field="image",
        )
    fields = {
        **sampling.to_fields(values),
        **references.fields(values),
        **units.fields(values),
        **{name: values[name] for name in ("strength", "resize") if values.get(name) is not None},
    }
    return tuple({**fields, "image": picture} for picture in pictures)


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
    known = ("strength", "resize")
    values = {name: fields[name] for name in known if fields.get(name) is not None}
    if pictures := slots.refs(fields.get("image")):
        values["image"] = " ".join(pictures)
    if "width" in fields or "height" in fields:
        values["size_mode"] = sampling.OWN
    return values


def from_picture(record: Mapping[str, Any], held: Values, now: Now) -> Arrival:
    return Arrival(values={**brought.settings(record, held, now), "image": record["id"]})


TAB = Tab(
    id=ID,
    label="From a picture",
    place=20,
    build=build,
    task="img2img",
    invitation="Choose a picture, say what it becomes, then press Generate or Ctrl + Enter.",
    to_requests=to_requests,
    from_record=from_record,
    from_settings=from_settings,
    from_picture=from_picture,
)
