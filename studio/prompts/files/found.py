"""From another program's words to ours: names, bounds, and a sentence for what was lost."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, get_args

from annotated_types import Ge, Le

from studio import samplers
from studio.core import requests
from studio.core.errors import InvalidRequest
from studio.core.records import NOTHING
from studio.prompts.grammar import without_hypernetworks
from studio.prompts.tags import MAX_STRENGTH, Tag, names, renamed, tagged

MAX_NOTES = 24
MAX_CHECKPOINT_CHARS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a file says, as it says it; None and "" stand for nothing."""

    source: str
    prompt: str = ""
    negative_prompt: str = ""
    steps: object = None
    guidance: object = None
    seed: object = None
    width: object = None
    height: object = None
    clip_skip: object = None
    """Counted as A1111 does: 1 is the last layer."""
    sampler: str = ""
    schedule: str = ""
    checkpoint_name: str = ""
    checkpoint_hash: str = ""
    notes: tuple[str, ...] = ()
    hires: Mapping[str, object] | None = None
    """A second pass: `factor`, `strength`, `steps` and `upscaler`, by its name."""
    over: Mapping[str, object] = field(default_factory=lambda: NOTHING)
    """How a picture was painted over: fields of an img2img or inpainting request."""
    lora_hashes: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    """Hashes of LoRAs that have a tag in the prompt, by name."""
    loras: tuple[Tag, ...] = ()
    """LoRAs that have none."""
    embeddings: tuple[str, ...] = ()
    """Words of the prompts that stood for vectors."""
    vae: str = ""
    """What was used instead of the checkpoint's own."""
    refiner: str = ""
    """What took over for the last steps: `NAME [HASH]`, or either."""
    refiner_after: object = None
    """Share of the steps before it did."""
    weights: str = ""
    """How they were in memory."""
    task: str | None = None
    request: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovered:
    """The settings in a picture, as far as they can be had here."""

    source: str
    """The program that made it: "Pochade", "A1111", "Forge", "ComfyUI", …"""
    prompt: str
    negative_prompt: str
    fields: Mapping[str, Any]
    """Fields of a sampled request, prompts among them, within their bounds. `checkpoint` is never
    among them: match `checkpoint_hash` and `checkpoint_name` against the checkpoints there are."""
    notes: tuple[str, ...]
    """What could not be honoured, a sentence each. Holds names from the file: escape before HTML."""
    over: Mapping[str, Any]
    """Fields of a request that paints over a picture, within their bounds: `strength`, and for a
    masked one `feather_px`, `padding_px`, `area`, `content` and `invert`. The picture itself is not
    in the file."""
    checkpoint_name: str | None
    """Without folder and ending; for our own pictures the checkpoint's id."""
    checkpoint_hash: str | None
    """Lower-case hex: SHA-256 or its first 8 to 12 digits, or A1111's older 8."""
    task: str | None = None
    """Of our own pictures: which task made it."""
    lora_hashes: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    """First digits of the hashes of LoRAs that have a tag in the prompt, by name."""
    embeddings: tuple[str, ...] = ()
    """Words of the prompts that stood for vectors."""
    vae_name: str | None = None
    """Without folder and ending: what was used instead of the checkpoint's own."""
    refiner_name: str | None = None
    refiner_hash: str | None = None
    """What took over for the last steps, as `checkpoint_name` and `checkpoint_hash` say it."""
    request: Mapping[str, Any] | None = None
    """Of our own pictures: the whole request as the file claims it. Parse it before use."""


def recovered(found: Found) -> Recovered:
    """Cleans, bounds and translates; whatever had to change is in the notes."""
    prompt, notes = _prompt("prompt", tagged(found.prompt, map(_tag, found.loras)))
    # a tag does nothing in there, in A1111 either
    negative, more = _prompt(
        "negative prompt",
        renamed(found.negative_prompt, dict.fromkeys(names(found.negative_prompt))),
    )
    notes += more
    fields: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative}
    for name, (kind, whole) in _NUMBERS.items():
        value, note = _bounded(name, getattr(found, name), kind, whole=whole)
        fields[name] = value
        notes += note
    fields["sampler"], more = _sampler(found.sampler, found.schedule)
    notes += more
    fields["weights"] = found.weights if found.weights in get_args(requests.Weights) else None
    fields["hires"], more = _hires(found.hires)
    notes += more
    hexadecimal = found.checkpoint_hash.strip().lower()
    refiner_name, refiner_hash = _named_and_hashed(found.refiner)
    return Recovered(
        source=found.source,
        prompt=prompt,
        negative_prompt=negative,
        fields=MappingProxyType(
            {name: value for name, value in fields.items() if value is not None and value != ""}
        ),
        over=MappingProxyType(_over(found.over)),
        notes=tuple(dict.fromkeys([*notes, *found.notes]))[:MAX_NOTES],
        checkpoint_name=_checkpoint_name(found) or None,
        checkpoint_hash=hexadecimal if _HASH.fullmatch(hexadecimal) else None,
        lora_hashes=MappingProxyType(
            {brief(name): digest.lower() for name, digest in found.lora_hashes.items()}
        ),
        embeddings=tuple(map(brief, found.embeddings)),
        refiner_name=refiner_name,
        refiner_hash=refiner_hash,
        vae_name=brief(_file_name(found.vae), MAX_CHECKPOINT_CHARS) or None,
        task=found.task,
        request=found.request,
    )


