"""A1111's text, and what Forge, SD.Next and Fooocus write in its form."""

import re
from collections.abc import Iterator, Mapping

from studio.prompts import infotext
from studio.prompts.files._reading import (
    CONTROLNET,
    IMG2IMG,
    MASKED,
    TILED,
    Texts,
    json_object,
    lora,
    noise,
    parameters,
)
from studio.prompts.files.found import Found, brief, text_of

_USED = frozenset(
    {
        *("Steps", "Sampler", "Schedule type", "Scheduler", "CFG scale", "Seed", "RNG"),
        "Distilled CFG Scale",
        *("Size-1", "Size-2", "Clip skip", "CLiP-skip", "Model", "Model hash", "VAE"),
        *("Hashes", "Denoising strength", "Raw prompt", "Raw negative prompt", "Lora weights"),
        *("Hires upscale", "Hires upscaler", "Hires steps", "Hires resize-1", "Hires resize-2"),
        *("Hires strength", "Mask blur", "Mask mode", "Masked area padding", "Masked content"),
        *("Refiner", "Refiner switch at"),
    }
)
_HARMLESS = frozenset(
    {
        *("Version", "User", "App", "Created Date", "Time", "Index", "Batch-1", "Batch-2"),
        *("Civitai resources", "Civitai metadata", "VAE hash", "Refiner hash", "Operations"),
        *(
            "TI hashes",
            "Lora hashes",
            "LoRA hashes",
            "LoRA networks",
            "Networks",
            "Init image hash",
        ),
        *("Template", "Negative template", "Negative Template", "Parser", "Pipeline", "Backend"),
        *("FP8 weight", "Cache FP16 weight for LoRA", "Diffusion in Low Bits", "Performance"),
        *("Module 1", "Module 2", "Module 3", "Conditional mask weight", "Source Identifier"),
    }
)
"""Keys that change nothing in the picture, or say what others say too."""

_OWN_PASS = (
    "The second pass (Hires. fix) had a prompt, sampler, guidance or checkpoint of its own; here it "
    "has those of the first."
)
_NO_PASS = "The second pass (Hires. fix) does not say how large it was, and is left out."

_LOST = (
    *(
        (f"Hires {what}", _OWN_PASS)
        for what in ("sampler", "schedule type", "prompt", "negative prompt", "checkpoint", "CFG")
    ),
    ("Mask ", MASKED),
    ("Inpaint area", MASKED),
    ("Postprocess ", "It was enlarged afterwards; the tab Upscale does that."),
    ("ControlNet ", CONTROLNET),
    ("ADetailer ", "Faces were painted over by ADetailer; that is not done here."),
    ("Face restoration", "Faces were restored afterwards; that is not done here."),
    ("Variation seed", "A variation seed was mixed in; that is not done here."),
    ("Seed resize", "The seed was resized; that is not done here."),
    ("Emphasis", "Weights were applied in another way than here."),
    ("Tiling", TILED),
    ("Style Selector", "A style selector changed the prompt; that is not done here."),
    ("Styles", "Its styles are not applied here."),
)
"""What is left out of what A1111 and its extensions did, by how their keys start."""


def read(held: Texts) -> Found | None:
    text = parameters(held)
    if not text or json_object(text) is not None:
        return None
    info = infotext.read(text)
    params = info.params
    if not params and "parameters" not in held:
        # a camera writes comments, too
        return None
    scheduler = params.get("Schedule type") or params.get("Scheduler", "")
    source = _program(params, held)
    raw = source == "Fooocus"
    return Found(
        source=source,
        prompt=(raw and params.get("Raw prompt")) or info.prompt,
        negative_prompt=(raw and params.get("Raw negative prompt")) or info.negative_prompt,
        steps=params.get("Steps"),
        guidance=params.get("Distilled CFG Scale") or params.get("CFG scale"),
        seed=params.get("Seed"),
        width=params.get("Size-1"),
        height=params.get("Size-2"),
        clip_skip=_clip_skip(params),
        sampler=params.get("Sampler", ""),
        schedule="" if _labelled(params.get("Sampler", ""), scheduler) else scheduler,
        checkpoint_name=params.get("Model", ""),
        checkpoint_hash=params.get("Model hash", "") or _hash_of_hashes(params),
        hires=_hires(params),
        over=_over(params),
        embeddings=tuple(_names(params.get("TI hashes", ""))),
        vae=_vae(params.get("VAE", "")),
        refiner=_refiner(params),
        refiner_after=params.get("Refiner switch at"),
        loras=tuple(lora(*pair) for pair in _pairs(params.get("Lora weights", "")).items()),
        lora_hashes=_pairs(params.get("Lora hashes") or params.get("LoRA hashes", "")),
        notes=tuple(_notes(params, source)),
    )


