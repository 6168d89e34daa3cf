"""A1111's `parameters` text: a prompt, a negative prompt and one line of settings.

Half of the picture tools there are read it. `read` agrees with A1111's own reader on every text,
and goes on where that one gives up on the dialects of SD.Next and of older extensions.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from studio import samplers
from studio.core.errors import InvalidRequest, TooLarge
from studio.core.records import NOTHING, Picture
from studio.prompts.tags import Tag, tagged

MAX_CHARS = 64 * 1024
NEGATIVE = "Negative prompt:"

_SIZE = re.compile(r"(\d+)x(\d+)")
# Possessive: the text between quotes is walked once.
_QUOTED = re.compile(r'"(?:\\.|[^\\"])++"', re.DOTALL)
_TEMPLATES = ("Template:", "Negative template:", "Negative Template:")
_FEWEST = 3
"""Settings that a line must hold at least to be one of settings and not of the prompt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Infotext:
    """What `read` found."""

    prompt: str
    negative_prompt: str
    params: Mapping[str, str]
    """Settings by A1111's names, as text. `Size: 512x768` becomes `Size-1` and `Size-2`."""


def write(task: str, request: Mapping[str, Any], picture: Picture) -> str:
    """The text for a picture of a resolved request; `task` leaves no trace, A1111 has no key for it.

    A line break in a prompt cannot forge settings: readers take the last line, and that is ours.
    A prompt with a line that starts with "Negative prompt:" has no form in this grammar; the
    picture's own record, beside this text, keeps it.
    """
    negative = request.get("negative_prompt")
    lines = [tagged(str(request.get("prompt", "")), _tags(request))]
    if negative:
        lines.append(f"{NEGATIVE} {negative}")
    pairs = {**_sampling(request), **_picture(request, picture), **_checkpoint(picture.facts)}
    if vae := _facts(picture.facts, "vae"):
        pairs |= {"VAE hash": vae.get("short"), "VAE": vae.get("name")}
    pairs |= _refiner(picture.facts)
    pairs |= _over(request, picture.facts)
    pairs |= _controls(request)
    pairs |= {name.capitalize(): picture.facts.get(name) for name in ("preprocessor", "stylizer")}
    clip_skip = request.get("clip_skip") or 1
    pairs["Clip skip"] = clip_skip if clip_skip > 1 else None
    pairs["Styles"] = ", ".join(map(str, request.get("styled") or ())) or None
    pairs["RNG"] = picture.facts.get("rng")
    pairs |= _enlarging(task, request, picture.facts)
    pairs["Lora hashes"] = _hashes(picture.facts, "loras")
    pairs["TI hashes"] = _hashes(picture.facts, "embeddings")
    settings = [f"{key}: {_quoted(value)}" for key, value in pairs.items() if value is not None]
    if hashes := _resources(picture.facts):
        # Civitai looks for this very form, unquoted and without nested braces
        settings.append(f"Hashes: {json.dumps(hashes, separators=(',', ':'))}")
    version = _facts(picture.facts, "versions").get("pochade")
    settings.append(f"Version: {_quoted(f'Pochade {version}' if version else 'Pochade')}")
    return "\n".join([*lines, ", ".join(settings)]).strip()


def read(text: str) -> Infotext:
    """Parses any text, in time linear in its length; text without settings is all prompt.

    Raises `TooLarge` beyond `MAX_CHARS`.
    """
    if len(text) > MAX_CHARS:
        raise TooLarge(
            f"The settings in the picture are too long ({len(text) // 1024} KB, "
            f"the limit is {MAX_CHARS // 1024} KB).",
            "Type the prompt by hand.",
        )
    lines = text.strip().split("\n")
    at = _settings_line(lines)
    params = dict(_pairs(lines[at])) if at is not None else {}
    templates = params.get("App") == "SD.Next"
    sections: dict[str, list[str]] = {"": [], NEGATIVE: []}
    section = ""
    for line in map(str.strip, lines[:at]):
        for start in (NEGATIVE, *(_TEMPLATES if templates else ())):
            if line.startswith(start):
                section = start
                line = line[len(start) :].strip()
                break
        sections.setdefault(section, []).append(line)
    for line in lines[at + 1 :] if at is not None else ():
        key, colon, value = line.partition(":")
        if colon:
            params.setdefault(key.strip(), value.strip())
    # an empty first line leaves no mark in A1111's reader either
    joined = {name: "\n".join(rest).lstrip("\n") for name, rest in sections.items()}
    for start in _TEMPLATES:
        if start in joined:
            params.setdefault(start[:-1], joined[start])
    return Infotext(
        prompt=joined[""], negative_prompt=joined[NEGATIVE], params=MappingProxyType(params)
    )


