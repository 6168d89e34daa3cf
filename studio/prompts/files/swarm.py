"""SwarmUI: JSON under `parameters`, in a section of its own."""

import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from studio.prompts.files._reading import (
    CONTROLNET,
    IMG2IMG,
    Texts,
    items,
    json_object,
    lora,
    mapping,
    numbers,
    parameters,
    vae,
    whole,
)
from studio.prompts.files.found import Found, brief, text_of
from studio.prompts.tags import Tag

_TAG = re.compile(r"<(?:segment|object|region|setvar|wildcard|random|refiner|video)\b")


def read(held: Texts) -> Found | None:
    data = json_object(parameters(held))
    if data is None or (params := mapping(data.get("sui_image_params"))) is None:
        return None
    stop = whole(params.get("clipstopatlayer"))
    return Found(
        source="SwarmUI",
        prompt=text_of(params.get("prompt")),
        negative_prompt=text_of(params.get("negativeprompt")),
        **numbers(params, guidance="cfgscale"),
        clip_skip=-stop if stop is not None and stop < 0 else None,
        sampler=text_of(params.get("sampler")),
        schedule=text_of(params.get("scheduler")),
        checkpoint_name=text_of(params.get("model")),
        loras=tuple(_loras(params)),
        notes=tuple(_notes(params)),
    )


def _loras(params: Mapping[str, Any]) -> Iterator[Tag]:
    """Names and weights in two lists."""
    for name, weight in zip_longest(_listed(params, "loras"), _listed(params, "loraweights")):
        if text_of(name).strip():
            yield lora(text_of(name).strip(), weight)


def _listed(params: Mapping[str, Any], key: str) -> list[Any]:
    return items(params.get(key)) or text_of(params.get(key)).split(",")


def _notes(params: Mapping[str, Any]) -> Iterator[str]:
    if name := text_of(params.get("vae")):
        yield vae(name)
    if "initimagecreativity" in params:
        yield IMG2IMG
    if any(key.startswith("controlnet") for key in params):
        yield CONTROLNET
    if any(key.startswith("refiner") for key in params):
        yield "A refiner or upscaler took over for the last steps; that is not done here."
    if variation := text_of(params.get("variationseed")):
        yield f"The variation seed {brief(variation, 24)} was mixed in; that is not done here."
    if _TAG.search(text_of(params.get("prompt"))):
        yield "SwarmUI's <tags> in the prompt are read as text here."
