"""A picture continued beyond its edges."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from PIL import Image
from pydantic.dataclasses import dataclass

from studio.core import masks
from studio.core.errors import InvalidRequest
from studio.core.geometry import Box, Size
from studio.core.intake import MAX_PIXELS, MAX_SIDE_PX
from studio.core.masks import Mask
from studio.core.records import Picture
from studio.core.requests import STRICT, Feather, ImageRef, Strength
from studio.costs.work import Work
from studio.families._family import Role
from studio.tasks import _sampled
from studio.tasks._extras import extras
from studio.tasks._over import repaint
from studio.tasks._references import shown
from studio.tasks._sampled import Sampled, brush, refiner
from studio.tasks._task import Facts, Resolved, Task, Tools
from studio.tasks._units import controls, maps, refs

Side = Annotated[int, Ge(0), Le(4096)]
SIDES = ("left", "right", "top", "bottom")


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Outpaint(Sampled):
    """Add to a picture at its sides. The result is larger by what is added; width and height are
    what the area around the new part is painted in."""

    image: ImageRef
    """The picture: the ref of an upload, or the id of a picture in the gallery."""
    left: Side = 0
    """Pixels to add on the left."""
    right: Side = 0
    """Pixels to add on the right."""
    top: Side = 0
    """Pixels to add at the top."""
    bottom: Side = 0
    """Pixels to add at the bottom."""
    feather_px: Feather = 16
    """Pixels inside of the old edges over which old and new are mixed. All further in stays as it
    is, to the byte."""
    strength: Strength = 0.8
    """How freely the new part is painted: 0 only draws out the edges, 1 starts from noise."""


def resolve(request: Outpaint, facts: Facts) -> Resolved:
    size = facts.size(request.image)
    if not any(getattr(request, side) for side in SIDES):
        raise InvalidRequest(
            "Nothing is added on any side.",
            "Say how many pixels to add on the left, right, top or bottom.",
            field="left",
        )
    width, height = larger(request, size)
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise InvalidRequest(
            f"The picture would become {width}×{height} px, which is too large.",
            f"Keep it within {MAX_SIDE_PX} px a side and {MAX_PIXELS // 10**6} megapixels.",
            field=max(SIDES, key=lambda side: getattr(request, side)),
        )
    seen = looked_at(request, size)
    return _sampled.resolve_for(
        Role.INPAINT, request, facts, shape=seen.size, around=(width, height)
    )


def larger(request: Outpaint, size: Size) -> Size:
    """The size of the result."""
    return size[0] + request.left + request.right, size[1] + request.top + request.bottom


def looked_at(request: Outpaint, size: Size) -> Box:
    """What the painting sees: the new part with as much of the old one beside it, and more of it
    up to a square, so that little is not added without knowing to what."""
    width, height = larger(request, size)
    left, right, top, bottom = request.left, request.right, request.top, request.bottom
    box = Box(
        width - 2 * right if right and not (left or top or bottom) else 0,
        height - 2 * bottom if bottom and not (left or right or top) else 0,
        2 * left if left and not (right or top or bottom) else width,
        2 * top if top and not (left or right or bottom) else height,
    )
    return box.shaped(1.0, (width, height))


def run(request: Outpaint, tools: Tools) -> Iterator[Picture]:
    image = tools.picture(request.image)
    old = np.asarray(image)
    around = ((request.top, request.bottom), (request.left, request.right), (0, 0))
    drawn_out = Image.fromarray(np.pad(old, around, mode="edge"))
    mask = new_part(request, image.size)
    size = (request.width or 0, request.height or 0)
    box = looked_at(request, image.size).shaped(size[0] / size[1], drawn_out.size)
    drawn = maps(request.units, tools)
    steered = controls(request.units, drawn, size, picture=drawn_out.size, box=box)
    with tools.pipeline(
        request.checkpoint or "",
        Role.INPAINT,
        controls=request.nets,
        extras=extras(request),
        refiner=refiner(request),
    ) as painter:
        for index in range(request.count):
            yield repaint(
                painter,
                brush(request, index, steered),
                drawn_out,
                mask,
                box,
                strength=request.strength,
                fill=True,
                go_on=True,
                index=index,
                pictures=request.count,
            )


def new_part(request: Outpaint, size: Size) -> Mask:
    """The mask of what is added, feathered into the old picture."""
    width, height = larger(request, size)
    mask = np.full((height, width), 255, np.uint8)
    mask[request.top : request.top + size[1], request.left : request.left + size[0]] = 0
    return masks.effective(mask, invert=False, grow_px=0, feather_px=request.feather_px)


def pictures(request: Outpaint) -> tuple[str, ...]:
    return tuple(dict.fromkeys((request.image, *refs(request.units), *shown(request.references))))


def work(request: Outpaint) -> Work:
    return _sampled.work(request, request.strength)


TASK = Task(
    id="outpaint",
    label="Outpaint",
    request=Outpaint,
    resolve=resolve,
    run=run,
    pictures=pictures,
    work=work,
)
