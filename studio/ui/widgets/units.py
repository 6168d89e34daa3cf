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
from studio.ui.widgets.names import UNSEEN, named

MOST_CHARS = 256 * 1024
MOST = 4
KINDS = ("edges", "depth", "pose")
"""What a new unit shows: the first of these that no other does."""
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
    box = gr.Textbox("", visible="hidden", label="Control units", **named(tab, "units", UNSEEN))
    readout = gr.HTML(_readout(""), visible="hidden", **named(tab, "units-seen", UNSEEN))
    given = gr.Button(visible="hidden", **named(tab, "units-given", UNSEEN))

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


def brought(asked: Mapping[str, Any], held: Values) -> dict[str, Any]:
    """The form values for a picture, made of that request, that is sent to a form that carries
    units along: it brings its own. Without any, those of another picture are put away; those of the
    tab Control stay."""
    if not asked.get("units"):
        there = held.get("units")
        follows = isinstance(there, str) and there.startswith("{")
        return {} if follows or not there else {"units": ""}
    same = asked.get("checkpoint") == held.get("checkpoint")
    return {"units": write(fitted(rows(write(asked["units"])), same_checkpoint=same))}


def fitted(units: list[dict[str, Any]], *, same_checkpoint: bool) -> list[dict[str, Any]]:
    """The units for a checkpoint: for another one than theirs a ControlNet is found anew."""
    return units if same_checkpoint else [{**unit, "controlnet": None} for unit in units]


def with_one_more(
    units: list[dict[str, Any]], unit: Mapping[str, Any]
) -> list[dict[str, Any]] | None:
    """The units, and one that shows `unit`: the first that is not set up becomes it, and keeps
    what was chosen there, else one is added. None if all are taken."""
    for place, there in enumerate(units):
        if not is_set_up(there):
            same = there.get("kind") == unit.get("kind", there.get("kind"))
            return [*units[:place], {**(there if same else {}), **unit}, *units[place + 1 :]]
    if len(units) >= MOST:
        return None
    taken = {there.get("kind") for there in units}
    free = next((kind for kind in KINDS if kind not in taken), KINDS[0])
    return [*units, {"kind": free, **unit}]


def is_set_up(unit: Mapping[str, Any]) -> bool:
    """Whether there is something to take a map from."""
    return any(unit.get(source) for source in SOURCES)


def read(value: object) -> list[dict[str, Any]]:
    """The units in a form's value that are set up, as request fields. Raises `InvalidRequest`."""
    return [unit for unit in rows(value) if is_set_up(unit)]


def rows(value: object) -> list[dict[str, Any]]:
    """All units in a form's value. Raises `InvalidRequest`."""
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
    return [cast(dict[str, Any], row) for row in cast(list[Any], found) if isinstance(row, dict)]


def write(rows: object) -> str:
    """The value that shows a request's units; what is none is left out."""
    if not isinstance(rows, list | tuple):
        return ""
    kept = [row for row in cast(list[Any], rows) if isinstance(row, Mapping)]
    return json.dumps(kept) if kept else ""


def _readout(value: str) -> str:
    # only has to change when the value does: the page then looks into the text box
    return f'<div data-units="{html.escape(value)}"></div>'
