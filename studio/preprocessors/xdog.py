"""Line art without weights: an extended difference of Gaussians along the lines."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._lines import ink
from studio.preprocessors._pixels import bytes_of, lightness, scaled
from studio.preprocessors._preprocessor import Detail, Kind, Map, Preprocessor
from studio.preprocessors._stopping import Check, wanted


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Xdog(Detail):
    width_px: Annotated[float, Ge(0.5), Le(8)] = 1.6
    """Width of the lines, in pixels of what is looked at. More also draws coarser."""
    sharpness: Annotated[float, Ge(1), Le(100)] = 12
    """How hard lines begin: 1 is a soft pencil, 100 is ink."""
    least: Annotated[float, Ge(0), Le(0.1)] = 0.006
    """How dark a dip must be beside what is around it (1 is black beside white). Less draws more."""


def run(image: Image, params: Xdog, check: Check = wanted) -> Map:
    def look(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        light = lightness(pixels)
        drawn = ink(
            light,
            width=params.width_px,
            sharpness=params.sharpness,
            least=params.least,
            check=check,
        )
        return bytes_of(drawn)

    return Map(scaled(image, params.detail_px, look))


PREPROCESSOR = Preprocessor(
    id="xdog",
    label="Line art",
    about="Lines as a pen would draw them, white on black; needs no weights.",
    kind=Kind.EDGES,
    params=Xdog,
    run=run,
)
