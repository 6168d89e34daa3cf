"""The fields that every sampled picture has, and how they are decided."""

import secrets
from dataclasses import fields, replace
from typing import Any, Protocol

from pydantic.dataclasses import dataclass

from studio import samplers
from studio.checkpoints.catalog import Checkpoint
from studio.core.errors import InvalidRequest
from studio.core.geometry import Size, near
from studio.core.requests import (
    MAX_SEED,
    STRICT,
    ClipSkip,
    Count,
    Guidance,
    Name,
    Pixels,
    Prompt,
    Seed,
    Share,
    Steps,
    Text,
    Weights,
)
from studio.costs.work import Kept, Pass, Work
from studio.families._family import Role
from studio.prompts import grammar
from studio.tasks._extras import (
    Embeddings,
    Loras,
    added,
    extras,
    namesakes,
    resolve_extras,
    words,
)
from studio.tasks._presets import Presets, Typed, with_presets
from studio.tasks._references import References, prompted, resolve_references, tokens
from studio.tasks._references import weighty as followed
from studio.tasks._task import Brush, Control, Facts, Refiner, Resolved
from studio.tasks._units import Units, idle, misfits, resolve_units, unweighed, weighty

LEAST_PX, MOST_PX = 64, 2048
"""Bounds of a side, as `Pixels` has them."""
WAYS = {Role.TEXT: "text to image", Role.IMAGE: "image to image", Role.INPAINT: "inpainting"}
MAX_STEP_PIXELS = 150 * 2048 * 2048
"""Width × height × steps × count of one job: 150 steps of the largest picture."""


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Painted:
    """What a checkpoint is told. None asks the studio to decide."""

    prompt: Text
    """What to paint. `(word:1.3)` weighs a word more, `[word]` less, BREAK starts a new chunk,
    `<lora:name:0.8>` adds a LoRA."""
    negative_prompt: Text = ""
    """What to keep away from. Ignored at guidance 1 and below."""
    checkpoint: Name | None = None
    """Id of the weights to paint with; the default is the studio's first."""
    width: Pixels | None = None
    """Pixels, snapped down to the checkpoint's multiple; the default is its native size."""
    height: Pixels | None = None
    """Pixels, snapped down to the checkpoint's multiple; the default is its native size."""
    steps: Steps | None = None
    """Denoising steps. More is slower and, up to a point, finer."""
    guidance: Guidance | None = None
    """How strictly the prompt is followed (classifier-free guidance scale). 1 switches it off."""
    sampler: Name | None = None
    """How noise is taken away, by id or by name ("DPM++ 2M Karras")."""
    seed: Seed | None = None
    """The picture's random numbers; picture i of a job uses seed + i. -1 or nothing draws one."""
    units: Units = ()
    """Maps that steer the painting, at most four."""
    clip_skip: ClipSkip = 1
    """Which layer of the text encoder is read, counted from the last: 1 is the last one."""
    weights: Weights = "planned"
    """How the weights of the checkpoint's denoiser are in memory: `planned` by what fits, `whole`,
    `packed` as in their file, `fp8` in 8 bits, or `blocks`, one after another. The less they take, the
    longer a step may last; 8 bits change the picture. A way that saves nothing is left to the plan."""
    loras: Loras = ()
    """LoRAs that change how the checkpoint paints, beside those with a tag in the prompt."""
    vae: Name = ""
    """Autoencoder to be used instead of the checkpoint's own, by id or by name; empty for its
    own."""
    refiner: Name = ""
    """Id of a refiner that takes over for the last steps, of the second pass if there is one; empty
    for none."""
    refiner_after: Share = 0.8
    """Share of the steps before the refiner takes over (A1111's "Switch at")."""
    embeddings: Embeddings = ()
    """Set by the studio: ids of the embeddings that the prompts name."""
    styled: Presets = ()
    """Set by the studio: names of the styles that the prompt holds already."""
    typed: Typed | None = None
    """Set by the studio: the prompts before those styles were written into them."""


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Sampled(Painted):
    """A picture painted step by step from a prompt."""

    prompt: Prompt
    """What to paint. `(word:1.3)` weighs a word more, `[word]` less, BREAK starts a new chunk,
    `<lora:name:0.8>` adds a LoRA."""
    count: Count = 1
    """Pictures to make."""
    styles: Presets = ()
    """Names of styles in words that are written into the prompt, as `/api/presets` lists them."""
    references: References = ()
    """Pictures that lend their look, at most four."""

    @property
    def nets(self) -> tuple[str, ...]:
        """Ids of the ControlNets that a resolved request uses, none twice."""
        return tuple(dict.fromkeys(unit.controlnet or "" for unit in weighty(self.units)))


