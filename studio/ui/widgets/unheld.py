"""What a picture was painted with that a form has no place for."""

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Any

_CALLED = MappingProxyType(
    {
        "image": "the picture it was painted over",
        "mask": "its mask",
        "units": "its control units",
        "references": "its style reference",
        "hires": "its second pass",
    }
)
"""Parts of a request that not every form has, by the names of field and widget."""


def unheld(asked: Mapping[str, Any], widgets: Container[str]) -> tuple[str, ...]:
    """A sentence for the parts of a request that a form with these widgets cannot show."""
    lost = [words for name, words in _CALLED.items() if asked.get(name) and name not in widgets]
    if not lost:
        return ()
    *most, last = lost
    listed = f"{', '.join(most)} and {last}" if most else last
    return (f"This form has no place for {listed}.",)
