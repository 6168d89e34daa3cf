"""LoRA and its kin (LyCORIS): what the tensors in such a file are called, and what they add to.

Trainers name the same things differently. A key says which network of a checkpoint it is for, which
layer of it, and which piece of what is added to that layer:

    lora_unet_down_blocks_0_…_attn1_to_q.lora_down.weight         kohya
    unet.down_blocks.0.….attn1.to_q.lora_A.weight                 peft and diffusers
    unet.down_blocks.0.….attn1.processor.to_q_lora.down.weight    diffusers of 2023
    oft_unet_down_blocks_0_…_attn1_to_q.oft_blocks                kohya's OFT
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path
from typing import Any

from studio.families._keys import Shapes

DENOISER, TEXT, TEXT_2 = "denoiser", "text_encoder", "text_encoder_2"

_PREFIXES = {
    "base_model.model.": "",
    "model.diffusion_model.": DENOISER,
    "diffusion_model.": DENOISER,
    "lora_unet_": DENOISER,
    "oft_unet_": DENOISER,
    "lora_transformer_": DENOISER,
    "lycoris_": DENOISER,
    "unet.": DENOISER,
    "transformer.": DENOISER,
    "lora_te_": TEXT,
    "lora_te1_": TEXT,
    "text_encoder.": TEXT,
    "lora_te2_": TEXT_2,
    "text_encoder_2.": TEXT_2,
}
_BARE = (
    *("down_blocks", "up_blocks", "mid_block", "transformer_blocks", "single_transformer_blocks"),
    *("double_blocks", "single_blocks", "joint_blocks", "blocks"),
    *("layers", "noise_refiner", "context_refiner"),
)
"""How names of layers begin where nothing says that they are the denoiser's."""

