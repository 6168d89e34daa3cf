"""What the values of everything that is painted step by step mean. The controls are in `painting`."""

import html
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from studio.core.errors import InvalidRequest
from studio.core.requests import MAX_PROMPT_CHARS, MAX_SEED
from studio.ui.form import Choices, Values
from studio.ui.widgets import extras, presets, references

RANDOM, FIXED = "Random", "Fixed"
OWN = "Own size"
"""The `size_mode` of a form whose size else follows from something, such as a picture."""

SETTINGS = (
    "checkpoint",
    "width",
    "height",
    "steps",
    "guidance",
    "sampler",
    "count",
    "clip_skip",
    "weights",
)
"""Values that go into a request as they are."""


PLANNED = "planned"
WEIGHTS = {
    PLANNED: "As planned",
    "whole": "Whole",
    "packed": "As in the file",
    "fp8": "8 bit",
    "blocks": "Block by block",
}
"""Ways to keep weights in memory, as people see them."""


def defaults(choices: Choices) -> dict[str, Any]:
    return {
        "prompt": "",
        "negative_prompt": "",
        "seed_mode": RANDOM,
        "seed": "",
        "count": 1,
        "clip_skip": 1,
        "weights": PLANNED,
        **native(choices, None),
    }


def native(choices: Choices, checkpoint_id: str | None) -> dict[str, Any]:
    """The values that a checkpoint paints best with."""
    found = checkpoint(choices, checkpoint_id)
    if found is None:
        return {
            "checkpoint": None,
            "width": 512,
            "height": 512,
            "steps": 20,
            "guidance": 7.0,
            "sampler": None,
        }
    return {
        "checkpoint": found["id"],
        "width": found["native_px"],
        "height": found["native_px"],
        "steps": found["defaults"]["steps"],
        "guidance": found["defaults"]["guidance"],
        "sampler": found["defaults"]["sampler"],
    }


def checkpoint(choices: Choices, checkpoint_id: str | None) -> Mapping[str, Any] | None:
    """The usable checkpoint of that id, else the default one, else None."""
    usable = {found["id"]: found for found in choices["checkpoints"] if not found["problem"]}
    return usable.get(checkpoint_id or "") or usable.get(choices["default_checkpoint"] or "")


def native_size(choices: Choices, checkpoint_id: str | None) -> tuple[int, int]:
    """The side of the square that a checkpoint paints best, and the multiple that sides must be
    of, in px."""
    found = checkpoint(choices, checkpoint_id)
    return (found["native_px"], found["multiple_px"]) if found else (512, 8)


def supports(choices: Choices, checkpoint_id: str | None, what: str) -> bool:
    """Whether a checkpoint's family has a negative prompt, say."""
    found = checkpoint(choices, checkpoint_id)
    return bool(found["supports"].get(what, True)) if found else True


AFTER_PICTURES = "This checkpoint looks at the picture and paints what the words say."


def strengthless(choices: Choices, checkpoint_id: str | None, role: str) -> bool:
    """Whether a strength means nothing to a checkpoint where it is used for that."""
    found = checkpoint(choices, checkpoint_id)
    return bool(found and role in found.get("strengthless", ()))


def weights_choices(choices: Choices, checkpoint_id: str | None) -> list[tuple[str, str]]:
    """The ways to keep a checkpoint's weights, as label and id: as planned, and those there are."""
    found = checkpoint(choices, checkpoint_id)
    ways = (PLANNED, *(found.get("ways", ()) if found else ()))
    return [(WEIGHTS[way], way) for way in ways]


def has_ways(choices: Choices, checkpoint_id: str | None) -> bool:
    """Whether there is anything to choose."""
    return len(weights_choices(choices, checkpoint_id)) > len((PLANNED, "whole"))


def sampler_choices(choices: Choices, checkpoint_id: str | None) -> list[tuple[str, str]]:
    """The samplers that fit a checkpoint, as label and id."""
    found = checkpoint(choices, checkpoint_id)
    fit = found.get("samplers") if found else None
    return [(row["label"], row["id"]) for row in choices["samplers"] if not fit or row["id"] in fit]


UNGUIDED = "This checkpoint was made to paint without."
_GUIDANCE = {"embedded": "Built into this checkpoint: it costs no time.", "none": UNGUIDED}


def guidance_info(choices: Choices, checkpoint_id: str | None) -> str | None:
    """What there is to say below the guidance of a checkpoint, if it is not the usual one."""
    found = checkpoint(choices, checkpoint_id)
    return _GUIDANCE.get(found.get("guidance", "")) if found else None


PLAIN_WORDS = "This checkpoint reads whole sentences; brackets, weights and BREAK are left out."


def prompt_info(choices: Choices, checkpoint_id: str | None) -> str | None:
    """What there is to say below a prompt."""
    return None if supports(choices, checkpoint_id, "prompt_weights") else PLAIN_WORDS


