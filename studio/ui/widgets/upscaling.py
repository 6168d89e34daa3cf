"""What enlarges a picture, and the second pass that follows."""

import html

import gradio as gr

from studio.core.geometry import Size
from studio.families._family import Role
from studio.ui.form import Choices, Follow, Now, Piece, Updates, Values, unchanged
from studio.ui.widgets import sampling
from studio.ui.widgets.names import named
from studio.ui.widgets.strength import in_words

HIRES_STRENGTH = 0.4


def upscaler_choices(choices: Choices) -> list[tuple[str, str]]:
    return [(row["label"], row["id"]) for row in choices["upscalers"] if not row["problem"]]


def upscaler(tab: str, choices: Choices, name: str = "upscaler") -> Piece:
    """What enlarges, with a word on what it is good for, and what cannot be used."""
    start, words = choices["default_upscaler"], name.replace("_", "-")
    chosen = gr.Dropdown(
        upscaler_choices(choices), value=start, label="Upscaler", **named(tab, words)
    )
    readout = gr.HTML(about(choices, start), **named(tab, f"{words}-words"))

    def dress(values: Values, now: Now) -> Updates:
        return {
            chosen: gr.update(choices=upscaler_choices(now.choices)),
            readout: gr.update(value=about(now.choices, values.get(name))),
        }

    return Piece(
        widgets={name: chosen},
        defaults=lambda choices: {name: choices["default_upscaler"]},
        dress=dress,
        dressed=(readout,),
        follows=(Follow(event=chosen.input, change=unchanged, name=name),),
    )


def about(choices: Choices, upscaler_id: object) -> str:
    """What an upscaler is good for, and which files cannot be used and why, as HTML."""
    rows = {row["id"]: row for row in choices["upscalers"]}
    known = rows.get(str(upscaler_id))
    said = f'<span class="meaning">{html.escape(known["about"])}</span>' if known else ""
    broken = [row for row in rows.values() if row["problem"]]
    if not broken:
        return said
    entries = "".join(
        f"<li><b>{html.escape(row['label'])}</b>: {html.escape(row['problem'])} "
        f"{html.escape(row['advice'])}</li>"
        for row in broken
    )
    noun = "upscaler" if len(broken) == 1 else "upscalers"
    summary = f"<summary>{len(broken)} {noun} cannot be used</summary>"
    return f"{said}<details>{summary}<ul>{entries}</ul></details>"


def hires(tab: str, choices: Choices) -> Piece:
    """A second pass at a larger size, folded away."""
    with gr.Accordion("Second pass (Hires)", open=False, **named(tab, "hires")):
        on = gr.Checkbox(label="Enlarge, then paint over", value=False, **named(tab, "hires-on"))
        factor = gr.Slider(
            1,
            4,
            value=2,
            step=0.25,
            label="Times as large",
            buttons=[],
            **named(tab, "hires-factor"),
        )
        strength = gr.Slider(
            0,
            1,
            value=HIRES_STRENGTH,
            step=0.05,
            label="Strength",
            buttons=[],
            **named(tab, "hires-strength"),
        )
        readout = gr.HTML("", **named(tab, "hires-words"))
        steps = gr.Slider(
            0,
            150,
            value=0,
            step=1,
            label="Steps (0: as many as the first pass)",
            buttons=[],
            **named(tab, "hires-steps"),
        )
        enlarging = upscaler(tab, choices, "hires_upscaler")
    widgets = {
        "hires": on,
        "hires_factor": factor,
        "hires_strength": strength,
        "hires_steps": steps,
        **enlarging.widgets,
    }

    def dress(values: Values, now: Now) -> Updates:
        felt = not sampling.strengthless(now.choices, values.get("checkpoint"), Role.IMAGE)
        return {
            **enlarging.dress(values, now),
            strength: gr.update(visible=felt),
            readout: gr.update(value=_outcome(values, now)),
        }

    return Piece(
        widgets=widgets,
        defaults=lambda choices: {
            "hires": False,
            "hires_factor": 2,
            "hires_strength": HIRES_STRENGTH,
            "hires_steps": 0,
            **enlarging.defaults(choices),
        },
        dress=dress,
        dressed=(readout, *enlarging.dressed),
        follows=(
            *enlarging.follows,
            *(
                Follow(event=one.input, change=unchanged, name="hires")
                for one in (on, factor, strength)
            ),
        ),
    )


def larger(values: Values, now: Now) -> Size | None:
    """The size of the second pass, as the task decides it."""
    factor, sides = values.get("hires_factor"), (values.get("width"), values.get("height"))
    _, multiple = sampling.native_size(now.choices, values.get("checkpoint"))
    if not isinstance(factor, int | float) or not all(isinstance(s, int | float) for s in sides):
        return None
    width, height = (int(int(side or 0) * factor) // multiple * multiple for side in sides)
    return width, height


def _outcome(values: Values, now: Now) -> str:
    strength, size = values.get("hires_strength"), larger(values, now)
    if not values.get("hires") or size is None or not isinstance(strength, int | float):
        return ""
    felt = not sampling.strengthless(now.choices, values.get("checkpoint"), Role.IMAGE)
    words = in_words(strength) if felt or not strength else "painted anew, as the words say"
    return f'<span class="meaning">{size[0]} × {size[1]} px; {words}</span>'


def hires_fields(values: Values) -> dict[str, object]:
    """The request's field, if a second pass is wanted."""
    if not values.get("hires"):
        return {}
    found = {
        name: values[f"hires_{name}"]
        for name in ("factor", "strength", "steps", "upscaler")
        if values.get(f"hires_{name}") not in (None, "")
    }
    if not found.get("steps"):
        found.pop("steps", None)
    return {"hires": found}


def hires_values(fields: Values) -> dict[str, object]:
    """The way back, from a request of doubtful origin."""
    hires = fields.get("hires")
    if not isinstance(hires, dict):
        return {"hires": False}
    values: dict[str, object] = {"hires": True, "hires_steps": hires.get("steps") or 0}
    if values["hires_steps"] == fields.get("steps"):
        values["hires_steps"] = 0
    for name in ("factor", "strength", "upscaler"):
        if hires.get(name) is not None:
            values[f"hires_{name}"] = hires[name]
    return values
