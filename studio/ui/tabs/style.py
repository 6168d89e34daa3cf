"""Give a picture the look of others."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.paths import STYLES
from studio.tasks.style import stylizers
from studio.ui.form import Choices, Follow, Form, Now, Piece, Updates, Values
from studio.ui.tabs._tab import Arrival, Context, Tab
from studio.ui.widgets import brought, painting, presets, sampling, slots
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.names import named

ID = "style"
MOST = 8


def build(context: Context) -> Form:
    choices = context.choices
    with painting.workplace(ID):
        with painting.column("words"):
            content = slots.slot(ID, "image", "Picture")
            styles = slots.slot(ID, "styles", "Pictures whose look it gets", several=True)
            mount("examples", ID, name="styles", files=" ".join(examples()))
            told = _words()
            with gr.Row(elem_classes="go"):
                generate = gr.Button("Restyle", variant="primary", **named(ID, "generate"))
            mount("estimate", ID)
        with painting.column("settings"):
            how = _how(choices)
            painted = _painted(choices)
        with painting.column("stage"):
            painting.stage(ID)
    return Form(generate=generate, pieces=(content, styles, told, how, *painted))


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


def _words() -> Piece:
    """What is said to a checkpoint; shown for the methods that paint with one."""
    with gr.Column(visible=False, **named(ID, "words")) as words:
        prompt = gr.Textbox(
            value="",
            label="What the picture shows",
            placeholder="A cup of coffee on a wooden table",
            lines=2,
            max_lines=8,
            **named(ID, "prompt"),
        )
        negative = gr.Textbox(
            value="", label="Negative prompt", lines=1, max_lines=4, **named(ID, "negative-prompt")
        )
        styles = presets.presets(ID)

    def dress(values: Values, now: Now) -> Updates:
        return {**styles.dress(values, now), words: gr.update(visible=paints(values))}

    return Piece(
        widgets={"prompt": prompt, "negative_prompt": negative, **styles.widgets},
        defaults=lambda choices: {
            "prompt": "",
            "negative_prompt": "",
            **styles.defaults(choices),
        },
        dress=dress,
        dressed=(words, *styles.dressed),
        follows=styles.follows,
    )


STRUCTURES = {"Automatic": "auto", "Edges": "edges", "Depth": "depth", "Nothing": "none"}
"""What a ControlNet holds on to, by label."""


def _painted(choices: Choices) -> tuple[Piece, ...]:
    """How a checkpoint paints; shown for the methods that paint with one."""
    with gr.Column(visible=False, **named(ID, "painted")) as painted:
        structure = gr.Radio(
            list(STRUCTURES.items()),
            value="auto",
            label="What a ControlNet holds on to",
            **named(ID, "structure"),
        )
        sampled = painting.sampled(ID, choices)

    def dress(values: Values, now: Now) -> Updates:
        return {painted: gr.update(visible=paints(values))}

    held = Piece(
        widgets={"structure": structure},
        defaults=lambda choices: {"structure": "auto"},
        dress=dress,
        dressed=(painted,),
    )
    return held, *sampled


def paints(values: Values) -> bool:
    """Whether the chosen method paints with a checkpoint."""
    method = stylizers().get(str(values.get("method")))
    return method is not None and method.repaint is not None


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
    words = values.get("method") == "words"
    if not styles and not words:
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
    fields = {"image": content, "styles": [{"image": ref} for ref in styles], **own}
    return ({**fields, **_painting(values)} if paints(values) else fields,)


def _painting(values: Values) -> dict[str, Any]:
    """Fields for a checkpoint, as far as the task has them."""
    fields = sampling.to_fields({**values, "size_mode": "follows"})
    found = {name: fields[name] for name in PAINTED if name in fields}
    if names := presets.names(values.get(presets.NAME)):
        found["presets"] = names
    if values.get("structure") in {"edges", "depth", "none"}:
        found["structure"] = values["structure"]
    return found


PAINTED = (
    *("prompt", "negative_prompt", "checkpoint", "steps", "guidance", "sampler", "seed"),
    *("clip_skip", "weights", "loras", "vae", "refiner", "refiner_after"),
)


OWN = ("method", "strength", "keep_colours")


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    return from_settings(record["request"])


def from_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: fields[name] for name in OWN if fields.get(name) is not None}
    asked = (*PAINTED, presets.NAME)
    values |= sampling.from_settings({name: fields[name] for name in asked if name in fields})
    if fields.get("structure") is not None:
        values["structure"] = fields["structure"]
    if content := slots.refs(fields.get("image")):
        values["image"] = content[0]
    styles = fields.get("styles")
    if isinstance(styles, list | tuple):
        rows = [row["image"] for row in styles if isinstance(row, Mapping) and "image" in row]
        values["styles"] = " ".join(slots.refs(" ".join(map(str, rows))))
    return values


def from_picture(record: Mapping[str, Any], held: Values, now: Now) -> Arrival:
    return Arrival(values={**brought.words(record, held, now), "image": record["id"]})


TAB = Tab(
    id=ID,
    label="Style",
    place=70,
    build=build,
    task="style",
    invitation="Choose a picture and the look it gets, then press Restyle.",
    to_requests=to_requests,
    from_record=from_record,
    from_settings=from_settings,
    from_picture=from_picture,
)
