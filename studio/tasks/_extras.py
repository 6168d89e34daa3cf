"""What is added to a checkpoint for one job: LoRAs, named in the prompt or as fields."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Protocol

from annotated_types import Ge, Le, MaxLen
from pydantic.dataclasses import dataclass

from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.embeddings import Embedding
from studio.core.errors import InvalidRequest
from studio.core.requests import STRICT, Name
from studio.prompts.embeddings import Embedded
from studio.prompts.tags import MAX_STRENGTH, Tag, names, renamed, untagged
from studio.tasks._task import Added, Extras, Facts

MOST = 16
"""LoRAs of one job."""

MOST_NAMED = 8
"""Missing LoRAs that are said by name."""

Strength = Annotated[float, Ge(-MAX_STRENGTH), Le(MAX_STRENGTH)]


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class AddedLora:
    """A LoRA, and how strongly it is felt."""

    name: Name
    """Its id, its file's name, or what its trainer called it."""
    weight: Strength = 1.0
    """0 leaves it out, 1 is as trained."""
    text_weight: Strength | None = None
    """The same for how the prompt is understood; the default is `weight`."""
    from_prompt: bool = False
    """Set by the studio where a `<lora:…>` tag asks for it: the tag then says the weights."""


Loras = Annotated[tuple[AddedLora, ...], MaxLen(MOST)]
Embeddings = Annotated[tuple[Name, ...], MaxLen(200)]


class Asked(Protocol):
    """The fields of a request that are looked at here."""

    @property
    def prompt(self) -> str: ...
    @property
    def negative_prompt(self) -> str: ...
    @property
    def loras(self) -> tuple[AddedLora, ...]: ...
    @property
    def vae(self) -> str: ...


class Resolved(Asked, Protocol):
    @property
    def embeddings(self) -> tuple[str, ...]: ...


def resolve_extras(request: Asked, checkpoint: Checkpoint, facts: Facts) -> dict[str, Any]:
    """LoRAs by id with both weights, those of tags last, embeddings that the prompts name, and the
    VAE, as a request's fields.

    Raises `InvalidRequest` for one that is not there or was not made for the checkpoint.
    """
    _, tags = untagged(request.prompt)
    _, misplaced = untagged(request.negative_prompt)
    if misplaced:
        raise InvalidRequest(
            f"The LoRA '{misplaced[0].name[:60]}' stands in the negative prompt, where it does "
            "nothing.",
            "Write its tag into the prompt; a weight below 0 turns it around.",
            field="negative_prompt",
        )
    asked = [one for one in request.loras if not one.from_prompt]
    count = len(asked) + len(tags)
    if count > MOST:
        raise InvalidRequest(
            f"There are {count} LoRAs; at most {MOST} can be used at once.",
            "Leave some out.",
            field="loras",
        )
    return {
        "loras": (
            *(_resolved(one, checkpoint, facts) for one in asked),
            *(_of_tag(tag, checkpoint, facts) for tag in tags),
        ),
        "embeddings": _embeddings(request, checkpoint, facts),
        "vae": facts.vae(request.vae, checkpoint).id if request.vae else "",
    }


def namesakes(request: Asked, checkpoint: Checkpoint, facts: Facts) -> tuple[str, ...]:
    """A sentence for each name in the prompts that several files have, of which it means one."""
    _, tags = untagged(request.prompt)
    loras = {tag.name: facts.lora(tag.name, checkpoint) for tag in tags}
    words = facts.embeddings(checkpoint)
    named = [words[word] for word in _words(request, words)]
    found = (*(("LoRA", one) for one in loras.values()), *(("embedding", one) for one in named))
    return tuple(_shared(kind, one.name, one.id, one.twins) for kind, one in found if one.twins)


def _shared(kind: str, name: str, own: str, twins: tuple[str, ...]) -> str:
    others = " or ".join(f"'{one}'" for one in twins)
    count = "Two" if len(twins) == 1 else f"{len(twins) + 1}"
    return f"{count} {kind}s are called '{name}': '{own}' is used, not {others}."


def _embeddings(request: Asked, checkpoint: Checkpoint, facts: Facts) -> tuple[str, ...]:
    known = facts.embeddings(checkpoint)
    return tuple(known[name].id for name in _words(request, known))


def _words(request: Asked, known: Mapping[str, Embedding]) -> tuple[str, ...]:
    """Those of the known words that the prompts have."""
    words = Embedded({name: embedding.vectors for name, embedding in known.items()})
    return tuple(words.found(f"{request.prompt}\n{request.negative_prompt}"))


def _resolved(asked: AddedLora, checkpoint: Checkpoint, facts: Facts) -> AddedLora:
    found = facts.lora(asked.name, checkpoint)
    text_weight = asked.weight if asked.text_weight is None else asked.text_weight
    return replace(asked, name=found.id, text_weight=text_weight)


def _of_tag(tag: Tag, checkpoint: Checkpoint, facts: Facts) -> AddedLora:
    found = facts.lora(tag.name, checkpoint)
    return AddedLora(
        name=found.id, weight=tag.weight, text_weight=tag.text_weight, from_prompt=True
    )


def with_loras_here(prompt: str, meant: Callable[[str], str | None]) -> tuple[str, tuple[str, ...]]:
    """Somebody's prompt with the tags of LoRAs that are here, called as here, and a sentence for
    each that is not. `meant` tells what a name means here; None if nothing."""
    here = {name: meant(name) for name in names(prompt)}
    missing = [name for name, found in here.items() if found is None]
    notes = [f"The LoRA '{name[:60]}' is not here; its tag was taken out." for name in missing]
    if len(notes) > MOST_NAMED:
        notes[MOST_NAMED:] = [f"{len(notes) - MOST_NAMED} more LoRAs are not here."]
    return renamed(prompt, here).strip(), tuple(notes)


def added(extras: Extras) -> tuple[str, ...]:
    """What is read for it beside a checkpoint, as `Work.added` has it."""
    vae = () if extras.vae is None else (f"vae:{extras.vae}",)
    return tuple(dict.fromkeys((*(f"lora:{one.id}" for one in extras.loras), *vae)))


def words(prompt: str) -> str:
    """The prompt as the text encoder is to read it."""
    text, _ = untagged(prompt)
    return text


def extras(request: Resolved) -> Extras:
    """What a resolved request adds to its checkpoint."""
    return Extras(
        loras=tuple(
            Added(
                id=one.name,
                weight=one.weight,
                text_weight=one.weight if one.text_weight is None else one.text_weight,
            )
            for one in request.loras
        ),
        embeddings=request.embeddings,
        vae=request.vae or None,
    )
