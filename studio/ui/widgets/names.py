"""How the page's elements are called, so that scripts, styles and tests find them."""

from typing import Any

UNSEEN = "unseen"
"""The class of what is not for eyes, also where Gradio shows the part again that it lies in, and
with it everything that is hidden in there."""


def named(tab: str, control: str, *more: str) -> dict[str, Any]:
    """The id of a control, which is its own, and its class, which it shares with other tabs."""
    return {"elem_id": f"{tab}-{control}", "elem_classes": [f"control-{control}", *more]}
