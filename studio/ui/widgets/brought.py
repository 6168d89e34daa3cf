"""What a picture brings along where it is sent to: what it was painted with."""

from collections.abc import Mapping
from typing import Any

from studio.ui.form import Now, Values
from studio.ui.widgets import references, sampling, units


def words(record: Mapping[str, Any], held: Values, now: Now) -> dict[str, Any]:
    """Values for prompts, styles, checkpoint, seed, size and the other settings that paint a picture
    again, for a form that holds `held`; none for one that nothing was said of, such as a control map.
    Pure."""
    asked = record["request"]
    if not asked.get("prompt"):
        return {}
    drawn = asked.get("seed") is not None
    values = sampling.from_record(record) if drawn else sampling.from_settings(asked)
    return sampling.possible(values, now.choices, held)


def settings(record: Mapping[str, Any], held: Values, now: Now) -> dict[str, Any]:
    """The same for a form that starts from the picture, whose size follows from that; with the style
    references and control units of the picture, put in the place of those that the form holds."""
    asked = record["request"]
    values = words(record, held, now)
    sizeless = {name: value for name, value in values.items() if name not in {"width", "height"}}
    return {
        **sizeless,
        **references.shown(asked),
        **units.brought(asked, {**held, **sizeless}),
    }
