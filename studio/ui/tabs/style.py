"""Give a picture the look of others."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.paths import STYLES
from studio.ui.form import Choices, Follow, Form, Now, Piece, Updates, Values
from studio.ui.tabs._tab import Context, Tab
from studio.ui.widgets import painting, slots
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.names import named

ID = "style"
MOST = 8


def build(context: Context) -> Form:
    choices = context.studio.choices()
    with painting.workplace(ID):
        with painting.column("words"):
            content = slots.slot(ID, "image", "Picture")
            styles = slots.slot(ID, "styles", "Pictures whose look it gets", several=True)
            mount("examples", ID, name="styles", files=" ".join(examples()))
            with gr.Row(elem_classes="go"):
                generate = gr.Button("Restyle", variant="primary", **named(ID, "generate"))
        with painting.column("settings"):
            how = _how(choices)
        with painting.column("stage"):
            painting.stage(ID)
    return painting.finished(context, ID, generate, content, styles, how)


def examples() -> tuple[str, ...]:
    """File names of the styles that come with the studio."""
    return tuple(sorted(file.name for file in STYLES.glob("*.webp")))


def _how(choices: Choices) -> Piece:
    known = choices["stylizers"]
    method = gr.Radio(
        [(row["label"], row["id"]) for row in known],
        value="neural",
        label="How the look is carried over",
        **named(ID, "method"),
    )
    about = gr.HTML(_about(choices, "neural"), **named(ID, "method-about"))
    strength = gr.Slider(
        0,
        1,
        value=1.0,
        step=0.05,
        label="Strength",
        info="0 keeps the picture, 1 takes all of the look",
        buttons=[],
        **named(ID, "strength"),
    )
    colours = gr.Checkbox(False, label="Keep the picture's colours", **named(ID, "keep-colours"))

    def defaults(choices: Choices) -> Values:
        return {"method": "neural", "strength": 1.0, "keep_colours": False}

    def dress(values: Values, now: Now) -> Updates:
        return {about: gr.update(value=_about(now.choices, values.get("method")))}

    return Piece(
        widgets={"method": method, "strength": strength, "keep_colours": colours},
        defaults=defaults,
        dress=dress,
        dressed=(about,),
        follows=(Follow(event=method.input, change=painting.unchanged, name="method"),),
    )


def _about(choices: Choices, method: object) -> str:
    text = next((row["about"] for row in choices["stylizers"] if row["id"] == method), "")
    return f'<span class="meaning" role="status">{text}</span>'


def to_requests(values: Values) -> tuple[dict[str, Any], ...]:
    [content, *_] = slots.refs(values.get("image")) or ("",)
    styles = slots.refs(values.get("styles"))
    if not content:
        raise InvalidRequest(
            "There is no picture to restyle.", "Choose, drop or paste one.", field="image"
        )
    if not styles:
        raise InvalidRequest(
            "There is no picture whose look it should get.",
            "Choose one, or click on an example.",
            field="styles",
        )
    if len(styles) > MOST:
        raise InvalidRequest(
            f"At most {MOST} looks can be mixed.", "Remove some of them.", field="styles"
        )
    own = {name: values[name] for name in OWN if values.get(name) is not None}
    return ({"image": content, "styles": [{"image": ref} for ref in styles], **own},)


OWN = ("method", "strength", "keep_colours")


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    return from_settings(record["request"])


def from_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: fields[name] for name in OWN if fields.get(name) is not None}
    if content := slots.refs(fields.get("image")):
        values["image"] = content[0]
    styles = fields.get("styles")
    if isinstance(styles, list | tuple):
        rows = [row["image"] for row in styles if isinstance(row, Mapping) and "image" in row]
        values["styles"] = " ".join(slots.refs(" ".join(map(str, rows))))
    return values


def from_picture(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"image": record["id"]}


TAB = Tab(
    id=ID,
    label="Style",
    place=70,
    build=build,
    task="style",
    to_requests=to_requests,
    from_record=from_record,
    from_settings=from_settings,
    from_picture=from_picture,
)
