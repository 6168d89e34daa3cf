"""A picture steered by maps: from words, over a picture, or into a masked part of one."""

from collections.abc import Iterator
from dataclasses import fields, replace

from pydantic.dataclasses import dataclass

from studio.core.errors import InvalidRequest
from studio.core.records import Picture
from studio.core.requests import STRICT, ImageRef, Strength
from studio.costs.work import Work
from studio.tasks import img2img, inpaint, txt2img
from studio.tasks._task import Facts, Resolved, Task, Tools


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Control(img2img.PaintedOver, inpaint.Repainted):
    """Paint under control of one to four maps: from words, over `image`, or into the `mask` of
    it."""

    image: ImageRef | None = None
    """A picture to paint over; without one it starts at pure noise."""
    mask: ImageRef | None = None
    """What of the picture is repainted: white. Without one, all of it."""
    strength: Strength | None = None
    """How much of the picture is painted anew: 0 keeps it, 1 repaints it. The default is that of
    painting over a picture, or into a masked part of it."""
    hires: txt2img.Hires | None = None
    """A second pass at a larger size, where it starts at pure noise."""


def resolve(request: Control, facts: Facts) -> Resolved:
    if not request.units:
        raise InvalidRequest(
            "There is no control unit.",
            "Add one to 'units': a picture or a map, and what it shows.",
            field="units",
        )
    if request.mask is not None and request.image is None:
        raise InvalidRequest(
            "There is a mask and no picture.", "Add the picture as 'image'.", field="image"
        )
    if request.hires is not None and request.image is not None:
        raise InvalidRequest(
            "Only what is painted from words alone has a second pass.",
            "Leave out 'hires' or 'image', and enlarge the picture afterwards.",
            field="hires",
        )
    task = _task(request)
    found = task.resolve(_as(task, request), facts)
    decided = {field.name: getattr(found.request, field.name) for field in fields(found.request)}
    kept = {field.name for field in fields(request)}
    changed = {name: value for name, value in decided.items() if name in kept}
    return replace(found, request=replace(request, **changed))


def run(request: Control, tools: Tools) -> Iterator[Picture]:
    task = _task(request)
    return task.run(_as(task, request), tools)


def pictures(request: Control) -> tuple[str, ...]:
    task = _task(request)
    return task.pictures(_as(task, request))


def work(request: Control) -> Work | None:
    task = _task(request)
    return task.work(_as(task, request))


def _task(request: Control) -> Task:
    """What is steered."""
    if request.image is None:
        return txt2img.TASK
    return img2img.TASK if request.mask is None else inpaint.TASK


def _as(task: Task, request: Control) -> object:
    """The request with the fields that this task knows; what is left open is as that has it."""
    known = {field.name for field in fields(task.request)}
    given = {name: getattr(request, name) for name in known & {one.name for one in fields(request)}}
    return task.request(**{name: value for name, value in given.items() if value is not None})


TASK = Task(
    id="control",
    label="Control",
    request=Control,
    resolve=resolve,
    run=run,
    pictures=pictures,
    work=work,
)
