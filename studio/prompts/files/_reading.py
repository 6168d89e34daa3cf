"""What every reader shares: JSON that may hold anything, and sentences for what is lost."""

import json
import math
from collections.abc import Mapping
from typing import Any, cast

from studio.prompts.files.found import brief, text_of
from studio.prompts.tags import Tag

Texts = Mapping[str, str]
"""Texts of a file by keyword."""

IMG2IMG = "It was painted over another picture (img2img), which is not in the file."
MASKED = "It was painted into a masked part of another picture, which is not in the file."
CONTROLNET = "A ControlNet guided this picture, by a map that is not in the file."
REFINER = "A refiner took over for the last steps; choose one under Extras for that."
TILED = "The picture was made to tile; that is not done here."
IP_ADAPTER = "An image prompt (IP-Adapter) shaped this picture, by another that is not in the file."


def vae(name: object) -> str:
    return f"The VAE '{brief(name)}' is not used; the checkpoint's own is."


def noise(drawn: str) -> str:
    return f"Its noise was drawn by another generator ({drawn}): the seed gives another picture."


def parameters(held: Texts) -> str:
    """The text that A1111 and many others write, in a PNG or in EXIF."""
    return held.get("parameters") or held.get("UserComment", "")


def json_object(text: str | None) -> Mapping[str, Any] | None:
    """A JSON object, None for anything else."""
    if not text or not text.lstrip().startswith("{"):
        return None
    try:
        return mapping(json.loads(text))
    except (ValueError, RecursionError):
        return None


def mapping(value: object) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else None


def part(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under `key`, an empty one if there is none."""
    return mapping(data.get(key)) or {}


def items(value: object) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def numbers(data: Mapping[str, Any], **called: str) -> dict[str, Any]:
    """The numbers of a `Found`, each under its own name in `data` or under the one it is `called`."""
    fields = ("steps", "guidance", "seed", "width", "height")
    return {field: data.get(called.get(field, field)) for field in fields}


def lora(name: object, weight: object = 1.0, text_weight: object = None) -> Tag:
    """A LoRA as a tag; without a weight of their own the text encoders have the denoiser's."""
    found = _fraction(weight, 1.0)
    return Tag(text_of(name), found, _fraction(text_weight, found))


def _fraction(value: object, otherwise: float) -> float:
    try:
        found = float(text_of(value))
    except ValueError:
        return otherwise
    return found if math.isfinite(found) else otherwise


def whole(value: object) -> int | None:
    try:
        return int(text_of(value))
    except ValueError:
        return None
