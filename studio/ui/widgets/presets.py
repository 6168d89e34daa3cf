"""Styles in words among the values of a form: a JSON list of names in a hidden text box, which
assets/ui/presets.js shows."""

import json
from collections.abc import Callable, Iterable
from typing import Any, cast

from studio.core.errors import StudioError
from studio.core.records import Preset
from studio.prompts.presets import expanded
from studio.ui.form import Piece, Values
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.slots import kept

NAME = "presets"


def presets(tab: str) -> Piece:
    """Names of styles that are written into the prompt; the value is "" or a JSON list."""
    mount("presets", tab, name=NAME)
    return kept(tab, NAME, "Styles", lambda value: str(value or ""))


def write(listed: Iterable[str]) -> str:
    """The value that shows these names."""
    found = list(listed)
    return json.dumps(found, ensure_ascii=False) if found else ""


def as_typed(asked: Values, preset: Callable[[str], Preset]) -> Values:
    """A resolved request with its prompts as they were typed, and the names of their styles as
    `presets`; the prompts stay written out where the styles, as they are now, would not give them.

    `preset` finds a style and raises `StudioError`.
    """
    styled, typed = asked.get("styled"), asked.get("typed") or {}
    try:
        names, words = tuple(map(str, styled or ())), (typed["prompt"], typed["negative_prompt"])
        made = expanded(*words, [preset(name) for name in names])
    except (StudioError, TypeError, KeyError, AttributeError):
        return {**asked, NAME: ()}
    if made != (asked.get("prompt"), asked.get("negative_prompt")):
        return {**asked, NAME: ()}
    return {**asked, "prompt": words[0], "negative_prompt": words[1], NAME: names}


def unwritten(asked: Values) -> tuple[str, ...]:
    """A sentence if the styles of such a request are not what they were."""
    styled = asked.get("styled")
    if not isinstance(styled, list | tuple) or not styled or asked.get(NAME):
        return ()
    listed = ", ".join(map(str, cast(list[Any], styled)))
    return (
        f"What the styles say is written into the prompt, since they are others here: {listed}.",
    )


def names(value: object) -> list[str]:
    """The names in a form's value; what is none is left out."""
    try:
        found: Any = json.loads(value) if isinstance(value, str) and value else []
    except (ValueError, RecursionError):
        return []
    listed = cast(list[Any], found) if isinstance(found, list) else []
    return [name for name in listed if isinstance(name, str)]
