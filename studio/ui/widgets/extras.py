"""LoRAs, VAE and refiner among the values of a form: JSON in a hidden text box, which assets/ui/extras.js
shows as rows and lists of what fits the checkpoint."""

import html
import json
from collections.abc import Mapping
from typing import Any, cast

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.ui.form import Choices, Follow, Now, Piece, Updates, Values, unchanged
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.names import UNSEEN, named

MOST_CHARS = 16 * 1024
_ROW = ("name", "weight", "text_weight")


def extras(tab: str, *, refined: bool = True) -> Piece:
    """What is added to the checkpoint, folded away; with `refined`, a refiner too."""
    with gr.Accordion("Extras", open=False, **named(tab, "extras-fold")) as fold:
        mount("extras", tab, name="extras", refined="yes" if refined else "no")
    box = gr.Textbox("", visible="hidden", label="Extras", **named(tab, "extras", UNSEEN))
    # pressed by the script once the box holds what was chosen, as in `slots`
    given = gr.Button(visible="hidden", **named(tab, "extras-given", UNSEEN))
    readout = gr.HTML(_readout("", ""), visible="hidden", **named(tab, "extras-seen", UNSEEN))

    def defaults(choices: Choices) -> Values:
        return {"extras": ""}

    def dress(values: Values, now: Now) -> Updates:
        value = str(values.get("extras") or "")
        seen = _readout(value, str(values.get("checkpoint") or ""))
        return {fold: gr.update(label=_label(value)), readout: gr.update(value=seen)}

    return Piece(
        widgets={"extras": box},
        defaults=defaults,
        dress=dress,
        dressed=(readout, fold),
        follows=(Follow(event=given.click, change=unchanged, name="extras"),),
    )


def read(value: object) -> dict[str, Any]:
    """Request fields of a form's value: none for what is not used. Raises `InvalidRequest`."""
    text = value if isinstance(value, str) else ""
    if not text.strip():
        return {}
    try:
        found: Any = json.loads(text[:MOST_CHARS])
        rows = [
            {name: row[name] for name in _ROW if row.get(name) is not None}
            for row in found.get("loras", [])
        ]
        worn = {name: found[name] for name in ("vae", "refiner") if found.get(name)}
        after = found.get("refiner_after")
    except (ValueError, RecursionError, AttributeError, TypeError):
        raise InvalidRequest(
            "The extras cannot be read.", "Reload the page.", field="loras"
        ) from None
    for row in rows:
        for name in ("weight", "text_weight"):
            if isinstance(row.get(name), int):  # JavaScript writes 1.0 as 1
                row[name] = float(row[name])
    if "refiner" in worn and isinstance(after, int | float):
        worn["refiner_after"] = float(after)
    return {**({"loras": rows} if rows else {}), **worn}


def write(fields: Mapping[str, Any]) -> str:
    """The value that shows a request's LoRAs, VAE and refiner; those with a tag in the prompt are there
    already."""
    asked: Any = fields.get("loras")
    rows = cast("list[Any]", asked) if isinstance(asked, list | tuple) else []
    loras = [
        {
            "name": row["name"],
            "weight": row.get("weight", 1.0),
            "text_weight": _apart(row),
        }
        for row in rows
        if isinstance(row, Mapping) and row.get("name") and not row.get("from_prompt")
    ]
    named: dict[str, Any] = {
        name: value for name in ("vae", "refiner") if isinstance(value := fields.get(name), str)
    }
    if named.get("refiner") and isinstance(after := fields.get("refiner_after"), int | float):
        named["refiner_after"] = after
    worn = {"loras": loras, "vae": "", **named}
    return json.dumps(worn) if any(worn.values()) else ""


def _apart(row: Mapping[str, Any]) -> Any:
    """The weight on the prompt, if it is another one."""
    text_weight = row.get("text_weight")
    return None if text_weight == row.get("weight", 1.0) else text_weight


def _label(value: str) -> str:
    try:
        fields = read(value)
    except InvalidRequest:
        return "Extras"
    count = len(fields.get("loras", ())) + ("vae" in fields) + ("refiner" in fields)
    return f"Extras · {count}" if count else "Extras"


def _readout(value: str, checkpoint: str) -> str:
    # changes when the value does, so that the page looks into the text box
    return f'<div data-extras="{html.escape(value)}" data-checkpoint="{html.escape(checkpoint)}"></div>'
