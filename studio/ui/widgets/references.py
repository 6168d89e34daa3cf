"""Style references among the values of a form: pictures whose look is wanted, and how much of it."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gradio as gr

from studio.ui.form import Choices, Follow, Now, Piece, Updates, Values, unchanged
from studio.ui.widgets import slots
from studio.ui.widgets.names import named

MOST = 4
AUTO = "auto"
METHODS = {"Automatic": AUTO, "Shared attention": "shared", "Image prompt": "adapter"}
TAKES = {"Style": "style", "Composition": "composition", "Both": "all"}


def references(tab: str) -> Piece:
    """Up to four pictures, folded away."""
    with gr.Accordion("Style reference", open=False, **named(tab, "reference")):
        pictures = slots.slot(tab, "references", "Pictures that lend their look", several=True)
        weight = gr.Slider(
            0,
            2,
            value=1.0,
            step=0.05,
            label="Weight",
            info="0 ignores them, 1 follows them, 2 at the most",
            buttons=[],
            **named(tab, "reference-weight"),
        )
        method = gr.Radio(
            list(METHODS.items()),
            value=AUTO,
            label="How they are looked at",
            **named(tab, "reference-method"),
        )
        takes = gr.Radio(
            list(TAKES.items()),
            value="style",
            label="What is taken from them",
            visible=False,
            **named(tab, "reference-takes"),
        )
        about = gr.HTML(_about(AUTO, ways({}, None), {}, None), **named(tab, "reference-about"))

    def dress(values: Values, now: Now) -> Updates:
        checkpoint = values.get("checkpoint")
        there = ways(now.choices, checkpoint)
        asked = values.get("reference_method")
        chosen = _way(asked, there)
        choices = [row for row in METHODS.items() if row[1] in (AUTO, *there)]
        looked = gr.update(choices=choices, visible=len(there) > 1)
        return {
            **pictures.dress(values, now),
            method: looked if chosen == asked else {**looked, "value": chosen},
            takes: gr.update(visible=_acting(chosen, there) == "adapter" and len(there) > 1),
            about: gr.update(value=_about(chosen, there, now.choices, checkpoint)),
        }

    def defaults(choices: Choices) -> Values:
        return {
            **pictures.defaults(choices),
            "reference_weight": 1.0,
            "reference_method": AUTO,
            "reference_takes": "style",
        }

    return Piece(
        widgets={
            **pictures.widgets,
            "reference_weight": weight,
            "reference_method": method,
            "reference_takes": takes,
        },
        defaults=defaults,
        dress=dress,
        dressed=(*pictures.dressed, about),
        follows=(
            *pictures.follows,
            Follow(event=method.input, change=unchanged, name="reference"),
        ),
    )


def ways(choices: Choices, checkpoint: object) -> Sequence[str]:
    """How a checkpoint can look at pictures: some of `METHODS`, the one that it does by itself
    first."""
    wanted = checkpoint or choices.get("default_checkpoint")
    rows = cast(list[Mapping[str, Any]], choices.get("checkpoints") or [])
    found = next((row for row in rows if row["id"] == wanted), {})
    return found.get("references", ("shared", "adapter"))


def _way(chosen: object, there: Sequence[str]) -> object:
    """What was chosen if there is that, else the checkpoint's own way."""
    return chosen if chosen in there else AUTO


def _acting(chosen: object, there: Sequence[str]) -> object:
    """How pictures are looked at."""
    return there[0] if chosen == AUTO and there else chosen


def possible(values: Values, choices: Choices, checkpoint: str | None) -> dict[str, Any]:
    """The values with pictures looked at as that checkpoint can."""
    if "reference_method" not in values:
        return dict(values)
    there = ways(choices, checkpoint)
    return {**values, "reference_method": _way(values["reference_method"], there)}


def _about(method: object, there: Sequence[str], choices: Choices, checkpoint: object) -> str:
    eyes, name = ("clip", "IP-Adapter") if "shared" in there else ("siglip", "Redux")
    rows = cast(list[Mapping[str, Any]], choices.get("image_prompts") or [])
    wanted = checkpoint or choices.get("default_checkpoint")
    if not there:
        text = "This checkpoint cannot look at them; Stable Diffusion, SDXL and FLUX.1 can."
    elif _acting(method, there) == "shared":
        text = "The checkpoint looks at them while it paints; nothing more is needed."
    elif any(wanted in row["fits"] for row in rows):
        text = f"They are told to the checkpoint as words are, through its {name}."
    else:
        text = f"No {name} for this checkpoint is in the folder 'ipadapter' of the data folder."
        useless = [row for row in rows if row["problem"] and row["eyes"] == eyes]
        for row in useless[:1]:
            text += html.escape(f" '{row['label']}' cannot be used: {row['problem']}")
    return f'<span class="meaning">{text}</span>'


def fields(values: Values) -> dict[str, Any]:
    """The request's field, if there are pictures."""
    chosen = slots.refs(values.get("references"))[:MOST]
    if not chosen:
        return {}
    common: dict[str, Any] = {
        name: values[f"reference_{name}"]
        for name in ("weight", "method", "takes")
        if values.get(f"reference_{name}") not in (None, AUTO)
    }
    return {"references": [{"image": ref, **common} for ref in chosen]}


def shown(asked: Values) -> dict[str, Any]:
    """The form values of a request that may have them: settings that say nothing of them change
    nothing."""
    return form_values(asked) if "references" in asked else {}


def form_values(asked: Values) -> dict[str, Any]:
    """The way back, from a request of doubtful origin."""
    rows = asked.get("references")
    listed = cast(list[Any], rows) if isinstance(rows, list | tuple) else []
    known = [cast(Mapping[str, Any], row) for row in listed if isinstance(row, Mapping)]
    found = slots.refs(" ".join(str(row.get("image")) for row in known))
    if not found:
        return {"references": ""}
    first = {
        f"reference_{name}": known[0][name]
        for name in ("weight", "method", "takes")
        if known[0].get(name) is not None
    }
    return {"references": " ".join(found), **first}
