"""A poster: flat areas in a few colours of the style."""

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from PIL import Image as Images
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.stylizers._colours import Lab, faded, lab, picture
from studio.stylizers._stylizer import NOBODY, Style, Stylizer, Watch

LOOKED_AT_PX = 128
ROUNDS = 24
LIGHT_WEIGHT = 1.6
"""How much more light and dark decide than hue about which colour an area gets."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Poster:
    colours: Annotated[int, Ge(2), Le(24)] = 8
    """How many colours are taken from the style."""
    smooth: Annotated[float, Ge(0), Le(1)] = 0.5
    """How far small things are left out: 0 keeps all, 1 keeps only large areas."""


def run(
    image: Image,
    styles: tuple[Style, ...],
    strength: float,
    params: Poster,
    watch: Watch = NOBODY,
) -> Image:
    import cv2

    if strength <= 0:
        return image
    palette = _palette(styles, params.colours)
    pixels: Any = np.asarray(image)
    if params.smooth > 0:
        radius = max(1.0, min(image.size) / 60 * params.smooth)
        pixels = cv2.pyrMeanShiftFiltering(pixels, radius, 10 + 30 * params.smooth)
    flat = lab(Images.fromarray(pixels))
    flat[..., 0] = _levelled(flat[..., 0], palette)
    scale = np.array([LIGHT_WEIGHT, 1, 1], np.float32)
    nearest = _nearest(flat.reshape(-1, 3) * scale, palette * scale)
    made = picture(palette[nearest].reshape(flat.shape))
    return faded(image, made, strength)


def _palette(styles: tuple[Style, ...], count: int) -> Lab:
    """The colours that stand for the styles, from dark to light (k-means)."""
    samples, shares = [], []
    for style in styles:
        small = style.image.resize((LOOKED_AT_PX, LOOKED_AT_PX), Images.Resampling.BOX)
        found = lab(small).reshape(-1, 3)
        samples.append(found)
        shares.append(np.full(len(found), style.weight))
    colours, share = np.concatenate(samples), np.concatenate(shares)
    order = np.argsort(colours[:, 0], kind="stable")
    # begun at even steps from dark to light, so that it needs no dice
    centres = colours[order[np.linspace(0, len(order) - 1, count).round().astype(int)]].copy()
    for _ in range(ROUNDS):
        nearest = _nearest(colours, centres)
        weight = np.bincount(nearest, share, minlength=count)
        for axis in range(3):
            total = np.bincount(nearest, share * colours[:, axis], minlength=count)
            centres[:, axis] = np.where(
                weight > 0, total / np.maximum(weight, 1e-9), centres[:, axis]
            )
    return centres[np.argsort(centres[:, 0], kind="stable")]


def _levelled(light: Any, palette: Lab) -> Any:
    """Light and dark stretched to those of the palette."""
    low, high = np.percentile(light, (2, 98))
    share = np.clip((light - low) / max(high - low, 1e-3), 0, 1)
    return palette[0, 0] + share * (palette[-1, 0] - palette[0, 0])


def _nearest(colours: Any, centres: Any) -> Any:
    found = np.empty(len(colours), np.int64)
    step = 1 << 18  # some MB at a time
    for start in range(0, len(colours), step):
        part = colours[start : start + step]
        found[start : start + step] = (
            ((part[:, None] - centres[None]) ** 2).sum(axis=-1).argmin(axis=1)
        )
    return found


STYLIZER = Stylizer(
    id="poster",
    label="Poster",
    place=30,
    about="Flat areas in a few colours of the style, as a print of few inks.",
    params=Poster,
    run=run,
)