def to_fields(values: Values) -> dict[str, Any]:
    """Request fields of these values; what is empty is left to the studio.

    Raises `InvalidRequest` for a fixed seed that is not a whole number.
    """
    own = values.get("size_mode", OWN) == OWN
    left = () if own else ("width", "height")
    fields = {
        name: values[name]
        for name in SETTINGS
        if name not in left and values.get(name) not in (None, "")
    }
    fields["prompt"] = values.get("prompt") or ""
    fields["negative_prompt"] = values.get("negative_prompt") or ""
    if styles := presets.names(values.get(presets.NAME)):
        fields["styles"] = styles
    fields |= extras.read(values.get("extras"))
    if values.get("seed_mode") == FIXED:
        fields["seed"] = whole_seed(values.get("seed"))
    return fields


def whole_seed(text: object) -> int:
    # a text box, because a number in a browser is exact only up to 2^53
    try:
        return int(str(text).strip())
    except ValueError:
        raise InvalidRequest(
            "The fixed seed is not a whole number.",
            f"Type one from 0 to {MAX_SEED}, or choose Random.",
            field="seed",
        ) from None


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Values that paint this one picture again."""
    return {
        **from_settings(record["request"]),
        "seed_mode": FIXED,
        "seed": str(record["seed"]),
        "count": 1,
    }


def from_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values from request fields that may come from anywhere; what does not fit is left out."""
    values: dict[str, Any] = {}
    told = {name: fields.get(name) for name in ("prompt", "negative_prompt")}
    # a picture that nothing was said of takes away no words
    for name, text in told.items() if any(told.values()) else ():
        if isinstance(text, str):
            values[name] = text[:MAX_PROMPT_CHARS]
    if "prompt" in values:
        # what the form had chosen was for other words
        values[presets.NAME] = presets.write(fields.get(presets.NAME) or ())
    for name in ("checkpoint", "sampler", "weights"):
        if isinstance(found := fields.get(name), str):
            values[name] = found
    for name in ("width", "height", "steps", "count", "clip_skip"):
        if _is_number(found := fields.get(name)):
            values[name] = int(found)
    if _is_number(found := fields.get("guidance")):
        values["guidance"] = float(found)
    if fields.keys() & {"loras", "vae", "refiner"}:
        values["extras"] = extras.write(fields)
    if _is_number(seed := fields.get("seed")) and 0 <= seed <= MAX_SEED:
        values |= {"seed_mode": FIXED, "seed": str(int(seed))}
    return values


def possible(values: Values, choices: Choices, held: Values | None = None) -> dict[str, Any]:
    """The values without names of checkpoints and samplers that are not here, and within the
    controls' bounds, for a form that holds `held` where they say nothing."""
    kept = dict(values)
    known = {
        "checkpoint": {found["id"] for found in choices["checkpoints"] if not found["problem"]},
        "sampler": {found["id"] for found in choices["samplers"]},
    }
    for name, ids in known.items():
        if kept.get(name) not in ids:
            kept.pop(name, None)
    chosen = kept.get("checkpoint") or (held or {}).get("checkpoint")
    kept = references.possible(kept, choices, chosen)
    if "weights" in kept:
        offered = [way for _, way in weights_choices(choices, chosen)]
        kept["weights"] = kept["weights"] if kept["weights"] in offered else PLANNED
    for name, (low, high) in BOUNDS.items():
        if _is_number(found := kept.get(name)):
            kept[name] = min(high, max(low, found))
    return kept


def absent(asked: Values, choices: Choices) -> tuple[str, ...]:
    """A sentence if the checkpoint of a request is not here, or cannot be used."""
    wanted = asked.get("checkpoint")
    here = any(row["id"] == wanted and not row["problem"] for row in choices["checkpoints"])
    if not wanted or here:
        return ()
    return (f"The checkpoint '{wanted}' is not here; the form keeps its own.",)


BOUNDS = {
    "width": (64, 2048),
    "height": (64, 2048),
    "steps": (1, 150),
    "guidance": (0, 30),
    "count": (1, 32),
    "clip_skip": (1, 12),
}
"""What the controls reach; the request itself is checked where it is submitted."""


def checkpoint_choices(choices: Choices) -> list[tuple[str, str]]:
    return [(row["label"], row["id"]) for row in choices["checkpoints"] if not row["problem"]]


def pixels_text(chosen: tuple[int | None, int | None] | None, unknown: str | None = None) -> str:
    """A size as HTML; `unknown` says why there is none, until assets/ui/estimate.js knows it."""
    width, height = chosen or (None, None)
    if not width or not height:
        text = "size decided by the checkpoint" if unknown is None else unknown
        return f'<span class="pixels" data-unknown="{text}">{text}</span>'
    return f'<span class="pixels">{int(width)} × {int(height)} px</span>'


def problems_text(choices: Choices) -> str:
    """Which weights on disk cannot be used, and why, as HTML."""
    broken = [row for row in choices["checkpoints"] if row["problem"]]
    if not broken:
        return ""
    rows = "".join(
        f"<li><b>{html.escape(row['label'])}</b>: {html.escape(row['problem'])} "
        f"{html.escape(row['advice'])}</li>"
        for row in broken
    )
    noun = "checkpoint" if len(broken) == 1 else "checkpoints"
    return (
        f"<details><summary>{len(broken)} {noun} cannot be used</summary><ul>{rows}</ul></details>"
    )


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
