"""The colours of a style, and nothing else of it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.stylizers._colours import faded, lab, picture
from studio.stylizers._stylizer import NOBODY, Style, Stylizer, Watch

LOOKED_AT_PX = 256
"""Longest side at which colours are counted."""
FLAT = 1.0
"""Variance below which a picture has no spread of colours to stretch."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Colours:
    """Nothing to set."""


def run(
    image: Image,
    styles: tuple[Style, ...],
    strength: float,
    params: Colours,
    watch: Watch = NOBODY,
) -> Image:
    if strength <= 0:
        return image
    watch.tell(0, 1, None)
    middle, spread = _statistics([(image, 1.0)])
    wanted, wanted_spread = _statistics([(style.image, style.weight) for style in styles])
    watch.check()
    moved = (lab(image) - middle) @ _turn(spread, wanted_spread) + wanted
    return faded(image, picture(moved.astype(np.float32)), strength)


def _statistics(images: list[tuple[Image, float]]) -> tuple[Any, Any]:
    """Mean colour and covariance of pictures, each counted by its weight."""
    shares, colours = [], []
    for image, weight in images:
        small = image.copy()
        small.thumbnail((LOOKED_AT_PX, LOOKED_AT_PX))
        found = lab(small).reshape(-1, 3).astype(np.float64)
        colours.append(found)
        shares.append(np.full(len(found), weight / len(found)))
    share, all_colours = np.concatenate(shares), np.concatenate(colours)
    middle = share @ all_colours
    apart = all_colours - middle
    return middle, (apart * share[:, None]).T @ apart + FLAT * np.eye(3)


def _turn(spread: Any, wanted: Any) -> NDArray[np.float64]:
    """The least change that gives colours of one covariance another one (Pitié and Kokaram, The
    Linear Monge-Kantorovitch Linear Colour Mapping, 2007)."""
    root = _power(spread, 0.5)
    inverse = _power(spread, -0.5)
    return inverse @ _power(root @ wanted @ root, 0.5) @ inverse


def _power(matrix: Any, exponent: float) -> Any:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-9) ** exponent) @ vectors.T


STYLIZER = Stylizer(
    id="colours",
    label="Colours",
    place=20,
    about="Gives the picture the colours and contrast of the style; nothing is painted anew.",
    params=Colours,
    run=run,
)
