"""A form whose values are read and written by name, never by position.

A form is made of pieces: widgets that belong together, what they hold untouched, what they look
like for the values that the whole form holds, and what happens when somebody uses them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block, BlockContext
from gradio.components import Component

from studio.core.geometry import Size

Values = Mapping[str, Any]
"""What the widgets of a form hold, by name. Plain JSON data."""
Choices = Mapping[str, Any]
"""What there is to choose from: `Studio.offers()`."""
Updates = dict[Block, Any]
"""What Gradio is to change, by widget."""


def _no_picture(ref: str) -> Size | None:
    return None


def _no_job(task: str) -> Values | None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Now:
    """What is there at this moment, for the person whose page it is."""

    choices: Choices
    size_of: Callable[[str], Size | None] = _no_picture
    """Of a picture by its ref, upright; None if it is gone."""
    last_request: Callable[[str], Values | None] = _no_job
    """What was asked for last of a task, resolved; None if nothing was."""


def _as_it_is(values: Values, now: Now) -> Updates:
    return {}


def unchanged(values: Values, now: Now) -> Values:
    """Only what is shown for the values changes."""
    return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Follow:
    """What the form becomes when something happens to one of its controls."""

    event: Callable[..., Any]
    """An event of a component: `button.click`."""
    change: Callable[[Values, Now], Values]
    """What the form and its steering hold → what of it is different from now on. Pure."""
    name: str
    """For the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Widgets of a form that belong together."""

    widgets: Mapping[str, Component]
    defaults: Callable[[Choices], Values]
    """What they hold untouched: a value for each."""
    dress: Callable[[Values, Now], Updates] = _as_it_is
    """Everything about the components that follows from the values of the whole form: what is
    hidden, which choices there are, what a readout says. Values of widgets are not its business."""
    dressed: tuple[Component | BlockContext, ...] = ()
    """Components beside the widgets that `dress` changes."""
    steering: Mapping[str, Component] | None = None
    """Controls that only change others, such as a preset: a `Follow` reads them by name."""
    follows: tuple[Follow, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """The widgets of one tab."""

    generate: gr.Button
    """The button that asks for the pictures."""
    pieces: tuple[Piece, ...]

    @property
    def widgets(self) -> dict[str, Component]:
        return {name: widget for piece in self.pieces for name, widget in piece.widgets.items()}

    @property
    def steering(self) -> dict[str, Component]:
        return {name: one for piece in self.pieces for name, one in (piece.steering or {}).items()}

    @property
    def inputs(self) -> set[Component | BlockContext]:
        return set(self.widgets.values())

    @property
    def outputs(self) -> set[Component | BlockContext]:
        return {*self.widgets.values(), *(one for piece in self.pieces for one in piece.dressed)}

    def defaults(self, choices: Choices) -> dict[str, Any]:
        """What an untouched form holds: a value for every widget."""
        return {
            name: value for piece in self.pieces for name, value in piece.defaults(choices).items()
        }

    def dress(self, values: Values, now: Now) -> Updates:
        return {
            block: update
            for piece in self.pieces
            for block, update in piece.dress(values, now).items()
        }

    def read(self, data: Mapping[Component, Any]) -> dict[str, Any]:
        """What the page sent, by name."""
        return {name: data.get(widget) for name, widget in self.widgets.items()}

    def write(self, values: Values, now: Now, over: Values | None = None) -> Updates:
        """Puts `values` into the form; a name that the form does not have is left out, and so is
        what its widget cannot show. What a piece's `dress` says of a value counts more.

        Widgets without a value keep theirs, which are those of `over`, or else their defaults.
        """
        widgets = self.widgets
        known = {
            name: kept
            for name, value in values.items()
            if name in widgets and (kept := shown_by(widgets[name], value)) is not None
        }
        updates = self.dress({**self.defaults(now.choices), **(over or {}), **known}, now)
        for name, value in known.items():
            updates[widgets[name]] = {**gr.update(value=value), **updates.get(widgets[name], {})}
        return updates

    def news(self, updates: Updates) -> Updates:
        """Of `updates` what a page that was just built does not show yet."""
        fresh = {block: _changes(block, update) for block, update in updates.items()}
        if any("visible" in fresh[block] for block in fresh if isinstance(block, BlockContext)):
            # when Gradio shows a part again, it shows what is hidden in it, too
            for block, update in updates.items():
                fresh[block] |= {key: update[key] for key in ("visible",) if key in update}
        return {block: {**gr.update(), **changes} for block, changes in fresh.items() if changes}

    def follows(self) -> dict[Callable[[Values, Now], Values], list[Follow]]:
        """What its pieces want to happen, by the change that it makes: those with the same change
        are one thing that several controls do."""
        found: dict[Callable[[Values, Now], Values], list[Follow]] = {}
        for piece in self.pieces:
            for one in piece.follows:
                found.setdefault(one.change, []).append(one)
        return found


def _changes(block: Block, update: Mapping[str, Any]) -> dict[str, Any]:
    nothing = object()
    return {
        key: value
        for key, value in update.items()
        if key != "__type__" and getattr(block, key, nothing) != value
    }


def shown_by(widget: Component, value: Any) -> Any:
    """The value as the widget can show it: a number within its bounds; None for what is not among
    its choices."""
    if isinstance(widget, gr.Slider | gr.Number):
        low, high = widget.minimum, widget.maximum
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        value = value if low is None else max(low, value)
        return value if high is None else min(high, value)
    if isinstance(widget, gr.Radio):
        return value if value in {choice for _, choice in widget.choices} else None
    return value