def _tag(tag: Tag) -> Tag:
    """A LoRA by its file's name, its weights within bounds."""
    name = re.sub(r"[<>:]", "", _file_name(tag.name))
    low, high = -MAX_STRENGTH, MAX_STRENGTH
    return Tag(name, min(max(tag.weight, low), high), min(max(tag.text_weight, low), high))


def brief(value: object, limit: int = 60) -> str:
    """A value from a file, fit to stand in a sentence: printable, on one line, short."""
    text = " ".join(_UNWANTED.sub("", str(value)[: limit * 4]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def text_of(value: object) -> str:
    """`value` if it is text, a number as text, else nothing."""
    if isinstance(value, str):
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else ""


# Control characters but tab and newline, lone surrogates, and marks that turn the reading direction.
_UNWANTED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
_HASHED = re.compile(r"(.*?)\s*\[([0-9a-fA-F]{8,64})\]\s*", re.DOTALL)
_HASH = re.compile(r"[0-9a-f]{8,64}")
_ENDING = re.compile(r"\.(?:safetensors|ckpt|pt|pth|bin|gguf|sft)$", re.IGNORECASE)
_SQUARE = re.compile(r"\[([^\[\]]*+)\]")
_JOINING = re.compile(r"\bAND\b")

_NUMBERS: Mapping[str, tuple[Any, bool]] = MappingProxyType(
    {
        "width": (requests.Pixels, True),
        "height": (requests.Pixels, True),
        "steps": (requests.Steps, True),
        "guidance": (requests.Guidance, False),
        "seed": (requests.Seed, True),
        "clip_skip": (requests.ClipSkip, True),
        "refiner_after": (requests.Share, False),
    }
)
"""Numeric fields with the type that bounds them, and whether they are whole numbers."""


def _prompt(label: str, text: str) -> tuple[str, list[str]]:
    notes: list[str] = []
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    if (clean := _UNWANTED.sub("", lines)) != lines:
        notes.append(f"Invisible control characters were taken out of the {label}.")
    clean, names = without_hypernetworks(clean)
    notes += [f"'{name}' is a hypernetwork; its tag was taken out." for name in names]
    clean = clean.strip()
    if len(clean) > requests.MAX_PROMPT_CHARS:
        notes.append(
            f"The {label} was cut from {len(clean)} to {requests.MAX_PROMPT_CHARS} characters."
        )
        clean = clean[: requests.MAX_PROMPT_CHARS].rstrip()
    if any(_edits(inner[1]) for inner in _SQUARE.finditer(clean)):
        notes.append("Prompt editing such as [a:b:0.5] or [a|b] is not done here: it reads as [a].")
    if _JOINING.search(clean):
        notes.append("AND joins no prompts here: it is read as a word.")
    return clean, notes


def _edits(inner: str) -> bool:
    _, colon, step = inner.rpartition(":")
    return "|" in inner or (bool(colon) and step.strip().replace(".", "", 1).isdecimal())


def _bounded(
    name: str, value: object, kind: Any, *, whole: bool
) -> tuple[int | float | None, list[str]]:
    if value is None or value == "":
        return None, []
    label = name.replace("_", " ").capitalize()
    number = _number(value)
    if number is None:
        return None, [f"{label} '{brief(value, 30)}' is not a number and was left out."]
    if name == "seed" and number < 0:
        return None, []
    low: Any = next(rule.ge for rule in get_args(kind) if isinstance(rule, Ge))
    high: Any = next(rule.le for rule in get_args(kind) if isinstance(rule, Le))
    # bounds first: JSON can hold whole numbers that are too large for a float
    limited = min(max(number, low), high)
    fitted = round(limited) if whole else float(limited)
    if fitted == number:
        return fitted, []
    return fitted, [f"{label} {brief(value, 30)} became {fitted}."]


_PASS: Mapping[str, tuple[Any, bool]] = MappingProxyType(
    {
        "factor": (requests.Factor, False),
        "strength": (requests.Strength, False),
        "steps": (requests.Steps, True),
    }
)
"""Numbers of a second pass."""
_OVER: Mapping[str, tuple[Any, bool]] = MappingProxyType(
    {
        "strength": (requests.Strength, False),
        "feather_px": (requests.Feather, True),
        "padding_px": (requests.Padding, True),
    }
)
"""Numbers of a request that paints over a picture."""


def _hires(hires: Mapping[str, object] | None) -> tuple[dict[str, Any] | None, list[str]]:
    """A second pass within its bounds, its upscaler still by name; None without a factor."""
    if hires is None:
        return None, []
    values, notes = _all_bounded(_PASS, hires, "hires ")
    if values.get("factor") is None:
        return None, notes
    upscaler = hires.get("upscaler")
    if isinstance(upscaler, str) and upscaler.strip():
        values["upscaler"] = brief(upscaler, MAX_CHECKPOINT_CHARS)
    return values, notes


def _over(over: Mapping[str, object]) -> dict[str, Any]:
    values, _ = _all_bounded(_OVER, over, "")
    if over.get("area") in {"masked", "whole"}:
        values["area"] = over["area"]
    if over.get("content") in {"original", "fill", "noise", "nothing"}:
        values["content"] = over["content"]
    if isinstance(over.get("invert"), bool):
        values["invert"] = over["invert"]
    return values


def _all_bounded(
    rules: Mapping[str, tuple[Any, bool]], given: Mapping[str, object], label: str
) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    notes: list[str] = []
    for name, (kind, whole) in rules.items():
        value, more = _bounded(f"{label}{name}", given.get(name), kind, whole=whole)
        notes += more
        if value is not None:
            values[name] = value
    return values, notes


def _number(value: object) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        for convert in (int, float):
            try:
                value = convert(value.strip())
                break
            except ValueError:
                continue
    if isinstance(value, int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else None


_SPELLINGS: Mapping[str, str] = MappingProxyType({"kdpm_2": "dpm2", "kdpm_2_a": "dpm2 a"})
"""Samplers that others spell so that `samplers` does not know them."""

_NEAREST: Mapping[str, str] = MappingProxyType(
    {
        "ddim_v3": "ddim",
        "ddim cfg++": "ddim",
        "dpm++ 2m sde heun": "dpm++ 2m sde",
        "dpm++ 3m sde": "dpm++ 2m sde",
        "dpmpp_3m_sde": "dpmpp_2m_sde",
        "dpmpp_3m": "dpmpp_2m",
    }
)
"""What comes closest to samplers that there are not here."""


def _sampler(name: str, schedule: str) -> tuple[str | None, list[str]]:
    """Id of our row for a sampler and its schedule, or of the nearest one there is."""
    asked, wanted = name.strip().lower(), schedule.strip().lower()
    if not asked or asked in {"undefined", "default", "none"}:
        return None, []
    if asked.endswith("_k"):  # InvokeAI's mark of Karras
        asked, wanted = asked[:-2], wanted or "karras"
    asked = asked.removesuffix("_gpu")
    spellings = (asked, asked.removeprefix("k_"), _SPELLINGS.get(asked, asked))
    if row := _first(spellings, wanted):
        return row.id, []
    if row := _first(spellings, ""):
        lost = brief(schedule or wanted, 30)
        return row.id, [f"{row.label} has no '{lost}' schedule here; its usual one is used."]
    near = (_NEAREST.get(asked) or asked.removesuffix("_cfg_pp"),)
    missing = f"The sampler '{brief(name, 40)}' is not available here"
    if row := _first(near, wanted) or _first(near, ""):
        return row.id, [f"{missing}; {row.label} is used."]
    return None, [f"{missing}."]


def _first(spellings: Iterable[str], schedule: str) -> samplers.Sampler | None:
    return next((row for name in spellings if (row := _exact(name, schedule))), None)


def _exact(name: str, schedule: str) -> samplers.Sampler | None:
    try:
        return samplers.find_a1111(name, schedule) if schedule else samplers.find(name)
    except InvalidRequest:
        return None


def _named_and_hashed(text: str) -> tuple[str | None, str | None]:
    """Of `NAME [HASH]`, as A1111 writes it; folders and ending are taken off."""
    hashed = _HASHED.fullmatch(text)
    name, digest = hashed.groups() if hashed else (text, None)
    return brief(_file_name(name), MAX_CHECKPOINT_CHARS) or None, digest and digest.lower()


def _checkpoint_name(found: Found) -> str:
    name = found.checkpoint_name.strip()
    if found.request is None:
        name = _file_name(name)
    return brief(name, MAX_CHECKPOINT_CHARS)


def _file_name(path: str) -> str:
    """Without folders and ending."""
    return _ENDING.sub("", path.strip().replace("\\", "/").rstrip("/").rpartition("/")[2])
