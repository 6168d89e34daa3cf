"""NovelAI: JSON under `Comment`, the prompt beside it."""

from collections.abc import Iterator, Mapping
from typing import Any

from studio.prompts.files._reading import Texts, items, json_object, numbers, part
from studio.prompts.files.found import Found, text_of


def read(held: Texts) -> Found | None:
    data = json_object(held.get("Comment"))
    if data is None or not ("NovelAI" in held.get("Software", "") or "uc" in data):
        return None
    prompt = (
        _caption(data, "v4_prompt") or text_of(data.get("prompt")) or held.get("Description", "")
    )
    negative = _caption(data, "v4_negative_prompt") or text_of(data.get("uc"))
    notes = list(_notes(data, f"{prompt} {negative}"))
    schedule = text_of(data.get("noise_schedule"))
    return Found(
        source="NovelAI",
        prompt=prompt,
        negative_prompt=negative,
        **numbers(data, guidance="scale"),
        sampler=text_of(data.get("sampler")),
        schedule="" if schedule == "native" else schedule,
        checkpoint_name=held.get("Source", ""),
        notes=tuple(notes),
    )


def _caption(data: Mapping[str, Any], key: str) -> str:
    return text_of(part(part(data, key), "caption").get("base_caption"))


def _notes(data: Mapping[str, Any], prompts: str) -> Iterator[str]:
    yield "NovelAI's models run only there; another checkpoint will paint something else."
    if "{" in prompts or "::" in prompts:
        yield "NovelAI's weights such as {word} and 1.2::word:: are read as text here."
    if items(part(part(data, "v4_prompt"), "caption").get("char_captions")):
        yield "Prompts for single characters are not used here."
    if data.get("request_type") not in (None, "PromptGenerateRequest"):
        yield "It was painted over another picture, which is not in the file."
    if data.get("reference_image_multiple") or data.get("reference_strength_multiple"):
        yield "A reference picture shaped this one; that is not done here."
