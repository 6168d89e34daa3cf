"""Blur: colours and light without any outline."""

from typing import Annotated

from annotated_types import Ge, Le
from PIL import ImageFilter
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._preprocessor import Kind, Map, Preprocessor
from studio.preprocessors._stopping import Check, wanted


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Blur:
    sigma_px: Annotated[float, Ge(0.5), Le(100)] = 9.0
    """Pixels of the picture over which it is smeared (standard deviation)."""


def run(image: Image, params: Blur, check: Check = wanted) -> Map:
    return Map(image.filter(ImageFilter.GaussianBlur(params.sigma_px)))


PREPROCESSOR = Preprocessor(
    id="blur",
    label="Blur",
    about="The picture out of focus: keeps colours and light, frees every outline.",
    kind=Kind.TILE,
    params=Blur,
    run=run,
)
