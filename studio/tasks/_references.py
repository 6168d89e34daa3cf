"""Style references: pictures that lend their look to what is painted from words."""

from dataclasses import replace
from typing import Annotated, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic.dataclasses import dataclass

from studio.checkpoints.catalog import Checkpoint
from studio.core.errors import InvalidRequest
from studio.core.requests import STRICT, ImageRef, Name
from studio.tasks._task import Facts

LEAST_PX = 16
"""A side of a picture that still shows more than a colour."""

MOST_TOKENS = 2**16
"""Of one picture; more than any network makes of it."""

Method = Literal["shared", "adapter"]


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Reference:
    """A picture whose look is wanted."""

    image: ImageRef
    """The ref of an upload, or the id of a picture in the gallery."""
    method: Method | None = None
    """`shared` lets the checkpoint look at the picture while it paints, and needs nothing more;
    `adapter` tells it the picture as it is told words, and needs an IP-Adapter made for it, or Redux
    for FLUX.1, which knows no other way. The default is the first that the checkpoint knows."""
    weight: Annotated[float, Ge(0), Le(2)] = 1.0
    """How strongly it is followed: 0 not at all, 1 as meant, 2 at the most."""
    takes: Literal["all", "style", "composition"] = "style"
    """What an adapter takes from the picture: its style, where things are in it, or all. Redux always
    takes all."""
    start: Annotated[float, Ge(0), Le(1)] = 0.0
    """Share of the steps after which it sets in."""
    end: Annotated[float, Ge(0), Le(1)] = 1.0
    """Share of the steps after which it lets go."""
    mask: ImageRef | None = None
    """Where in the painted picture it acts: white. Without one, everywhere."""
    adapter: Name | None = None
    """Id of the IP-Adapter; the default is the first one that fits the checkpoint. A reference of
    weight 0 needs none."""
    tokens: Annotated[int, Ge(0), Le(MOST_TOKENS)] = 0
    """Set by the studio: tokens of the picture that follow those of the prompt; 0 where layers of the
    checkpoint look at it."""


MOST_REFERENCES = 4
References = Annotated[tuple[Reference, ...], MaxLen(MOST_REFERENCES)]


def methods(checkpoint: Checkpoint) -> tuple[Method, ...]:
    """The ways in which a checkpoint can look at pictures, what needs nothing more first; none if it
    cannot."""
    if checkpoint.words:
        return ("adapter",)
    return () if checkpoint.encoder is None else ("shared", "adapter")


def resolve_references(
    references: tuple[Reference, ...], checkpoint: Checkpoint, facts: Facts
) -> tuple[Reference, ...]:
    """Fixes the adapter of each reference that has a weight, what that takes and how many tokens it makes of it. Raises
    `InvalidRequest`, also where what an adapter needs is absent."""
    if weighty(references) and not methods(checkpoint):
        raise InvalidRequest(
            f"'{checkpoint.label}' cannot look at style references.",
            "Choose a Stable Diffusion, SDXL or FLUX.1 checkpoint, or remove the references.",
            field="references",
        )
    return tuple(_resolved(reference, checkpoint, facts) for reference in references)


def _resolved(reference: Reference, checkpoint: Checkpoint, facts: Facts) -> Reference:
    if reference.start >= reference.end:
        raise InvalidRequest(
            f"A style reference ends ({reference.end:g}) before it starts ({reference.start:g}).",
            "Choose a start below the end.",
            field="references",
        )
    width, height = facts.size(reference.image)
    if min(width, height) < LEAST_PX:
        raise InvalidRequest(
            f"The style picture is only {width}×{height} px.",
            f"Choose one with at least {LEAST_PX} px a side.",
            field="references",
        )
    if reference.mask is not None:
        facts.size(reference.mask)
    if not reference.weight:
        return replace(reference, tokens=0)
    reference = replace(reference, method=reference.method or methods(checkpoint)[0])
    if checkpoint.words:
        _require_followed(reference, checkpoint)
        reference = replace(reference, takes="all")
    if reference.method == "shared":
        return replace(reference, adapter=None, tokens=0)
    prompt = facts.image_prompt(reference.adapter, checkpoint)
    looker = facts.looker(prompt)
    tokens = looker.patches if checkpoint.words else 0
    return replace(reference, adapter=prompt.id, tokens=tokens)


def _require_followed(reference: Reference, checkpoint: Checkpoint) -> None:
    """That nothing is asked which words cannot do."""
    if reference.method == "shared":
        raise InvalidRequest(
            f"'{checkpoint.label}' can be told a style picture, but not look at it while it paints.",
            "Choose the method image prompt, which needs Redux, or remove the references.",
            field="references",
        )
    if reference.mask is not None or (reference.start, reference.end) != (0, 1):
        raise InvalidRequest(
            f"'{checkpoint.label}' is told a style picture as part of the prompt: everywhere, and from "
            "the first step to the last.",
            "Leave out mask, start and end.",
            field="references",
        )


def weighty(references: tuple[Reference, ...]) -> tuple[Reference, ...]:
    """Without those of weight 0, which are as if they were not there."""
    return tuple(one for one in references if one.weight)


def prompted(references: tuple[Reference, ...]) -> tuple[str, ...]:
    """The image prompts that are read for them, as `Work.added` has them."""
    asked = (one for one in weighty(references) if one.method == "adapter" and one.adapter)
    named = (f"ipadapter:{one.adapter}" for one in asked)
    return tuple(dict.fromkeys(named))


def tokens(references: tuple[Reference, ...]) -> int:
    """That follow those of the prompt."""
    return sum(one.tokens for one in weighty(references))


def shown(references: tuple[Reference, ...]) -> tuple[str, ...]:
    """The pictures that references name."""
    return tuple(ref for one in references for ref in (one.image, one.mask) if ref is not None)
