"""Our own record: the whole request, and how the picture was made."""

from studio.prompts.files._reading import Texts, json_object, mapping, part
from studio.prompts.files.found import Found, text_of


def read(held: Texts) -> Found | None:
    story = json_object(held.get("pochade"))
    if story is None or (request := mapping(story.get("request"))) is None:
        return None
    checkpoint = part(part(story, "facts"), "checkpoint")
    seed = story.get("seed")
    return Found(
        source="Pochade",
        prompt=text_of(request.get("prompt")),
        negative_prompt=text_of(request.get("negative_prompt")),
        steps=request.get("steps"),
        guidance=request.get("guidance"),
        seed=request.get("seed") if seed is None else seed,
        width=request.get("width"),
        height=request.get("height"),
        clip_skip=request.get("clip_skip"),
        sampler=text_of(request.get("sampler")),
        checkpoint_name=text_of(request.get("checkpoint")),
        checkpoint_hash=text_of(checkpoint.get("sha256") or checkpoint.get("short")),
        hires=mapping(request.get("hires")),
        over=request,
        task=text_of(story.get("task")) or None,
        request=request,
    )
