"""Control units among the values of a form: JSON in a hidden text box, which assets/ui/units.js
shows as cards."""

import html
import json
from collections.abc import Mapping
from typing import Any, cast

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.ui.form import Choices, Follow, Now, Piece, Updates, Values
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.names import named
from studio.ui.widgets.painting import unchanged

MOST_CHARS = 32 * 1024


def units(tab: str) -> Piece:
    """Up to four maps, each with a ControlNet and how far it is followed."""
    mount("units", tab, name="units")
    box = gr.Textbox(visible="hidden", label="Control units", **named(tab, "units"))
    readout = gr.HTML(_readout(""), visible="hidden", **named(tab, "units-seen"))

    def defaults(choices: Choices) -> Values:
        return {"units": ""}

    def dress(values: Values, now: Now) -> Updates:
        return {readout: gr.update(value=_readout(str(values.get("units") or "")))}

    return Piece(
        widgets={"units": box},
        defaults=defaults,
        dress=dress,
        dressed=(readout,),
        follows=(Follow(event=box.input, change=unchanged, name="units"),),
    )


def read(value: object) -> list[dict[str, Any]]:
    """The units in a form's value, as request fields. Raises `InvalidRequest`."""
    text = value if isinstance(value, str) else ""
    if not text.strip():
        return []
    try:
        found: Any = json.loads(text[:MOST_CHARS])
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise InvalidRequest("The control units cannot be read.", "Reload the page.", field="units")
    rows = cast(list[Any], found)
    return [cast(dict[str, Any], row) for row in rows if isinstance(row, dict)]


def write(rows: object) -> str:
    """The value that shows a request's units; what is none is left out."""
    if not isinstance(rows, list | tuple):
        return ""
    kept = [row for row in cast(list[Any], rows) if isinstance(row, Mapping)]
    return json.dumps(kept) if kept else ""


def _readout(value: str) -> str:
    # only has to change when the value does: the page then looks into the text box
    return f'<div data-units="{html.escape(value)}"></div>'
