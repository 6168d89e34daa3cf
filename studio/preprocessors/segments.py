"""Segments without weights: areas of one colour each."""

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from PIL.Image import Image, Resampling
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._areas import areas, means
from studio.preprocessors._pixels import scaled
from studio.preprocessors._preprocessor import Detail, Kind, Map, Preprocessor
from studio.preprocessors._stopping import Check, wanted


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Segments(Detail):
    likeness: Annotated[float, Ge(1), Le(60)] = 4.0
    """Colour distance up to which neighbours belong together; more makes fewer areas."""
    least: Annotated[float, Ge(0), Le(0.1)] = 0.002
    """Share of the picture below which an area joins its neighbour."""


def run(image: Image, params: Segments, check: Check = wanted) -> Map:
    def look(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        labels = areas(pixels, likeness=params.likeness, least=params.least, check=check)
        colours: Any = means(pixels.astype(np.float32), labels)
        return np.clip(np.rint(colours[labels]), 0, 255).astype(np.uint8)

    return Map(scaled(image, params.detail_px, look, back=Resampling.NEAREST))


PREPROCESSOR = Preprocessor(
    id="segments",
    label="Areas of colour",
    about="Flat areas in their mean colour: tells what belongs together, not what it is.",
    kind=Kind.SEGMENTS,
    params=Segments,
    run=run,
)
