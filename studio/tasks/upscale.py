"""A picture made larger."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from annotated_types import Ge, Le
from PIL import Image
from pydantic.dataclasses import dataclass

from studio.core.errors import InvalidRequest
from studio.core.geometry import Size
from studio.core.intake import MAX_PIXELS, MAX_SIDE_PX
from studio.core.records import Picture
from studio.core.requests import (
    STRICT,
    ClipSkip,
    Guidance,
    ImageRef,
    Name,
    Seed,
    Steps,
    Strength,
    Text,
    Weights,
)
from studio.costs.work import Work
from studio.families._family import Role
from studio.prompts import grammar
from studio.tasks._details import planned, repainted
from studio.tasks._extras import (
    Embeddings,
    Loras,
    added,
    extras,
    namesakes,
    resolve_extras,
    words,
)
from studio.tasks._over import flat
from studio.tasks._sampled import (
    checkpoint_for,
    decided,
    felt,
    kept,
    one_pass,
    require_work,
    wanted,
)
from studio.tasks._task import Brush, Enlarged, Facts, Resolved, Span, Task, Tools

Scale = Annotated[float, Ge(1), Le(8)]


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Upscale:
    """Make a picture larger, and, if asked, paint details into it."""

    image: ImageRef
    """The picture: the ref of an upload, or the id of a picture in the gallery."""
    upscaler: Name | None = None
    """What enlarges it, by id; the default is the studio's first."""
    scale: Scale = 2.0
    """What both sides are multiplied by."""
    strength: Strength = 0.0
    """How much is painted anew after enlarging, tile by tile: 0 nothing, 0.2 to 0.4 details."""
    prompt: Text = ""
    """What the picture shows: painted from where the strength is above 0, and kept to find it."""
    negative_prompt: Text = ""
    """What to keep away from. Only used where the strength is above 0."""
    checkpoint: Name | None = None
    """Id of the weights that paint details; the default is the studio's first."""
    steps: Steps | None = None
    """Denoising steps, of which the strength takes its share."""
    guidance: Guidance | None = None
    """How strictly the prompt is followed (classifier-free guidance scale). 1 switches it off."""
    sampler: Name | None = None
    """How noise is taken away, by id or by name."""
    seed: Seed | None = None
    """Random numbers of the first tile; the next has seed + 1. -1 or nothing draws one."""
    clip_skip: ClipSkip = 1
    """Which layer of the text encoder is read, counted from the last: 1 is the last one."""
    weights: Weights = "planned"
    """How the weights that paint details are in memory: `planned` by what fits, `whole`, `packed` as in
    their file, `fp8` in 8 bits, or `blocks`, one after another."""
    loras: Loras = ()
    """LoRAs that change how details are painted, beside those with a tag in the prompt."""
    embeddings: Embeddings = ()
    """Set by the studio: ids of the embeddings that the prompts name."""
    vae: Name = ""
    """Autoencoder to be used instead of the checkpoint's own, by id or by name; empty for its
    own."""


def resolve(request: Upscale, facts: Facts) -> Resolved:
    size = larger(facts.size(request.image), request.scale)
    if max(size) > MAX_SIDE_PX or size[0] * size[1] > MAX_PIXELS:
        raise InvalidRequest(
            f"The picture would become {size[0]}×{size[1]} px "
            f"({size[0] * size[1] / 1e6:.0f} megapixels), which is too large.",
            f"Keep it within {MAX_SIDE_PX} px a side and {MAX_PIXELS // 10**6} megapixels.",
            field="scale",
        )
    request = replace(request, upscaler=facts.upscaler(request.upscaler).id)
    pixels = size[0] * size[1]
    if not request.strength:
        return Resolved(request=request, pixels=pixels, by=f"upscaler:{request.upscaler}")
    checkpoint = checkpoint_for(Role.IMAGE, request.checkpoint, facts)
    worn = resolve_extras(request, checkpoint, facts)
    alike = namesakes(request, checkpoint, facts)
    for prompt in (words(request.prompt), request.negative_prompt):
        grammar.weighted(prompt)
    strength, notes = felt(request.strength, Role.IMAGE, checkpoint, 0.0)
    weights, unkept = kept(request.weights, checkpoint, facts)
    request = replace(
        request, strength=strength, weights=weights, **decided(request, checkpoint), **worn
    )
    plan = planned(size, checkpoint, request.steps or 1, request.strength)
    require_work(
        plan.step_pixels,
        f"Painting details into {size[0]}×{size[1]} px at {request.steps} steps is too much for "
        "one job.",
        field="scale",
    )
    work = Work(
        checkpoint=checkpoint.id,
        passes=tuple(
            one_pass(request, plan.painted(tile), strength=request.strength) for tile in plan.tiles
        ),
        added=added(extras(request)),
        kept=wanted(request.weights),
    )
    return Resolved(request=request, notes=(*notes, *unkept, *alike), pixels=pixels, work=work)


def larger(size: Size, scale: float) -> Size:
    """The size of the result."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def run(request: Upscale, tools: Tools) -> Iterator[Picture]:
    image = tools.picture(request.image)
    size, upscaler = larger(image.size, request.scale), request.upscaler or ""
    if not request.strength:
        yield _picture(request, tools.upscale(image, upscaler, size))
        return
    with tools.pipeline(
        request.checkpoint or "",
        Role.IMAGE,
        extras=extras(request),
        kept=wanted(request.weights),
    ) as painter:
        plan = planned(size, painter.checkpoint, request.steps or 1, request.strength)
        span = Span(after=plan.all_steps)
        enlarged = tools.upscale(image, upscaler, size, span=span)
        result, facts = repainted(
            painter,
            _brush(request),
            flat(enlarged.image),
            plan,
            strength=request.strength,
            before=tools.upscale_steps(upscaler, image.size),
        )
    if enlarged.image.mode == "RGBA":
        result.putalpha(enlarged.image.getchannel("A"))
    seconds = enlarged.facts["seconds"] + facts["seconds"]
    told = {**enlarged.facts, **facts, "seconds": round(seconds, 3), "tiles": len(plan.tiles)}
    yield _picture(request, Enlarged(image=result, facts=told))


def _brush(request: Upscale) -> Brush:
    return Brush(
        prompt=words(request.prompt),
        negative_prompt=request.negative_prompt,
        width=0,
        height=0,
        steps=request.steps or 1,
        guidance=request.guidance or 0.0,
        sampler=request.sampler or "",
        seed=request.seed or 0,
        clip_skip=request.clip_skip,
    )


def _picture(request: Upscale, enlarged: Enlarged) -> Picture:
    image: Image.Image = enlarged.image
    return Picture(
        index=0,
        seed=max(0, request.seed or 0),
        width=image.width,
        height=image.height,
        pixels=image.tobytes(),
        alpha=image.mode == "RGBA",
        facts=enlarged.facts,
    )


def pictures(request: Upscale) -> tuple[str, ...]:
    return (request.image,)


TASK = Task(
    id="upscale", label="Upscale", request=Upscale, resolve=resolve, run=run, pictures=pictures
)