def resolve(request: Sampled, facts: Facts) -> Resolved:
    """Fixes checkpoint, size, steps, guidance, sampler and seed. Raises `InvalidRequest`."""
    return resolve_for(Role.TEXT, request, facts)


def resolve_for(
    role: Role,
    request: Sampled,
    facts: Facts,
    *,
    shape: Size | None = None,
    around: Size | None = None,
) -> Resolved:
    """As `resolve`, for a pipeline of that role.

    A request without a size gets one of the shape of `shape`, about as large as the checkpoint's
    native one. `around` is the size of the picture of which only a part is painted.
    """
    checkpoint = checkpoint_for(role, request.checkpoint, facts)
    request = with_presets(request, facts)
    request, left_out = _felt(role, request, checkpoint)
    weights, unkept = kept(request.weights, checkpoint, facts)
    request, once = _apart(request)
    worn = resolve_extras(request, checkpoint, facts)
    refiner = _refiner(request.refiner, checkpoint, facts)
    for prompt in (words(request.prompt), request.negative_prompt):
        grammar.weighted(prompt)  # what the engine would refuse is refused before it is queued
    size, notes = snapped(_asked(request, checkpoint, shape), checkpoint)
    notes += (*unheard(request, checkpoint), *left_out, *unkept, *once)
    notes += (*namesakes(request, checkpoint, facts), *unweighed(request.units, checkpoint))
    notes += misfits(request.units, around or shape or size, facts)
    steps = request.steps or checkpoint.defaults.steps
    require_work(
        size[0] * size[1] * steps * request.count,
        f"{request.count} pictures of {size[0]}×{size[1]} at {steps} steps are too much for one"
        " job.",
    )
    request = replace(
        request,
        width=size[0],
        height=size[1],
        units=resolve_units(request.units, checkpoint, facts),
        references=resolve_references(request.references, checkpoint, facts),
        refiner=refiner,
        weights=weights,
        **decided(request, checkpoint),
        **worn,
    )
    _require_seeds(request)
    taken = one_pass(request, size, strength=getattr(request, "strength", None)).calls
    return Resolved(
        request=request,
        notes=(*notes, *idle(request.units, taken), *_unrefined(request, facts)),
        pixels=size[0] * size[1],
    )


def checkpoint_for(role: Role, checkpoint_id: str | None, facts: Facts) -> Checkpoint:
    """The checkpoint of that id, or the default one. Raises `InvalidRequest` if it has no such
    role."""
    checkpoint = facts.checkpoint(checkpoint_id)
    if role not in checkpoint.roles:
        raise InvalidRequest(
            f"'{checkpoint.label}' cannot be used for this: it only does {_listed(checkpoint)}.",
            "Choose another checkpoint.",
            field="checkpoint",
        )
    return checkpoint


def unheard(request: Sampled, checkpoint: Checkpoint) -> tuple[str, ...]:
    """A sentence for each thing of a prompt that the checkpoint does not understand."""
    prompts = (words(request.prompt), request.negative_prompt)
    notes: list[str] = []
    if not checkpoint.supports.prompt_weights and any(map(grammar.weighs, prompts)):
        notes.append(
            f"{checkpoint.label} reads sentences: brackets, weights and BREAK were left out."
        )
    if not checkpoint.supports.negative_prompt and request.negative_prompt.strip():
        notes.append(f"{checkpoint.label} has no negative prompt; it was left out.")
    return tuple(notes)


