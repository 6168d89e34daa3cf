"""The contract of a tab."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.ui.form import Choices, Form, Now, Values


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a tab may use while it is built."""

    choices: Choices


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """What a picture becomes in a form that it is sent to."""

    values: dict[str, Any]
    notes: tuple[str, ...] = ()
    """What of it the form cannot take, a sentence each."""


def _empty(data: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def _none(values: Values) -> tuple[dict[str, Any], ...]:
    return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Tab:
    """An entry of the drawer `ui/tabs/`."""

    id: str
    label: str
    place: int
    """Order in the bar, from the left."""
    build: Callable[[Context], Form | None]
    """Draws the tab; runs once, inside the page being built. None if there is nothing to submit."""
    task: str | None = None
    """Id of the task that its form asks for."""
    invitation: str = "Say what you would like to see, then press Generate or Ctrl + Enter."
    """Stands where the first picture will be."""
    to_requests: Callable[[Values], tuple[dict[str, Any], ...]] = _none
    """Form values → fields of the task's requests, a job each. Pure. Raises `InvalidRequest`."""
    from_record: Callable[[Mapping[str, Any]], dict[str, Any]] = _empty
    """A picture's record as JSON → form values that make it again. Pure."""
    from_settings: Callable[[Mapping[str, Any]], dict[str, Any]] = _empty
    """Request fields of doubtful origin → form values; what does not fit is left out. Pure."""
    from_picture: Callable[[Mapping[str, Any], Values, Now], Arrival] | None = None
    """A picture's record, and what the form holds → what the form holds that starts from that
    picture. Pure. With it, the tab is offered under "Send to …"."""
