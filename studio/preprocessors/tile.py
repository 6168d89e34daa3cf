"""Tile: the picture without its fine detail, for a ControlNet that puts it back."""

from typing import Annotated

from annotated_types import Ge, Le
from PIL.Image import Image, Resampling
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._preprocessor import Kind, Map, Preprocessor
from studio.preprocessors._stopping import Check, wanted


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tile:
    factor: Annotated[float, Ge(1), Le(16)] = 4.0
    """How many times smaller the picture is made before it is enlarged again; 1 leaves it as it
    is."""


def run(image: Image, params: Tile, check: Check = wanted) -> Map:
    small = (
        max(1, round(image.width / params.factor)),
        max(1, round(image.height / params.factor)),
    )
    # BOX takes the mean of what falls together; nothing rings, as in a photo taken from far off
    return Map(image.resize(small, Resampling.BOX).resize(image.size, Resampling.BICUBIC))


PREPROCESSOR = Preprocessor(
    id="tile",
    label="Tile",
    about="The picture without fine detail, for ControlNets that add it anew.",
    kind=Kind.TILE,
    params=Tile,
    run=run,
)