def _refiner(refiner_id: str, checkpoint: Checkpoint, facts: Facts) -> str:
    """Its id in full. Raises `InvalidRequest` if there is none of that id, or if it is none for the
    checkpoint."""
    if not refiner_id:
        return ""
    found = facts.checkpoint(refiner_id)
    if found.family not in checkpoint.refiners:
        raise InvalidRequest(
            f"'{found.label}' cannot take over from '{checkpoint.label}' for the last steps.",
            "Choose a refiner that was made for it, or none.",
            field="refiner",
        )
    return found.id


def _unrefined(request: Sampled, facts: Facts) -> tuple[str, ...]:
    """A sentence if the refiner paints its steps without some of what was added to the checkpoint."""
    if not request.refiner:
        return ()
    used = {
        "LoRAs": request.loras,
        "style references": followed(request.references),
        "control maps": weighty(request.units),
    }
    without = [name for name, there in used.items() if there]
    if not without:
        return ()
    last = facts.checkpoint(request.refiner).label
    named = " and ".join([", ".join(without[:-1]), without[-1]] if without[1:] else without)
    return (f"'{last}' paints the last steps without the {named}, which are not made for it.",)


def felt(
    strength: float, role: Role, checkpoint: Checkpoint, unasked: float
) -> tuple[float, tuple[str, ...]]:
    """The strength that the checkpoint paints with, and a sentence if that is another one than was
    asked for; `unasked` is that of a request which says nothing of it."""
    if role not in checkpoint.strengthless or strength == 1.0:
        return strength, ()
    note = (
        f"{checkpoint.label} looks at the picture and paints what the words say; the strength was"
        " left out."
    )
    return 1.0, () if strength == unasked else (note,)


def _felt(role: Role, request: Sampled, checkpoint: Checkpoint) -> tuple[Sampled, tuple[str, ...]]:
    """The request with the strength that is felt, if it has one."""
    unasked: dict[str, Any] = {field.name: field.default for field in fields(request)}
    if "strength" not in unasked:
        return request, ()
    asked: Any = request
    strength, notes = felt(asked.strength, role, checkpoint, unasked["strength"])
    return replace(asked, strength=strength), notes


def _apart(request: Sampled) -> tuple[Sampled, tuple[str, ...]]:
    """The request with only as many pictures as differ, and a sentence if those are fewer."""
    if request.count == 1 or getattr(request, "strength", None) != 0:
        return request, ()
    note = "At strength 0 every picture would be the same, so one is made."
    return replace(request, count=1), (note,)


def _require_seeds(request: Sampled) -> None:
    """Raises `InvalidRequest` where the seed of the last picture would be none."""
    most = MAX_SEED - request.count + 1
    if request.seed is not None and request.seed > most:
        raise InvalidRequest(
            f"The last of {request.count} pictures would have the seed "
            f"{request.seed + request.count - 1}, which is too large.",
            f"Choose a seed of at most {most}, or ask for fewer pictures.",
            field="seed",
        )


def kept(weights: Weights, checkpoint: Checkpoint, facts: Facts) -> tuple[Weights, tuple[str, ...]]:
    """A way to keep weights that there is, and a sentence if it is not the one that was asked for."""
    if weights in {"planned", "whole"} or weights in facts.ways(checkpoint):
        return weights, ()
    return "planned", (unkept(checkpoint),)


def wanted(weights: Weights) -> Kept | None:
    """How weights are to be in memory, as `Work.kept` has it."""
    return None if weights == "planned" else weights


def unkept(checkpoint: Checkpoint) -> str:
    """Says that weights are not kept as was asked for."""
    return (
        f"Here that way to keep the weights of {checkpoint.label} saves nothing or cannot be had; it "
        "was left to the plan."
    )


class Asked(Protocol):
    """The fields of a request that are decided the same way wherever something is sampled."""

    @property
    def steps(self) -> int | None: ...
    @property
    def guidance(self) -> float | None: ...
    @property
    def sampler(self) -> str | None: ...
    @property
    def seed(self) -> int | None: ...


def decided(request: Asked, checkpoint: Checkpoint) -> dict[str, Any]:
    """Checkpoint, steps, guidance, sampler and seed, as a request's fields. Raises
    `InvalidRequest` for a sampler that there is not."""
    guidance = request.guidance
    drawn = request.seed is None or request.seed == -1
    return {
        "checkpoint": checkpoint.id,
        "steps": request.steps or checkpoint.defaults.steps,
        "guidance": checkpoint.defaults.guidance if guidance is None else guidance,
        "sampler": _sampler(request.sampler or checkpoint.defaults.sampler, checkpoint),
        "seed": secrets.randbelow(2**32) if drawn else request.seed,
    }


