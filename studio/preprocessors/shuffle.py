"""Shuffle: the colours and textures of a picture, stirred."""

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from PIL import Image as Images
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._preprocessor import Kind, Map, Preprocessor
from studio.preprocessors._stopping import Check, wanted


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Shuffle:
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0
    """Each number stirs in another way."""
    pieces: Annotated[int, Ge(2), Le(32)] = 4
    """Bends along a side: more makes smaller pieces."""


def run(image: Image, params: Shuffle, check: Check = wanted) -> Map:
    import cv2

    random = np.random.default_rng(params.seed)
    x = _field(random, params.pieces, image) * (image.width - 1)
    y = _field(random, params.pieces, image) * (image.height - 1)
    check()
    stirred: Any = cv2.remap(
        np.asarray(image), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return Map(Images.fromarray(stirred))


def _field(random: np.random.Generator, pieces: int, image: Image) -> NDArray[np.float32]:
    """Smooth hills and valleys over the picture, 0.0 … 1.0, each height about as often."""
    import cv2

    coarse = random.random((pieces + 3, pieces + 3)).astype(np.float32)
    fine: Any = cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC)
    even = np.argsort(np.argsort(fine, axis=None), axis=None).reshape(fine.shape)
    share = (even / (even.size - 1)).astype(np.float32)
    grown: Any = cv2.resize(share, image.size, interpolation=cv2.INTER_LINEAR)
    return grown


PREPROCESSOR = Preprocessor(
    id="shuffle",
    label="Shuffle",
    about="Colours and textures of the picture, stirred: its palette without its shapes.",
    kind=Kind.SHUFFLE,
    params=Shuffle,
    run=run,
)
