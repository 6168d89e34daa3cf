"""A picture from words alone, and if asked a second, larger pass over it."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from PIL import Image
from pydantic.dataclasses import dataclass

from studio.checkpoints.catalog import Checkpoint
from studio.core.errors import InvalidRequest
from studio.core.geometry import Size
from studio.core.records import Picture
from studio.core.requests import STRICT, Factor, Name, Steps, Strength
from studio.costs.work import Work
from studio.families._family import Role
from studio.tasks import _sampled
from studio.tasks._extras import extras
from studio.tasks._references import shown
from studio.tasks._sampled import (
    MOST_PX,
    Sampled,
    brush,
    checkpoint_for,
    felt,
    refiner,
    require_work,
)
from studio.tasks._task import Brush, Canvas, Facts, Painter, Resolved, Span, Task, Tools
from studio.tasks._units import controls, maps, refs


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Hires:
    """A second pass: the picture is enlarged, then painted over at its new size."""

    factor: Factor = 2.0
    """What both sides are multiplied by; the result is snapped down to the checkpoint's multiple."""
    upscaler: Name | None = None
    """What enlarges it, by id; the default is the studio's first."""
    strength: Strength = 0.4
    """How much is painted anew at the new size: 0 only enlarges, 1 forgets the first pass."""
    steps: Steps | None = None
    """Denoising steps of the second pass, of which the strength takes its share. The default is
    those of the first."""


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Txt2Img(Sampled):
    """Paint from a prompt, starting at pure noise."""

    hires: Hires | None = None
    """A second pass at a larger size. `width` and `height` are those of the first one."""


def resolve(request: Txt2Img, facts: Facts) -> Resolved:
    found = _sampled.resolve(request, facts)
    if found.request.hires is None:
        return found
    first: Txt2Img = found.request
    checkpoint = checkpoint_for(Role.IMAGE, first.checkpoint, facts)
    asked, notes = _hires_felt(found.request.hires, checkpoint)
    hires = replace(
        asked, upscaler=facts.upscaler(asked.upscaler).id, steps=asked.steps or first.steps
    )
    size = larger(first, hires, checkpoint.multiple_px)
    if max(size) > MOST_PX:
        raise InvalidRequest(
            f"The second pass would paint {size[0]}×{size[1]} px; it may have at most {MOST_PX} px "
            "a side.",
            "Choose a smaller factor, and enlarge the picture afterwards.",
            field="hires",
        )
    both = _work((first.width or 0, first.height or 0), first.steps or 0)
    both += _work(size, steps_taken(hires))
    require_work(
        both * first.count,
        f"{first.count} pictures with a second pass at {size[0]}×{size[1]} are too much for one "
        "job.",
    )
    return replace(
        found,
        request=replace(first, hires=hires),
        notes=(*found.notes, *notes),
        pixels=size[0] * size[1],
    )


def _hires_felt(hires: Hires, checkpoint: Checkpoint) -> tuple[Hires, tuple[str, ...]]:
    """With the strength that the second pass will have; 0 goes on to mean that there is none."""
    if not hires.strength:
        return hires, ()
    strength, notes = felt(hires.strength, Role.IMAGE, checkpoint, Hires().strength)
    return replace(hires, strength=strength), notes


def _work(size: Size, steps: int) -> int:
    return size[0] * size[1] * steps


def larger(request: Txt2Img, hires: Hires, multiple_px: int) -> Size:
    """The size of the second pass."""
    width, height = (
        max(multiple_px, int(side * hires.factor) // multiple_px * multiple_px)
        for side in (request.width or 0, request.height or 0)
    )
    return width, height


def steps_taken(hires: Hires) -> int:
    """Steps of the second pass that really run."""
    if not hires.strength:
        return 0
    return max(1, int((hires.steps or 1) * hires.strength + 1e-6))


def run(request: Txt2Img, tools: Tools) -> Iterator[Picture]:
    checkpoint, added = request.checkpoint or "", extras(request)
    drawn = maps(request.units, tools)
    last = refiner(request)
    twice = request.hires is not None and request.hires.strength > 0
    with ExitStack() as held:
        first = held.enter_context(
            tools.pipeline(
                checkpoint,
                Role.TEXT,
                controls=request.nets,
                extras=added,
                refiner=None if twice else last,
            )
        )
        steered = controls(request.units, drawn, (request.width or 0, request.height or 0))
        brushes = [brush(request, index, steered) for index in range(request.count)]
        if request.hires is None:
            for index, small in enumerate(brushes):
                yield first.paint(small, index=index, pictures=request.count)
            return
        second = held.enter_context(
            tools.pipeline(
                checkpoint,
                Role.IMAGE,
                controls=request.nets,
                extras=added,
                refiner=last if twice else None,
            )
        )
        size = larger(request, request.hires, second.checkpoint.multiple_px)
        steered = controls(request.units, drawn, size)
        for index, small in enumerate(brushes):
            large = replace(
                small,
                width=size[0],
                height=size[1],
                steps=request.hires.steps or small.steps,
                controls=steered,
            )
            yield _twice(request, request.hires, tools, (first, small), (second, large), index)


def pictures(request: Txt2Img) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*refs(request.units), *shown(request.references))))


def work(request: Txt2Img) -> Work:
    once = _sampled.work(request)
    if request.hires is None or not request.hires.strength:
        return once
    # the same as the one that is painted, but for what a multiple takes off its sides
    size = larger(request, request.hires, 1)
    second = _sampled.one_pass(
        request, size, steps=request.hires.steps, strength=request.hires.strength
    )
    return replace(once, passes=(*once.passes, second))


def _twice(
    request: Txt2Img,
    hires: Hires,
    tools: Tools,
    sketching: tuple[Painter, Brush],
    finishing: tuple[Painter, Brush],
    index: int,
) -> Picture:
    (first, small), (second, large) = sketching, finishing
    size = (large.width, large.height)
    upscaler, count = hires.upscaler or "", request.count
    between, last = tools.upscale_steps(upscaler, (small.width, small.height)), steps_taken(hires)
    # a step costs as its pixels do
    weight = size[0] * size[1] / (small.width * small.height)
    sketch = first.paint(
        small, index=index, pictures=count, span=Span(after=between + last, weight=weight)
    )
    enlarged = tools.upscale(
        Image.frombytes("RGB", (sketch.width, sketch.height), sketch.pixels),
        upscaler,
        size,
        index=index,
        pictures=count,
        span=Span(before=small.steps, after=last),
    )
    made = second.paint(
        large,
        index=index,
        pictures=count,
        canvas=Canvas(image=enlarged.image, strength=hires.strength),
        span=Span(before=small.steps + between, weight=1 / weight),
    )
    parts = (sketch.facts, enlarged.facts, made.facts)
    facts = {
        **sketch.facts,
        **made.facts,
        "seconds": round(sum(part["seconds"] for part in parts), 3),
        "first": {"size": [sketch.width, sketch.height], "seconds": sketch.facts["seconds"]},
        "upscaler": enlarged.facts["upscaler"],
    }
    return replace(made, facts=facts)


TASK = Task(
    id="txt2img",
    label="Text to image",
    request=Txt2Img,
    resolve=resolve,
    run=run,
    pictures=pictures,
    work=work,
)
