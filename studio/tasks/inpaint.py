"""A part of a picture painted anew."""

from collections.abc import Iterator
from typing import Literal

from pydantic.dataclasses import dataclass

from studio.core.records import Picture
from studio.core.requests import STRICT, Strength
from studio.costs.work import Work
from studio.families._family import Role
from studio.tasks import _sampled
from studio.tasks._extras import extras
from studio.tasks._masked import Masked, Masking, view
from studio.tasks._over import repaint
from studio.tasks._references import shown
from studio.tasks._sampled import Sampled, brush, refiner
from studio.tasks._task import Facts, Resolved, Start, Task, Tools
from studio.tasks._units import controls, maps, refs

STARTS = {"noise": Start.NOISE, "nothing": Start.NOTHING}


# without slots, so that the task `control` can be this and image to image
@dataclass(frozen=True, kw_only=True, config=STRICT)
class Repainted(Masking, Sampled):
    """How a part of a picture is painted anew."""

    content: Literal["original", "fill", "noise", "nothing"] = "original"
    """What the masked part starts as: itself, the blurred colours around it, noise, or flat grey."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inpaint(Masked, Repainted):
    """Repaint what the mask covers. The result has the picture's size; width and height are what
    the area is painted in."""

    strength: Strength = 0.8
    """How much of the masked part is painted anew: 0 keeps it, 1 repaints it."""


def resolve(request: Inpaint, facts: Facts) -> Resolved:
    box, around = view(request, facts).box, facts.size(request.image)
    return _sampled.resolve_for(Role.INPAINT, request, facts, shape=box.size, around=around)


def run(request: Inpaint, tools: Tools) -> Iterator[Picture]:
    picture, seen = tools.picture(request.image), view(request, tools)
    size = (request.width or 0, request.height or 0)
    box = seen.shaped(size)
    drawn = maps(request.units, tools)
    steered = controls(request.units, drawn, size, picture=picture.size, box=box)
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
                picture,
                seen.mask,
                box,
                strength=request.strength,
                start=STARTS.get(request.content, Start.PICTURE),
                fill=request.content == "fill",
                index=index,
                pictures=request.count,
            )


def pictures(request: Inpaint) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            (request.image, request.mask, *refs(request.units), *shown(request.references))
        )
    )


def work(request: Inpaint) -> Work:
    return _sampled.work(request, request.strength)


TASK = Task(
    id="inpaint",
    label="Inpaint",
    request=Inpaint,
    resolve=resolve,
    run=run,
    pictures=pictures,
    work=work,
)
