"""A picture from a picture and words."""

from collections.abc import Iterator
from typing import Literal

from pydantic.dataclasses import dataclass

from studio.core.records import Picture
from studio.core.requests import STRICT, ImageRef, Strength
from studio.costs.work import Work
from studio.families._family import Role
from studio.tasks import _sampled
from studio.tasks._extras import extras
from studio.tasks._over import fitted, flat
from studio.tasks._references import shown
from studio.tasks._sampled import Sampled, brush, refiner
from studio.tasks._task import Canvas, Facts, Resolved, Task, Tools
from studio.tasks._units import controls, maps, refs


# without slots, so that the task `control` can be this and inpainting
@dataclass(frozen=True, kw_only=True, config=STRICT)
class PaintedOver(Sampled):
    """How a picture is painted over."""

    resize: Literal["stretch", "crop", "pad"] = "crop"
    """How the picture is brought to width and height: pulled, cut at the sides, or its edges drawn
    out. Without width and height they are of the picture's shape."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Img2Img(PaintedOver):
    """Paint over a picture. What is transparent in it lies on white."""

    image: ImageRef
    """The picture to start from: the ref of an upload, or the id of a picture in the gallery."""
    strength: Strength = 0.6
    """How much is painted anew: 0 keeps the picture, 1 repaints it."""


def resolve(request: Img2Img, facts: Facts) -> Resolved:
    return _sampled.resolve_for(Role.IMAGE, request, facts, shape=facts.size(request.image))


def run(request: Img2Img, tools: Tools) -> Iterator[Picture]:
    size = (request.width or 0, request.height or 0)
    image = fitted(flat(tools.picture(request.image)), size, request.resize)
    canvas = Canvas(image=image, strength=request.strength)
    steered = controls(request.units, maps(request.units, tools), size)
    with tools.pipeline(
        request.checkpoint or "",
        Role.IMAGE,
        controls=request.nets,
        extras=extras(request),
        refiner=refiner(request),
    ) as painter:
        for index in range(request.count):
            yield painter.paint(
                brush(request, index, steered), index=index, pictures=request.count, canvas=canvas
            )


def pictures(request: Img2Img) -> tuple[str, ...]:
    return tuple(dict.fromkeys((request.image, *refs(request.units), *shown(request.references))))


def work(request: Img2Img) -> Work:
    return _sampled.work(request, request.strength)


TASK = Task(
    id="img2img",
    label="Image to image",
    request=Img2Img,
    resolve=resolve,
    run=run,
    pictures=pictures,
    work=work,
)
