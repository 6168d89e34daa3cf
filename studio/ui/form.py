"""A form whose values are read and written by name, never by position."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

Values = Mapping[str, Any]
"""What the widgets of a form hold, by name. Plain JSON data."""
Choices = Mapping[str, Any]
"""What there is to choose from: `Studio.choices()`."""
Updates = dict[Block, Any]
"""What Gradio is to change, by widget."""


def _nothing(values: Values, choices: Choices) -> Updates:
    return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """The widgets of one tab."""

    widgets: Mapping[str, Component]
    generate: Component
    """The button that asks for the pictures."""
    defaults: Callable[[Choices], Values]
    """What an untouched form holds. Holds a value for every widget."""
    dress: Callable[[Values, Choices], Updates] = _nothing
    """Everything about the widgets that follows from the values: what is hidden, which choices
    there are, what a readout says. Values themselves are not its business."""
    dressed: tuple[Component, ...] = ()
    """Components beside the widgets that `dress` changes."""

    @property
    def inputs(self) -> set[Component]:
        return set(self.widgets.values())

    @property
    def outputs(self) -> set[Component]:
        return {*self.widgets.values(), *self.dressed}

    def read(self, data: Mapping[Component, Any]) -> dict[str, Any]:
        """What the page sent, by name."""
        return {name: data.get(widget) for name, widget in self.widgets.items()}

    def write(self, values: Values, choices: Choices) -> Updates:
        """Puts `values` into the form; a name that the form does not have is left out.

        Widgets without a value keep theirs, and are dressed for their default.
        """
        known = {name: value for name, value in values.items() if name in self.widgets}
        updates = self.dress({**self.defaults(choices), **known}, choices)
        for name, value in known.items():
            widget = self.widgets[name]
            updates[widget] = {**updates.get(widget, gr.update()), "value": value}
        return updates
