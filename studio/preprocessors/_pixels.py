"""What several preprocessors do with pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float32]
"""[height, width], 0.0 … 1.0 unless said otherwise."""
Colours = NDArray[np.float32]
"""[height, width, 3]."""

LONGEST_PX = 4096
"""A picture whose longer side has more is looked at smaller, however thin it is."""


def scaled(
    image: Image.Image,
    detail_px: int,
    look: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    *,
    back: Image.Resampling = Image.Resampling.BICUBIC,
) -> Image.Image:
    """What `look` makes of the picture at `detail_px` of its shorter side, in the picture's size.

    `look` takes RGB and gives RGB or grey of the same size. A smaller picture is not enlarged.
    """
    share = min(1.0, detail_px / min(image.size), LONGEST_PX / max(image.size))
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    seen = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
    made = Image.fromarray(look(np.asarray(seen))).convert("RGB")
    return made if made.size == image.size else made.resize(image.size, back)


def lightness(pixels: NDArray[np.uint8]) -> Plane:
    """How light a person would say it is (L* of CIELAB)."""
    return (lab(pixels)[..., 0] / 100).astype(np.float32)


def lab(pixels: NDArray[np.uint8]) -> Colours:
    """CIELAB: L 0 … 100, a and b about -100 … 100. A distance of 2 can just be seen."""
    import cv2

    found: Any = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return found


def blurred(plane: Any, sigma: float) -> Any:
    import cv2

    return cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def bytes_of(plane: Any) -> NDArray[np.uint8]:
    """0.0 … 1.0 as 0 … 255."""
    return np.clip(np.rint(plane * 255), 0, 255).astype(np.uint8)


def spread(plane: Plane, low: float, high: float) -> Plane:
    """Stretched so that these percentiles become 0 and 1; flat stays all 0."""
    bottom, top = np.percentile(plane, (low, high))
    if top - bottom < 1e-6:
        return np.zeros_like(plane)
    return np.clip((plane - bottom) / (top - bottom), 0, 1).astype(np.float32)


def guided(guide: Plane, plane: Plane, radius: int, softness: float) -> Plane:
    """`plane` smoothed within `radius` pixels, but not across the edges of `guide`.

    `softness` is the variance of the guide below which there is no edge (He et al., Guided Image
    Filtering, 2010).
    """
    import cv2

    def mean(values: Any) -> Any:
        side = 2 * radius + 1
        return cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT)

    middle, wanted = mean(guide), mean(plane)
    slope = (mean(guide * plane) - middle * wanted) / (mean(guide * guide) - middle**2 + softness)
    offset = wanted - slope * middle
    return (mean(slope) * guide + mean(offset)).astype(np.float32)
