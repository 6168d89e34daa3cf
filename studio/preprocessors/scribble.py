"""Scribble without weights: the few lines that somebody would draw with a marker."""

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._lines import flow, joined, thinned
from studio.preprocessors._pixels import lightness, scaled
from studio.preprocessors._preprocessor import Detail, Kind, Map, Preprocessor
from studio.preprocessors._stopping import Check, wanted
from studio.preprocessors.soft_edges import edges


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Scribble(Detail):
    width_px: Annotated[int, Ge(1), Le(16)] = 5
    """Width of the strokes, in pixels of what is looked at."""
    coarse: Annotated[float, Ge(1), Le(8)] = 3.5
    """The finest scale that is drawn, in pixels of what is looked at."""
    least: Annotated[float, Ge(0.01), Le(1)] = 0.25
    """How strong an edge must be to be drawn; less draws more."""


def run(image: Image, params: Scribble, check: Check = wanted) -> Map:
    def look(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import cv2

        found = edges(pixels, params.coarse, check)
        check()
        crest = thinned(found, flow(lightness(pixels), params.coarse * 1.5))
        longest = max(6, round(min(found.shape) / 25))
        check()
        lines = joined(crest, low=params.least * 0.6, high=params.least, least_px=longest)
        side = params.width_px
        round_tip: Any = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        thick: Any = cv2.dilate(lines.astype(np.uint8) * 255, round_tip)
        smooth: Any = cv2.GaussianBlur(thick, (0, 0), side / 3)
        return np.where(smooth > 127, 255, 0).astype(np.uint8)

    return Map(scaled(image, params.detail_px, look))


PREPROCESSOR = Preprocessor(
    id="scribble",
    label="Scribble",
    about="A few thick strokes, white on black: leaves most to the prompt; needs no weights.",
    kind=Kind.EDGES,
    soft=True,
    params=Scribble,
    run=run,
)
