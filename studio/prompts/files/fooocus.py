"""Fooocus's own scheme: JSON under `parameters`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from studio.prompts.files._reading import Texts, items, json_object, lora, parameters
from studio.prompts.files.found import Found, brief, text_of
from studio.prompts.tags import Tag

MAX_PAIR_CHARS = 200


def read(held: Texts) -> Found | None:
    data = json_object(parameters(held))
    if data is None or "sui_image_params" in data:
        return None
    known = {key.lower().replace(" ", "_"): value for key, value in data.items()}
    if "prompt" not in known or not known.keys() & {"base_model", "guidance_scale", "sharpness"}:
        return None
    width, height = _pair(known.get("resolution"))
    return Found(
        source="Fooocus",
        prompt=text_of(known["prompt"]),
        negative_prompt=text_of(known.get("negative_prompt")),
        steps=known.get("steps"),
        guidance=known.get("guidance_scale"),
        seed=known.get("seed"),
        width=width,
        height=height,
        clip_skip=known.get("clip_skip"),
        sampler=text_of(known.get("sampler")),
        schedule=text_of(known.get("scheduler")),
        checkpoint_name=text_of(known.get("base_model")),
        checkpoint_hash=text_of(known.get("base_model_hash")),
        loras=tuple(dict.fromkeys(_loras(known))),
        notes=tuple(_notes(known)),
    )


def _pair(value: object) -> tuple[object, object]:
    """Two numbers from "(1024, 1024)", "1024×1024" or a list."""
    text = text_of(value)[:MAX_PAIR_CHARS]
    numbers = re.findall(r"\d{1,6}", text) or items(value)
    return (numbers[0], numbers[1]) if len(numbers) >= 2 else (None, None)


def _loras(known: Mapping[str, Any]) -> Iterator[Tag]:
    """A list of [name, weight, hash], or entries of "name : weight"."""
    for entry in map(items, items(known.get("loras"))):
        if entry:
            yield lora(*entry[:2])
    for key, value in known.items():
        if key.startswith("lora_combined_"):
            name, _, weight = text_of(value).partition(" : ")
            yield lora(name, weight)


def _notes(known: Mapping[str, Any]) -> Iterator[str]:
    if styles := re.findall(r"'([^']*+)'", text_of(known.get("styles"))):
        yield f"Its styles are not applied here: {brief(', '.join(styles), 100)}."
    refiner = text_of(known.get("refiner_model"))
    if refiner and refiner != "None":
        yield f"The refiner '{brief(refiner)}' is not used here."
    if "sharpness" in known or "adm_guidance" in known:
        yield "Fooocus's own sharpness and guidance tricks are not done here."
