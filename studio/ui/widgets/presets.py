"""Styles in words among the values of a form: a JSON list of names in a hidden text box, which
assets/ui/presets.js shows."""

import json
from typing import Any, cast

from studio.ui.form import Piece
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.slots import kept

NAME = "presets"


def presets(tab: str) -> Piece:
    """Names of styles that are written into the prompt; the value is "" or a JSON list."""
    shown(tab)
    return held(tab)


def shown(tab: str) -> None:
    """Where they are chosen."""
    mount("presets", tab, name=NAME)


def held(tab: str) -> Piece:
    """Only the value. Not to be drawn into a part that is hidden at first: when Gradio shows that,
    it shows what is hidden in it, too."""
    return kept(tab, NAME, "Styles", lambda value: str(value or ""))


def names(value: object) -> list[str]:
    """The names in a form's value; what is none is left out."""
    try:
        found: Any = json.loads(value) if isinstance(value, str) and value else []
    except (ValueError, RecursionError):
        return []
    listed = cast(list[Any], found) if isinstance(found, list) else []
    return [name for name in listed if isinstance(name, str)]
