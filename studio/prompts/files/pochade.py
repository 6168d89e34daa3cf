"""Our own record: the whole request, and how the picture was made."""

from collections.abc import Iterator, Mapping
from typing import Any

from studio.prompts.files._reading import Texts, items, json_object, mapping, part
from studio.prompts.files.found import Found, text_of
from studio.prompts.tags import Tag


def read(held: Texts) -> Found | None:
    story = json_object(held.get("pochade"))
    if story is None or (request := mapping(story.get("request"))) is None:
        return None
    checkpoint = part(part(story, "facts"), "checkpoint")
    # that of this picture; what drew nothing has none
    seed = story.get("seed") if request.get("seed") is not None else None
    loras = _rows(story, "loras")
    return Found(
        source="Pochade",
        prompt=text_of(request.get("prompt")),
        negative_prompt=text_of(request.get("negative_prompt")),
        steps=request.get("steps"),
        guidance=request.get("guidance"),
        seed=seed,
        width=request.get("width"),
        height=request.get("height"),
        clip_skip=request.get("clip_skip"),
        sampler=text_of(request.get("sampler")),
        checkpoint_name=text_of(request.get("checkpoint")),
        checkpoint_hash=text_of(checkpoint.get("sha256") or checkpoint.get("short")),
        hires=mapping(request.get("hires")),
        over=request,
        vae=text_of(request.get("vae")),
        embeddings=tuple(text_of(row.get("name")) for row in _rows(story, "embeddings")),
        lora_hashes={text_of(row.get("name")): text_of(row.get("sha256")) for row in loras},
        loras=tuple(_loras(request)),
        weights=text_of(request.get("weights")),
        task=text_of(story.get("task")) or None,
        request=request,
    )


def _rows(story: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Extras of a kind that the picture was painted with."""
    return [row for row in map(mapping, items(part(story, "facts").get(name))) if row]


def _loras(request: Mapping[str, Any]) -> Iterator[Tag]:
    """Those that have no tag in the prompt."""
    for row in map(mapping, items(request.get("loras"))):
        if row and not row.get("from_prompt"):
            weight = _weight(row.get("weight"), 1.0)
            yield Tag(text_of(row.get("name")), weight, _weight(row.get("text_weight"), weight))


def _weight(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default
