"""Painted anew by a checkpoint that looks at the style while it paints (StyleAligned)."""

from typing import Any

from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.stylizers._stylizer import Repaint, Stylizer


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Shared:
    """Nothing to set."""


def repaint(params: Any) -> Repaint:
    return Repaint(reference="shared")


STYLIZER = Stylizer(
    id="shared",
    label="Shared attention",
    place=50,
    about="Paints the picture anew while looking at the style; works with any Stable Diffusion "
    "checkpoint.",
    params=Shared,
    repaint=repaint,
)
