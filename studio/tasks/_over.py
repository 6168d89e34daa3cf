"""Painting over a picture: how it is fitted to the size it is painted in, and set back into it."""

from dataclasses import replace

import numpy as np
from PIL import Image

from studio.core import masks
from studio.core.geometry import Box, Size
from studio.core.masks import Mask, Pixels
from studio.core.records import Picture
from studio.tasks._task import Brush, Canvas, Painter, Start

WHITE = (255, 255, 255, 255)


def flat(image: Image.Image) -> Image.Image:
    """The picture as RGB; what is transparent lies on white."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image).convert("RGB")


def fitted(image: Image.Image, size: Size, way: str) -> Image.Image:
    """An RGB picture in exactly that size.

    `stretch` ignores its shape, `crop` cuts off what sticks out, `pad` shows all of it on its own
    edges, drawn out.
    """
    if image.size == size:
        return image
    if way == "stretch":
        return image.resize(size, Image.Resampling.LANCZOS)
    across, down = size[0] / image.width, size[1] / image.height
    scale = max(across, down) if way == "crop" else min(across, down)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    scaled = image.resize(inner, Image.Resampling.LANCZOS)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    if way == "crop":
        return scaled.crop((-left, -top, size[0] - left, size[1] - top))
    right, bottom = size[0] - inner[0] - left, size[1] - inner[1] - top
    padded = np.pad(np.asarray(scaled), ((top, bottom), (left, right), (0, 0)), mode="edge")
    return Image.fromarray(padded)


def repaint(
    painter: Painter,
    brush: Brush,
    picture: Image.Image,
    mask: Mask,
    box: Box,
    *,
    strength: float,
    start: Start = Start.PICTURE,
    fill: bool = False,
    go_on: bool = False,
    index: int,
    pictures: int,
) -> Picture:
    """The picture with the masked part of `box` painted anew in the brush's size and set back.

    With `fill` the masked part starts as the colours around it, with `go_on` it also takes over
    their tones. The result has the size of `picture`, and its bytes wherever the mask is 0.
    """
    old = np.asarray(picture)
    part = mask[box.top : box.bottom, box.left : box.right]
    below = np.asarray(flat(picture.crop(box.corners)))
    shown = masks.filled(below, part) if fill else below
    size = (brush.width, brush.height)
    canvas = Canvas(
        image=Image.fromarray(shown).resize(size, Image.Resampling.LANCZOS),
        strength=strength,
        mask=_painted(part, size),
        start=start,
    )
    made = painter.paint(brush, index=index, pictures=pictures, canvas=canvas)
    new = Image.frombytes("RGB", (made.width, made.height), made.pixels)
    new = new.resize(box.size, Image.Resampling.LANCZOS)
    fresh = np.asarray(new)
    tuned = masks.harmonised(fresh, shown, part) if go_on else masks.attuned(fresh, below, part)
    result: Pixels = old.copy()
    inner = old[box.top : box.bottom, box.left : box.right]
    result[box.top : box.bottom, box.left : box.right] = masks.mixed(inner, tuned, part)
    return replace(
        made,
        width=picture.width,
        height=picture.height,
        pixels=result.tobytes(),
        alpha=result.shape[-1] == 4,
        facts={
            **made.facts,
            "painted": {
                "box": list(box.corners),
                "size": list(size),
                "share": round(masks.share(mask), 4),
            },
        },
    )


def _painted(mask: Mask, size: Size) -> Image.Image:
    """The mask in the size of the canvas; what is touched at all stays touched."""
    touched = Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8))
    scaled = touched.resize(size, Image.Resampling.BOX)
    return scaled.point(lambda value: 255 if value else 0)
