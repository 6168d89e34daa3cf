"""Depth without weights: an estimate from position, haze, blur and what covers what."""

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._depth import estimated
from studio.preprocessors._pixels import bytes_of, scaled
from studio.preprocessors._preprocessor import Detail, Kind, Map, Preprocessor
from studio.preprocessors._stopping import Check, wanted


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DepthEstimate(Detail):
    invert: bool = False
    """White is far instead of near."""


def run(image: Image, params: DepthEstimate, check: Check = wanted) -> Map:
    def look(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        near = estimated(pixels, check)
        return bytes_of(1 - near if params.invert else near)

    return Map(scaled(image, params.detail_px, look))


PREPROCESSOR = Preprocessor(
    id="depth_estimate",
    label="Depth (estimate)",
    about="A guess at depth from position, haze, blur and overlap, white is near: right about the "
    "ground and what stands on it, easily wrong elsewhere. Needs no weights.",
    kind=Kind.DEPTH,
    params=DepthEstimate,
    run=run,
)