_PIECES = {
    "down": r"lora_down\.weight|lora_A\.weight|lora_A\.default\.weight"
    r"|lora\.down\.weight|lora_linear_layer\.down\.weight",
    "up": r"lora_up\.weight|lora_B\.weight|lora_B\.default\.weight"
    r"|lora\.up\.weight|lora_linear_layer\.up\.weight",
    "mid": r"lora_mid\.weight",
    "alpha": r"alpha",
    "dora_scale": r"dora_scale",
    "magnitude": r"lora_magnitude_vector(?:\.default)?(?:\.weight)?",
    **{name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")},
    **{name: name for name in ("hada_t1", "hada_t2", "lokr_t2")},
    **{name: name for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b")},
    **{name: name for name in ("lokr_w2", "lokr_w2_a", "lokr_w2_b")},
    "oft_blocks": r"oft_blocks(?:\.0)?",
    **{f"oft_blocks_{n}": rf"oft_blocks\.{n}" for n in (1, 2, 3)},
    "rescale": r"rescale",
    "oft_diag": r"oft_diag",
    "oft_r": r"oft_r(?:\.default)?",
    "oft_s": r"oft_s(?:\.default)?",
    "oft_R": r"oft_R(?:\.default)?\.weight",
    "scaled_oft": r"oft_R\.scaled_oft",
    **{name: rf"{name}\.weight" for name in ("a1", "a2", "b1", "b2", "bm")},
    "diff": r"diff",
    "diff_b": r"diff_b",
    "scale": r"weight",
    "on_input": r"on_input",
}
_KEY = re.compile(
    r"(?P<layer>.+?)\.(?:"
    + "|".join(f"(?P<{piece}>{pattern})" for piece, pattern in _PIECES.items())
    + ")"
)
_PROCESSOR = re.compile(
    r"(?P<layer>.+)\.processor\.(?P<name>to_\w+?)_lora\.(?P<piece>down|up)\.weight"
)

KINDS = {
    "LoRA": {"down", "up"},
    "LoHa": {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"},
    "LoKr": {"lokr_w1", "lokr_w2"},
    "IA3": {"scale", "on_input"},
    "OFT": {"turn"},
    "GLoRA": {"a1", "a2", "b1", "b2"},
    "difference": {"diff"},
}
"""Ways to add to a layer, by the pieces that each needs; LoKr's two may come as products, and what a
layer is turned by goes by several names."""
_ROWS = frozenset({"oft_diag", "oft_blocks", "oft_blocks_1", "oft_blocks_2", "oft_blocks_3"})
_TURNS = frozenset({"oft_blocks", "oft_diag", "oft_r", "oft_R"})


@dataclass(frozen=True, slots=True)
class Place:
    """What a tensor is."""

    network: str
    """`denoiser`, `text_encoder` or `text_encoder_2`."""
    layer: str
    """Name of the layer in it, with `_` between its parts, as kohya writes it."""
    piece: str


def place_of(key: str) -> Place | None:
    """What the tensor of that name is; None if it is none of a network that adds to another."""
    if old := _PROCESSOR.fullmatch(key):
        ending = "_0" if old["name"] == "to_out" else ""
        return _place(f"{old['layer']}.{old['name']}{ending}", old["piece"])
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    piece = next(name for name in _PIECES if found[name] is not None)
    return _place(found["layer"], piece)


def _place(layer: str, piece: str) -> Place | None:
    network = ""
    for prefix, named in _PREFIXES.items():
        if layer.startswith(prefix):
            layer, network = layer.removeprefix(prefix), named or network
    if not network and layer.startswith(_BARE):
        network = DENOISER
    layer = layer.replace(".", "_")
    if network.startswith(TEXT):
        layer = layer.removeprefix("text_model_")
    return Place(network, layer, piece) if network else None


Layers = Mapping[tuple[str, str], Mapping[str, str]]
"""Keys by piece, for each layer of each network."""


def layers_of(keys: Shapes | Mapping[str, object]) -> dict[tuple[str, str], dict[str, str]]:
    """The layers that a file adds to, and the keys of what it adds: those that are complete."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for key in keys:
        if place := place_of(key):
            found.setdefault((place.network, place.layer), {})[place.piece] = key
    return {layer: pieces for layer, pieces in found.items() if kind_of(pieces)}


def kind_of(pieces: Mapping[str, str]) -> str:
    """How these pieces add to a layer; "" if they are not enough of anything known."""
    there = set(pieces)
    for factor in ("lokr_w1", "lokr_w2"):
        if {f"{factor}_a", f"{factor}_b"} <= there:
            there.add(factor)
    if there & _TURNS:
        there.add("turn")
    return next((kind for kind, needed in KINDS.items() if needed <= there), "")


def unclear(pieces: Mapping[str, str]) -> str:
    """Why one cannot tell what these pieces do to a layer, as a sentence; empty if one can."""
    there = set(pieces)
    if there & {*_TURNS, "a1"} and there & {"dora_scale", "magnitude"}:
        return "It turns or bends layers (OFT, GLoRA) and scales them (DoRA), in an order not told."
    if {"oft_diag", "rescale"} <= there:
        return "It was made by a LyCORIS before version 2, whose scales have several meanings."
    return ""


CONFIG = "adapter_config.json"
"""What PEFT calls the file beside an adapter that says how it was trained."""
_MOST_CONFIG_BYTES = 64 << 10


def turns_exactly(path: Path) -> bool:
    """Whether PEFT's config beside an adapter's file says that its rotations are Cayley's, not the first
    terms of a series as usual."""
    beside = path.parent / CONFIG
    try:
        if beside.stat().st_size > _MOST_CONFIG_BYTES:
            return False
        found: Any = json.loads(beside.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("use_cayley_neumann") is False


def width_in(pieces: Mapping[str, str], shapes: Shapes) -> int | None:
    """How wide the input is of the layer that these pieces add to; None if they do not tell."""

    def wide(piece: str) -> int:
        shape = shapes[pieces[piece]]
        return shape[1] if len(shape) > 1 else 0

    match kind_of(pieces):
        case "LoRA":
            return wide("down") or None
        case "LoHa":
            return wide("hada_w1_b") or None
        case "LoKr":
            first = wide("lokr_w1" if "lokr_w1" in pieces else "lokr_w1_b")
            second = wide("lokr_w2" if "lokr_w2" in pieces else "lokr_w2_b")
            return first * second or None
        case "difference":
            return wide("diff") or None
        case "GLoRA":
            shape = shapes[pieces["b2"]]
            return (shape if shape[0] == wide("b1") else shapes[pieces["b1"]])[1] or None
        case "OFT" if "oft_R" in pieces:
            count, flat = shapes[pieces["oft_R"]]
            return _unless_shared(count, (1 + isqrt(1 + 8 * flat)) // 2)
        case "OFT" if "oft_s" in pieces:
            return _unless_shared(*shapes[pieces["oft_r"]][:2])
        case _:  # (IA)³ scales inputs or outputs, and no shape tells which
            return None


def height_out(pieces: Mapping[str, str], shapes: Shapes) -> int | None:
    """How many rows the layer's weight has that these pieces add to; None if they do not tell."""

    def high(piece: str) -> int:
        return shapes[pieces[piece]][0]

    match kind_of(pieces):
        case "LoRA":
            return high("up")
        case "LoHa" if "hada_t1" not in pieces:
            return high("hada_w1_a")
        case "LoKr" if "lokr_t2" not in pieces:
            first = high("lokr_w1" if "lokr_w1" in pieces else "lokr_w1_a")
            return first * high("lokr_w2" if "lokr_w2" in pieces else "lokr_w2_a")
        case "difference":
            return high("diff")
        case "GLoRA":
            return high("b1" if high("b2") == shapes[pieces["b1"]][1] else "b2")
        case "OFT" if "oft_s" in pieces:
            return high("oft_s")
        case "OFT" if "oft_r" in pieces:
            return _unless_shared(*shapes[pieces["oft_r"]][:2])
        case "OFT" if "oft_R" not in pieces:
            parts = (shapes[key] for piece, key in pieces.items() if piece in _ROWS)
            return sum(prod(shape[-3:-1]) for shape in parts)
        case _:
            return None


def _unless_shared(count: int, size: int) -> int | None:
    """How long what so many blocks of PEFT's turn is; None where one may be meant for all of it."""
    return count * size if count > 1 else None
