"""How the page's elements are called, so that scripts, styles and tests find them."""

from typing import Any


def named(tab: str, control: str, *more: str) -> dict[str, Any]:
    """The id of a control, which is its own, and its class, which it shares with other tabs."""
    return {"elem_id": f"{tab}-{control}", "elem_classes": [f"control-{control}", *more]}