def _settings_line(lines: list[str]) -> int | None:
    """The last line if it holds settings, else the last one that starts as settings do."""
    if _enough(lines[-1]):
        return len(lines) - 1
    for at in range(len(lines) - 2, -1, -1):
        if lines[at].startswith("Steps: ") and _enough(lines[at]):
            return at
    return None


def _enough(line: str) -> bool:
    return sum(1 for _ in _raw_pairs(line)) >= _FEWEST


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    for key, raw in _raw_pairs(line):
        value = _unquoted(raw)
        if size := _SIZE.fullmatch(value):
            yield f"{key}-1", size[1]
            yield f"{key}-2", size[2]
        else:
            yield key, value


def _raw_pairs(line: str) -> Iterator[tuple[str, str]]:
    """Keys and values in A1111's sense, walked once.

    A key is a run of word characters, blanks, "-" and "/" before a colon that starts with a word
    character and has two characters at least. A value is a quoted string that a comma or the end
    follows, or whatever there is up to the next comma.
    """
    at = 0
    while (colon := line.find(":", at)) >= 0:
        start = _key_start(line, at, colon)
        if start is None:
            at = colon + 1
            continue
        value = colon + 1
        while value < len(line) and line[value].isspace():
            value += 1
        quoted = _QUOTED.match(line, value)
        if quoted and line[quoted.end() : quoted.end() + 1] in {"", ","}:
            end = quoted.end()
        else:
            comma = line.find(",", value)
            end = comma if comma >= 0 else len(line)
        yield line[start:colon], line[value:end]
        at = end + 1


def _key_start(line: str, low: int, colon: int) -> int | None:
    start = None
    at = colon - 1
    while at >= low and (line[at] in " -/_" or line[at].isalnum()):
        if line[at] == "_" or line[at].isalnum():
            start = at
        at -= 1
    return start if start is not None and colon - start > 1 else None


def _quoted(value: object) -> str:
    text = str(value)
    if any(letter in text for letter in ",:\n"):
        return json.dumps(text, ensure_ascii=False)
    return text


def _unquoted(text: str) -> str:
    if not (text.startswith('"') and text.endswith('"')):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def _sampling(request: Mapping[str, Any]) -> dict[str, Any]:
    pairs: dict[str, Any] = {"Steps": request.get("steps")}
    if name := request.get("sampler"):
        try:
            pairs["Sampler"], pairs["Schedule type"] = samplers.find(name).a1111
        except InvalidRequest:
            pairs["Sampler"] = name
    guidance = request.get("guidance")
    pairs["CFG scale"] = None if guidance is None else float(guidance)
    return pairs


def _picture(request: Mapping[str, Any], picture: Picture) -> dict[str, Any]:
    """With a second pass the size is that of the first one; what drew nothing has no seed."""
    width, height = picture.width, picture.height
    if _hires(request):
        width, height = request.get("width", width), request.get("height", height)
    drawn = request.get("seed") is not None
    return {"Seed": picture.seed if drawn else None, "Size": f"{width}x{height}"}


