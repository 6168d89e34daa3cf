"""`<lora:name:0.8>` in a prompt, read as A1111's studio reads it.

A tag names a network that changes how the whole picture is painted, and is taken out of the text:

    <lora:name>                     at full strength
    <lora:name:0.8>                 denoiser and text encoders at 0.8
    <lora:name:0.5:0.8>             text encoders at 0.5, denoiser at 0.8
    <lora:name:te=0.5:unet=0.8>     the same by name

`lyco` means the same as `lora`. Any other `<` is text.
"""

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from studio.core.errors import InvalidRequest

MAX_STRENGTH = 10.0
"""Largest weight of a network, also below zero; pictures fall apart long before."""

# Possessive: linear whatever it is given. A name holds neither brackets nor colons.
_TAG = re.compile(r"<(?:lora|lyco):([^<>:]++)((?::[^<>:]*+)*+)>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tag:
    """What a tag asks for."""

    name: str
    weight: float = 1.0
    """Of the denoiser's part. 0.0 leaves it out, 1.0 is as trained."""
    text_weight: float = 1.0
    """Of the text encoders' part."""


def untagged(text: str) -> tuple[str, tuple[Tag, ...]]:
    """The text without its tags, and the tags in the order in which they stand there.

    Raises `InvalidRequest` for a tag without a name, or whose weights are none.
    """
    tags = tuple(_read(found[1].strip(), found[2].split(":")[1:]) for found in _TAG.finditer(text))
    return (_TAG.sub("", text) if tags else text), tags


def tagged(text: str, tags: Iterable[Tag]) -> str:
    """The text with these tags behind it."""
    return " ".join(filter(None, (text, *map(written, tags))))


def written(tag: Tag) -> str:
    """A tag as text; as short as it says the same."""
    if tag.weight == tag.text_weight:
        return f"<lora:{tag.name}:{tag.weight:g}>"
    return f"<lora:{tag.name}:{tag.text_weight:g}:{tag.weight:g}>"


def names(text: str) -> tuple[str, ...]:
    """What the tags name, each once; their weights are not looked at."""
    return tuple(dict.fromkeys(found[1].strip() for found in _TAG.finditer(text)))


def renamed(text: str, names: Mapping[str, str | None]) -> str:
    """The text with other names in its tags; without those whose name is None."""

    def said(found: re.Match[str]) -> str:
        name = names.get(found[1].strip(), found[1])
        return "" if name is None else found[0].replace(found[1], name, 1)

    return _TAG.sub(said, text)


def _read(name: str, rest: list[str]) -> Tag:
    if not name:
        raise InvalidRequest(
            "A tag in the prompt names no LoRA.", "Write <lora:name:0.8>.", field="prompt"
        )
    given = [part for part in rest if "=" not in part]
    by_name = dict(part.split("=", 1) for part in rest if "=" in part)
    known = {key.strip().lower(): value for key, value in by_name.items()}
    if unknown := next((key for key in known if key not in {"te", "unet"}), None):
        raise InvalidRequest(
            f"The tag of the LoRA '{name[:60]}' sets '{unknown[:20]}', which is not done here.",
            "Write <lora:name:0.8>, or <lora:name:te=0.5:unet=0.8>.",
            field="prompt",
        )
    if len(given) > 2:
        raise _wrong(name, ":".join(rest))
    text_weight = _number(name, known.get("te") or (given[0] if given else "1"))
    weight = _number(name, known.get("unet") or (given[1] if len(given) > 1 else str(text_weight)))
    return Tag(name, weight, text_weight)


def _number(name: str, text: str) -> float:
    with suppress(ValueError):
        number = float(text)
        if math.isfinite(number) and abs(number) <= MAX_STRENGTH:
            return number
    raise _wrong(name, text)


def _wrong(name: str, text: str) -> InvalidRequest:
    return InvalidRequest(
        f"The weight '{text.strip()[:30]}' of the LoRA '{name[:60]}' is not a number between "
        f"-{MAX_STRENGTH:g} and {MAX_STRENGTH:g}.",
        "Write <lora:name:0.8>.",
        field="prompt",
    )
