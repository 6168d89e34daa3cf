"""What a canvas of assets/ui must know of its form, beside the pictures in it."""

import html
import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.ui.form import Choices, Now, Piece, Updates, Values
from studio.ui.widgets.names import UNSEEN, named


def told(tab: str, names: tuple[str, ...], facts: Mapping[str, Any] | None = None) -> Piece:
    """Tells the script of a canvas these values of the form, and `facts`: see canvas-form.js.

    What a person changes the script sees by itself, in the controls `<tab>-<name>`; this tells it
    what the server writes.
    """
    readout = gr.HTML(_readout(facts or {}), visible="hidden", **named(tab, "values", UNSEEN))

    def defaults(choices: Choices) -> Values:
        return {}

    def dress(values: Values, now: Now) -> Updates:
        said = {name: values.get(name) for name in names} | dict(facts or {})
        return {readout: gr.update(value=_readout(said))}

    return Piece(widgets={}, defaults=defaults, dress=dress, dressed=(readout,))


def _readout(values: Mapping[str, Any]) -> str:
    return f'<div data-values="{html.escape(json.dumps(values))}"></div>'
