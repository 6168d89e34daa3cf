"""Soft edges without weights: what is an edge at several scales, thin where it is sure."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._lines import along, flow, strength, thinned
from studio.preprocessors._pixels import blurred, bytes_of, lab, lightness, scaled
from studio.preprocessors._preprocessor import Detail, Kind, Map, Preprocessor
from studio.preprocessors._stopping import Check, wanted

FULL = 12.0
"""Colour distance a pixel (times the scale) of an edge that is drawn in full white."""
GRAIN = 0.6
"""As much of it, everywhere, is grain and folds."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SoftEdges(Detail):
    coarse: Annotated[float, Ge(1), Le(8)] = 2.0
    """The finest scale in pixels of what is looked at; more leaves texture out."""
    gain: Annotated[float, Ge(0.1), Le(10)] = 1.0
    """How bright edges are; more shows faint ones."""


def edges(pixels: NDArray[np.uint8], coarse: float, check: Check = wanted) -> NDArray[np.float32]:
    """0.0 … about 1.0: how sure an edge runs through each pixel."""
    found = strength(lab(pixels), (coarse * 0.7, coarse * 1.4, coarse * 2.8), check)
    way = flow(lightness(pixels), coarse * 1.5)
    found = along(found, way, round(3 * coarse), check)
    found = np.clip(found - GRAIN, 0, None)
    crest = blurred(thinned(found, way), 0.8) * 1.8
    return ((0.75 * crest + 0.35 * found) / FULL).astype(np.float32)


def run(image: Image, params: SoftEdges, check: Check = wanted) -> Map:
    def look(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        found = edges(pixels, params.coarse, check) * params.gain
        # faint edges are lifted as HED's are, strong ones do not clip
        return bytes_of(1 - np.exp(-1.6 * found))

    return Map(scaled(image, params.detail_px, look))


PREPROCESSOR = Preprocessor(
    id="soft_edges",
    label="Soft edges",
    about="Edges from faint to sure, with room to paint between them; needs no weights.",
    kind=Kind.EDGES,
    soft=True,
    params=SoftEdges,
    run=run,
)