def _hires(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return _facts(request, "hires")


CONTENTS = {"fill": "fill", "noise": "latent noise", "nothing": "latent nothing"}
"""Starts of a masked part as A1111 calls them; without a word it starts as it is."""
NOT_MASKED, ONLY_MASKED = "Inpaint not masked", "Only masked"


def _over(request: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """What was painted over, and how much of it; A1111 leaves out what it does without asking."""
    strength = _hires(request).get("strength")
    if request.get("image") and request.get("steps"):
        strength = facts.get("strength", request.get("strength")) or None
    pairs: dict[str, Any] = {"Denoising strength": strength}
    if not request.get("mask"):
        return pairs
    masked = request.get("area") == "masked"
    return pairs | {
        "Mask mode": NOT_MASKED if request.get("invert") else None,
        "Mask blur": request.get("feather_px"),
        "Inpaint area": ONLY_MASKED if masked else None,
        "Masked area padding": request.get("padding_px") if masked else None,
        "Masked content": CONTENTS.get(str(request.get("content"))),
    }


RESIZES = {"stretch": "Just Resize", "crop": "Crop and Resize", "pad": "Resize and Fill"}
BALANCES = {
    "prompt": "My prompt is more important",
    "balanced": "Balanced",
    "control": "ControlNet is more important",
}
"""What A1111's extension for ControlNets calls them."""


def _controls(request: Mapping[str, Any]) -> dict[str, Any]:
    """The units that steered it, as that extension writes them."""
    steering = [unit for unit in _rows(request, "units") if unit.get("weight")]
    return {f"ControlNet {place}": _control(unit) for place, unit in enumerate(steering)}


def _control(unit: Mapping[str, Any]) -> str:
    pairs = {
        "Module": unit.get("preprocessor") or "none",
        "Model": unit.get("controlnet"),
        "Weight": unit.get("weight"),
        "Resize Mode": RESIZES.get(str(unit.get("resize"))),
        "Guidance Start": unit.get("start"),
        "Guidance End": unit.get("end"),
        "Control Mode": BALANCES.get(str(unit.get("balance"))),
    }
    return ", ".join(f"{key}: {value}" for key, value in pairs.items() if value is not None)


def _enlarging(task: str, request: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """A second pass, or the enlarging of a picture that was there."""
    upscaler = _facts(facts, "upscaler").get("label")
    if hires := _hires(request):
        return {
            "Hires upscale": f"{hires.get('factor', 1):g}",
            "Hires steps": hires.get("steps"),
            "Hires upscaler": upscaler or hires.get("upscaler"),
        }
    if task == "upscale":
        return {
            "Postprocess upscale by": f"{request.get('scale', 1):g}",
            "Postprocess upscaler": upscaler or request.get("upscaler"),
        }
    return {}


def _checkpoint(facts: Mapping[str, Any]) -> dict[str, Any]:
    checkpoint = _facts(facts, "checkpoint")
    return {"Model hash": checkpoint.get("short"), "Model": checkpoint.get("id")}


def _refiner(facts: Mapping[str, Any]) -> dict[str, Any]:
    refiner = _facts(facts, "refiner")
    if not refiner:
        return {}
    short = refiner.get("short")
    return {
        "Refiner": f"{refiner.get('id')} [{short}]" if short else refiner.get("id"),
        "Refiner switch at": refiner.get("after"),
    }


def _tags(request: Mapping[str, Any]) -> Iterator[Tag]:
    """Tags of the LoRAs that have none in the prompt."""
    for lora in _rows(request, "loras"):
        if not lora.get("from_prompt"):
            name = str(lora.get("name", "")).rpartition("/")[2]
            weight = float(lora.get("weight", 1.0))
            text_weight = lora.get("text_weight")
            yield Tag(name, weight, weight if text_weight is None else float(text_weight))


def _hashes(facts: Mapping[str, Any], kind: str) -> str | None:
    """Names with the first twelve digits of their hashes, as A1111 lists them."""
    named = {row.get("name"): row.get("short") for row in _rows(facts, kind)}
    return ", ".join(f"{_plain(name)}: {short}" for name, short in named.items()) or None


def _resources(facts: Mapping[str, Any]) -> dict[str, str]:
    """Everything that went into the picture, by hash."""
    model = _facts(facts, "checkpoint").get("short")
    vae = _facts(facts, "vae").get("short")
    added = {
        f"{kind}:{_plain(row['name'])}": str(row["short"])
        for kind, name in (("lora", "loras"), ("embed", "embeddings"))
        for row in _rows(facts, name)
    }
    return {
        **({"model": str(model)} if model else {}),
        **({"vae": str(vae)} if vae else {}),
        **added,
    }


def _plain(name: object) -> str:
    return re.sub(r"[:,{}]", "", str(name))


def _rows(data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = data.get(key)
    rows = cast("list[Any]", found) if isinstance(found, list | tuple) else []
    return [cast("Mapping[str, Any]", row) for row in rows if isinstance(row, Mapping)]


def _facts(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = facts.get(key)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else NOTHING
