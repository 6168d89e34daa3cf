"""Painted anew from words, with styles in words if wanted."""

from typing import Any

from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.stylizers._stylizer import Repaint, Stylizer


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Words:
    """Nothing to set."""


def repaint(params: Any) -> Repaint:
    return Repaint()


STYLIZER = Stylizer(
    id="words",
    label="In words",
    place=40,
    about="Paints the picture anew from a prompt and styles in words; no style picture is needed.",
    params=Words,
    repaint=repaint,
)
