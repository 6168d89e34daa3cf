"""Canny: thin, hard edges."""

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._pixels import scaled
from studio.preprocessors._preprocessor import Detail, Kind, Map, Preprocessor
from studio.preprocessors._stopping import Check, wanted

Threshold = Annotated[int, Ge(1), Le(1000)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Canny(Detail):
    low: Threshold = 100
    """How steep a step must be to go on a line that has begun. Less shows more."""
    high: Threshold = 200
    """How steep a step must be to begin a line. Less shows more."""


def run(image: Image, params: Canny, check: Check = wanted) -> Map:
    low, high = sorted((params.low, params.high))

    def look(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import cv2

        edges: Any = cv2.Canny(np.ascontiguousarray(pixels), low, high)
        return edges

    return Map(scaled(image, params.detail_px, look))


PREPROCESSOR = Preprocessor(
    id="canny",
    label="Canny",
    about="Thin hard edges, white on black: holds outlines exactly.",
    kind=Kind.EDGES,
    params=Canny,
    run=run,
)