def _sampler(name: str, checkpoint: Checkpoint) -> str:
    """Id of the sampler of that name that fits the checkpoint. Raises `InvalidRequest`."""
    found = samplers.fitting(name, checkpoint.samplers)
    if found is None:
        raise InvalidRequest(
            f"'{checkpoint.label}' cannot be painted with {samplers.find(name).label}.",
            samplers.named(checkpoint.samplers),
            field="sampler",
        )
    return found.id


def require_work(step_pixels: int, too_much: str, field: str = "count") -> None:
    """Raises `InvalidRequest` with the sentence `too_much` if that is more than a job may ask for;
    `step_pixels` is width × height × steps of everything it paints."""
    if step_pixels > MAX_STEP_PIXELS:
        raise InvalidRequest(
            too_much, "Ask for fewer pictures, fewer steps or a smaller size.", field=field
        )


def _listed(checkpoint: Checkpoint) -> str:
    return " and ".join(sorted(WAYS[role] for role in checkpoint.roles if role in WAYS))


def _asked(request: Sampled, checkpoint: Checkpoint, shape: Size | None) -> Size:
    native = checkpoint.native_px
    if request.width is None and request.height is None and shape is not None:
        return near(shape, native, checkpoint.multiple_px, least=LEAST_PX, most=MOST_PX)
    return request.width or native, request.height or native


def snapped(
    size: tuple[int, int], checkpoint: Checkpoint
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Width and height rounded down to the checkpoint's multiple, and a sentence for each change."""
    unit = checkpoint.multiple_px
    fitted = [max(unit, side // unit * unit) for side in size]
    notes = tuple(
        f"{name} {side} became {fit}: {checkpoint.label} works in multiples of {unit} px."
        for name, side, fit in zip(("Width", "Height"), size, fitted, strict=True)
        if side != fit
    )
    return (fitted[0], fitted[1]), notes


def one_pass(
    request: Asked,
    size: Size,
    *,
    steps: int | None = None,
    strength: float | None = None,
) -> Pass:
    """What painting in that size asks for; with `strength`, over a picture."""
    row = samplers.find(request.sampler or "")
    taken = steps or request.steps or 1
    if strength is not None:
        taken = max(1, int(taken * strength + 1e-6))
    return Pass(
        width=size[0],
        height=size[1],
        calls=row.calls(taken),
        guided=(request.guidance or 0.0) > 1.0,
        over=strength is not None,
    )


def work(request: Sampled, strength: float | None = None) -> Work:
    """What a resolved request asks for that paints each picture in one pass."""
    size = (request.width or 0, request.height or 0)
    return Work(
        checkpoint=request.checkpoint or "",
        controls=request.nets,
        added=(*added(extras(request)), *prompted(request.references)),
        refiner=request.refiner,
        kept=wanted(request.weights),
        tokens=tokens(request.references),
        passes=() if strength == 0 else (one_pass(request, size, strength=strength),),
        count=request.count,
    )


def refiner(request: Sampled) -> Refiner | None:
    """What takes over for the last steps of a resolved request."""
    return Refiner(id=request.refiner, after=request.refiner_after) if request.refiner else None


def brush(request: Sampled, index: int, controls: tuple[Control, ...] = ()) -> Brush:
    """Picture `index` of a resolved request, steered by `controls`."""
    asked = (request.width, request.height, request.steps, request.guidance, request.sampler)
    if None in asked or request.seed is None:
        raise ValueError("an unresolved request reached the engine")
    return Brush(
        prompt=words(request.prompt),
        negative_prompt=request.negative_prompt,
        width=request.width or 0,
        height=request.height or 0,
        steps=request.steps or 0,
        guidance=request.guidance if request.guidance is not None else 0.0,
        sampler=request.sampler or "",
        seed=request.seed + index,
        clip_skip=request.clip_skip,
        controls=controls,
        references=request.references,
    )