def _hires(params: Mapping[str, str]) -> Mapping[str, object] | None:
    """A second pass, whose size is said as a factor or in pixels."""
    factor: object = params.get("Hires upscale") or _ratio(params)
    steps = params.get("Hires steps")
    if factor is None:
        return None
    return {
        "factor": factor,
        "strength": params.get("Hires strength") or params.get("Denoising strength"),
        "steps": None if steps == "0" else steps,
        "upscaler": params.get("Hires upscaler"),
    }


def _ratio(params: Mapping[str, str]) -> float | None:
    try:
        return round(int(params["Hires resize-1"]) / int(params["Size-1"]), 3) or None
    except (KeyError, ValueError, ZeroDivisionError, OverflowError):
        return None


def _over(params: Mapping[str, str]) -> Mapping[str, object]:
    """How a picture was painted over; A1111 leaves out what it does without asking."""
    if "Denoising strength" not in params or _hires(params):
        return {}
    over: dict[str, object] = {"strength": params["Denoising strength"]}
    if not any(key.startswith(_MASKED) for key in params):
        return over
    contents = {said: ours for ours, said in infotext.CONTENTS.items()}
    return over | {
        "feather_px": params.get("Mask blur"),
        "padding_px": params.get("Masked area padding", "32"),
        "area": "masked" if params.get("Inpaint area") == infotext.ONLY_MASKED else "whole",
        "content": contents.get(params.get("Masked content", ""), "original"),
        "invert": params.get("Mask mode") == infotext.NOT_MASKED,
    }


_MASKED = ("Mask ", "Masked ", "Inpaint area")
"""How keys begin that only a masked picture has."""


def _program(params: Mapping[str, str], held: Texts) -> str:
    version = params.get("Version", "")
    if params.get("App") == "SD.Next":
        return "SD.Next"
    if "fooocus" in version.lower() or "fooocus_scheme" in held or "Lora weights" in params:
        return "Fooocus"
    if version.startswith("Pochade"):
        return "Pochade"
    if re.match(r"f\d|neo", version):
        return "Forge"
    return "A1111"


def _labelled(sampler: str, schedule: str) -> bool:
    """Fooocus writes "DPM++ 2M SDE Karras" and the schedule once more."""
    return bool(schedule) and sampler.lower().endswith(f" {schedule.lower()}")


def _clip_skip(params: Mapping[str, str]) -> str | None:
    return params.get("Clip skip") or params.get("CLiP-skip")


def _hash_of_hashes(params: Mapping[str, str]) -> str:
    hashes = json_object(params.get("Hashes")) or {}
    return text_of(hashes.get("model"))


def _notes(params: Mapping[str, str], source: str) -> Iterator[str]:
    lost = dict.fromkeys(
        sentence
        for start, sentence in _LOST
        if any(key.startswith(start) and _on(value) for key, value in params.items())
    )
    yield from lost
    hires = any(key.startswith("Hires ") for key in params)
    masked = any(key.startswith(_MASKED) for key in params)
    if hires and _hires(params) is None:
        yield _NO_PASS
    if "Denoising strength" in params and not hires and not masked:
        yield IMG2IMG
    if "Distilled CFG Scale" in params and params.get("CFG scale") not in {"1", "1.0", None}:
        yield "It had a guidance beside the one that its network was taught; that is not done here."
    if source in {"A1111", "Forge"} and params and params.get("RNG", "GPU") != "CPU":
        yield noise(brief(params.get("RNG", "GPU"), 10))
    told = tuple(start for start, _ in _LOST)
    unknown = [
        brief(key, 40)
        for key, value in params.items()
        if key not in _USED | _HARMLESS and not key.startswith(told) and _on(value)
    ]
    if unknown:
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        yield f"Not used here: {', '.join(unknown[:8])}{more}."


def _refiner(params: Mapping[str, str]) -> str:
    """Switching at 1 never comes to it."""
    name, never = params.get("Refiner", ""), params.get("Refiner switch at", "").startswith("1")
    return "" if never or name.strip().lower() == "none" else name


def _vae(name: str) -> str:
    return "" if name.lower().startswith(("none", "automatic", "default")) else name


def _names(pairs: str) -> list[str]:
    """The names in "name: value, name: value"."""
    return list(_pairs(pairs))


def _pairs(pairs: str) -> dict[str, str]:
    """What is in "name: value, name: value"."""
    halves = (pair.partition(":") for pair in pairs.split(","))
    return {name.strip(): value.strip() for name, _, value in halves if name.strip()}


def _on(value: str) -> bool:
    return value.strip().lower() not in {"", "false", "none", "original"}
