"""InvokeAI, in the three ways that it has written over the years."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from studio.prompts import infotext
from studio.prompts.files._reading import (
    CONTROLNET,
    IMG2IMG,
    IP_ADAPTER,
    REFINER,
    TILED,
    Texts,
    items,
    json_object,
    lora,
    mapping,
    noise,
    numbers,
    part,
    vae,
    whole,
)
from studio.prompts.files.found import Found, text_of
from studio.prompts.tags import Tag

_WEIGHT = re.compile(r"[\w)]\+|[\w)]-(?=[\s,)]|$)|\)\d")
_DREAM = re.compile(r"(?<!\S)-([ACHSWs]) ?(\S++)")


def read(held: Texts) -> Found | None:
    data = json_object(held.get("invokeai_metadata"))
    if data is None:
        return None
    model = part(data, "model")
    skipped = whole(data.get("clip_skip"))
    return Found(
        source="InvokeAI",
        prompt=text_of(data.get("positive_prompt")),
        negative_prompt=text_of(data.get("negative_prompt")),
        **numbers(data, guidance="cfg_scale"),
        # InvokeAI counts the layers that are skipped
        clip_skip=None if skipped is None else skipped + 1,
        sampler=text_of(data.get("scheduler")),
        checkpoint_name=_name(model) if model else "",
        checkpoint_hash=text_of(model.get("hash")).removeprefix("sha256:"),
        loras=tuple(_loras(data)),
        notes=tuple(_notes(data)),
    )


def _name(model: Mapping[str, Any]) -> str:
    return text_of(model.get("name") or model.get("model_name")) or "unnamed"


def _loras(data: Mapping[str, Any]) -> Iterator[Tag]:
    for entry in filter(None, map(mapping, items(data.get("loras")))):
        yield lora(_name(part(entry, "model") or part(entry, "lora")), entry.get("weight"))


def _notes(data: Mapping[str, Any]) -> Iterator[str]:
    if items(data.get("controlnets")) or items(data.get("t2iAdapters")):
        yield CONTROLNET
    if items(data.get("ipAdapters")):
        yield IP_ADAPTER
    mode = text_of(data.get("generation_mode"))
    if data.get("init_image") or (mode and not mode.endswith("txt2img")):
        yield IMG2IMG
    if used := part(data, "vae"):
        yield vae(_name(used))
    if data.get("refiner_model"):
        yield REFINER
    if data.get("hrf_enabled"):
        yield "The high-resolution pass was left out."
    if data.get("seamless_x") or data.get("seamless_y"):
        yield TILED
    if text_of(data.get("rand_device")) not in {"", "cpu"}:
        yield noise("GPU")
    prompts = f"{text_of(data.get('positive_prompt'))} {text_of(data.get('negative_prompt'))}"
    if _WEIGHT.search(prompts):
        yield "InvokeAI's weights such as word+ and (words)1.2 are read as text here."


def read_sd_metadata(held: Texts) -> Found | None:
    """InvokeAI up to 2.x: `sd-metadata`."""
    data = json_object(held.get("sd-metadata"))
    if data is None or not (image := part(data, "image")):
        return None
    said = image.get("prompt")
    parts = [text_of(piece.get("prompt")) for piece in map(mapping, items(said)) if piece]
    prompt, negative = _bracketed(", ".join(parts) or text_of(said))
    return Found(
        source="InvokeAI",
        prompt=prompt,
        negative_prompt=negative,
        **numbers(image, guidance="cfg_scale"),
        sampler=text_of(image.get("sampler")),
        checkpoint_name=text_of(data.get("model_weights")),
        checkpoint_hash=text_of(data.get("model_hash")),
        notes=() if image.get("type", "txt2img") == "txt2img" else (IMG2IMG,),
    )


def read_dream(held: Texts) -> Found | None:
    """InvokeAI 1.x: `Dream` with a quoted prompt and command-line switches."""
    said = held.get("Dream", "")[: infotext.MAX_CHARS]
    quoted, _, switches = said.removeprefix('"').rpartition('"')
    if not said.startswith('"') or not quoted:
        return None
    given = dict(_DREAM.findall(switches))
    prompt, negative = _bracketed(quoted)
    return Found(
        source="InvokeAI",
        prompt=prompt,
        negative_prompt=negative,
        **numbers(given, steps="s", guidance="C", seed="S", width="W", height="H"),
        sampler=given.get("A", ""),
    )


def _bracketed(prompt: str) -> tuple[str, str]:
    """Early InvokeAI wrote what it did not want in square brackets."""
    unwanted = re.findall(r"\[([^\[\]]*+)\]", prompt)
    wanted = re.sub(r"\[[^\[\]]*+\]", "", prompt)
    return wanted.strip(" ,"), ", ".join(part.strip() for part in unwanted if part.strip())
