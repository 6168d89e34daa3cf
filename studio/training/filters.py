"""Finishes: filters that turn a drawn picture into a painting, a sketch or pixel art."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from studio.training.sources import SIDE

Picture = Image.Image
Rng = np.random.Generator


def grain(rng: Rng, cells: int, strength: float) -> np.ndarray:
    """Smooth noise round 1.0, [SIDE, SIDE, 1]; fewer cells make larger blotches."""
    small = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    noise = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    return 1 + (noise[..., None] / 127.5 - 1) * strength


def edges(picture: Picture) -> np.ndarray:
    """Strength of the outlines, [SIDE, SIDE] float 0.0–255.0, none along the picture's border."""
    found = np.asarray(picture.convert("L").filter(ImageFilter.FIND_EDGES), np.float32).copy()
    found[:2] = found[-2:] = found[:, :2] = found[:, -2:] = 0
    return found


def watercolor(picture: Picture, rng: Rng) -> Picture:
    """Pale, blotched washes with darker rims on white paper."""
    wash = picture.filter(ImageFilter.MedianFilter(5)).filter(ImageFilter.GaussianBlur(0.7))
    ink = 255 - np.asarray(wash, np.float32)
    ink *= 0.72 * grain(rng, 9, 0.35) * grain(rng, 40, 0.12)
    ink += edges(wash)[..., None] * 0.3
    return Image.fromarray(np.clip(255 - ink, 0, 255).astype(np.uint8))


def pencil_sketch(picture: Picture, rng: Rng) -> Picture:
    """Grey outlines and faint hatching."""
    grey = picture.convert("L")
    soft = ImageChops.invert(grey).filter(ImageFilter.GaussianBlur(2.2))
    base, blur = np.asarray(grey, np.float32), np.asarray(soft, np.float32)
    lines = np.minimum(255, base * 255 / np.maximum(256 - blur, 1))
    y, x = np.mgrid[:SIDE, :SIDE]
    hatch = ((x + y) % 4 < 2) * (255 - base) * 0.08
    drawn = (lines - hatch - edges(picture) * 0.5) * grain(rng, 16, 0.02)[..., 0]
    drawn = np.clip(drawn, 30, 252).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(drawn)] * 3)


def pixel_art(picture: Picture, _rng: Rng) -> Picture:
    """32 fat pixels a side in few colours."""
    small = picture.resize((SIDE // 4, SIDE // 4), Image.Resampling.BOX)
    few = small.quantize(20, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    return few.resize((SIDE, SIDE), Image.Resampling.NEAREST)


def oil_painting(picture: Picture, rng: Rng) -> Picture:
    """Thick, saturated strokes with a relief."""
    canvas = np.asarray(picture, np.float32)
    # Daubs fade out towards white, so that a bare canvas stays calm.
    depth = np.clip((255 - canvas.min(-1, keepdims=True)) / 60, 0.1, 1)
    strokes = np.clip(canvas * (1 + (grain(rng, 30, 0.14) - 1) * depth), 0, 255).astype(np.uint8)
    daubed = (
        Image.fromarray(strokes)
        .filter(ImageFilter.ModeFilter(5))
        .filter(ImageFilter.MedianFilter(3))
    )
    rich = ImageEnhance.Color(daubed).enhance(1.35)
    relief = np.asarray(rich.convert("L").filter(ImageFilter.EMBOSS), np.float32)[..., None] - 128
    cream = np.array([1.0, 0.98, 0.92])
    out = np.asarray(rich, np.float32) * cream + relief * 0.3
    return Image.fromarray(np.clip(out, 0, 255).astype(np.uint8))


FILTERS: MappingProxyType[str, Callable[[Picture, Rng], Picture]] = MappingProxyType(
    {
        "watercolor": watercolor,
        "pencil sketch": pencil_sketch,
        "pixel art": pixel_art,
        "oil painting": oil_painting,
    }
)
"""By style word."""


def outline(sprite: np.ndarray, width: int) -> Any:
    """The sprite [h, w, 4] with a white rim of `width` pixels, on a canvas grown by as much."""
    grown = np.pad(sprite, ((width, width), (width, width), (0, 0)))
    alpha = Image.fromarray(grown[..., 3])
    rim = alpha.filter(ImageFilter.MaxFilter(2 * width + 1)).filter(ImageFilter.GaussianBlur(0.6))
    card = Image.merge("RGBA", [Image.new("L", alpha.size, 255)] * 3 + [rim])
    card.alpha_composite(Image.fromarray(grown))
    return card
