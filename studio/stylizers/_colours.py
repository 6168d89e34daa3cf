"""Colours as people see them: CIELAB."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Images
from PIL.Image import Image

Lab = NDArray[np.float32]
"""[…, 3]: L 0 … 100, a and b about -100 … 100. A distance of 2 can just be seen."""


def lab(image: Image) -> Lab:
    import cv2

    found: Any = cv2.cvtColor(np.asarray(image, np.float32) / 255, cv2.COLOR_RGB2LAB)
    return found


def picture(colours: Lab) -> Image:
    """RGB; colours that a screen cannot show are cut off at what it can."""
    import cv2

    rgb: Any = cv2.cvtColor(np.ascontiguousarray(colours, np.float32), cv2.COLOR_LAB2RGB)
    return Images.fromarray(np.clip(np.rint(rgb * 255), 0, 255).astype(np.uint8))


def recoloured(image: Image, colours_of: Image) -> Image:
    """The light and dark of `image` in the hues of `colours_of`, which has its size."""
    light, hues = lab(image), lab(colours_of)
    return picture(np.concatenate([light[..., :1], hues[..., 1:]], axis=-1))


def faded(image: Image, towards: Image, share: float) -> Image:
    """0.0 is `image`, 1.0 is `towards`, both to the byte."""
    if share <= 0:
        return image
    return towards if share >= 1 else Images.blend(image, towards, share)
