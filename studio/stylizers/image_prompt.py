"""Painted anew by a checkpoint that is told the style as it is told words (IP-Adapter, Redux)."""

from typing import Any, Literal

from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.stylizers._stylizer import Repaint, Stylizer


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImagePrompt:
    takes: Literal["style", "composition", "all"] = "style"
    """What is taken from the style pictures: their style, where things are in them, or all. Redux
    always takes all."""


def repaint(params: Any) -> Repaint:
    return Repaint(reference="adapter", takes=params.takes)


STYLIZER = Stylizer(
    id="image_prompt",
    label="Image prompt",
    place=60,
    about="Paints the picture anew with the style as part of the prompt; needs an IP-Adapter for "
    "the checkpoint, or Redux for FLUX.1.",
    params=ImagePrompt,
    repaint=repaint,
)
