"""Control units among the values of a form: JSON in a hidden text box.

The tab Control sets them up, as cards of assets/ui/units.js; other tabs carry them along, see
assets/ui/carried.js: a list is their own, {"of": "control", "units": list} follows the tab Control.
"""

import html
import json
from collections.abc import Mapping
from typing import Any, cast

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.ui.form import Choices, Follow, Now, Piece, Updates, Values, unchanged
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.names import named

MOST_CHARS = 256 * 1024
SOURCES = ("image", "map", "pose")
"""What a unit may take its map from; one without any is not set up yet."""


def units(tab: str) -> Piece:
    """Up to four maps, each with a ControlNet and how far it is followed."""
    mount("units", tab, name="units")
    return _held(tab)


def carried(tab: str) -> Piece:
    """The units of the tab Control, to be switched on here as well."""
    mount("carried", tab, name="units")
    return _held(tab)


def _held(tab: str) -> Piece:
    box = gr.Textbox("", visible="hidden", label="Control units", **named(tab, "units"))
    readout = gr.HTML(_readout(""), visible="hidden", **named(tab, "units-seen"))
    given = gr.Button(visible="hidden", **named(tab, "units-given"))

    def defaults(choices: Choices) -> Values:
        return {"units": ""}

    def dress(values: Values, now: Now) -> Updates:
        return {readout: gr.update(value=_readout(str(values.get("units") or "")))}

    return Piece(
        widgets={"units": box},
        defaults=defaults,
        dress=dress,
        dressed=(readout,),
        follows=(Follow(event=given.click, change=unchanged, name="units"),),
    )


def fields(values: Values) -> dict[str, Any]:
    """The request fields of a form that carries units along. Raises `InvalidRequest`."""
    rows = read(values.get("units"))
    return {"units": rows} if rows else {}


def shown(request: Mapping[str, Any]) -> dict[str, Any]:
    """The form values of a request that may have units: without any they are switched off."""
    return {"units": write(request.get("units"))} if "units" in request else {}


def brought(asked: Mapping[str, Any], held: object, *, same_checkpoint: bool) -> dict[str, Any]:
    """The form values for a picture, made of that request, that is sent to a form whose units are
    `held`: it brings its own. Without any, those of another picture are put away; those of the tab
    Control stay.

    For another checkpoint than the picture's, a ControlNet is found anew.
    """
    rows = [row for row in asked.get("units") or () if isinstance(row, Mapping)]
    if not rows:
        follows = isinstance(held, str) and held.startswith("{")
        return {} if follows or not held else {"units": ""}
    other = {} if same_checkpoint else {"controlnet": None}
    return {"units": write([{**row, **other} for row in rows])}


def read(value: object) -> list[dict[str, Any]]:
    """The units in a form's value that have something to take a map from, as request fields.

    Raises `InvalidRequest`.
    """
    text = value if isinstance(value, str) else ""
    if not text.strip():
        return []
    try:
        found: Any = json.loads(text[:MOST_CHARS])
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        found = cast(dict[str, Any], found).get("units")
    if not isinstance(found, list):
        raise InvalidRequest("The control units cannot be read.", "Reload the page.", field="units")
    rows = cast(list[Any], found)
    known = [cast(dict[str, Any], row) for row in rows if isinstance(row, dict)]
    return [row for row in known if any(row.get(source) for source in SOURCES)]


def write(rows: object) -> str:
    """The value that shows a request's units; what is none is left out."""
    if not isinstance(rows, list | tuple):
        return ""
    kept = [row for row in cast(list[Any], rows) if isinstance(row, Mapping)]
    return json.dumps(kept) if kept else ""


def _readout(value: str) -> str:
    # only has to change when the value does: the page then looks into the text box
    return f'<div data-units="{html.escape(value)}"></div>'
