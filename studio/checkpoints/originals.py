"""A transformer under the names that its makers gave its layers.

Their layers are joined where diffusers has several: queries, keys and values are rows of one matrix.
The tables are read in both directions: single files of FLUX.1 and Stable Diffusion 3 are loaded by
them, and LoRAs of every family that were trained with the original code find their layers.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any

from studio.checkpoints.tables import TABLES, Table
from studio.families._keys import Shapes

PREFIX = "model.diffusion_model."
"""Before the names of the denoiser, in files that hold more than it."""


SCALES = (".scale_weight", ".weight_scale")
"""Endings of tensors of one number, by which the weight beside it is multiplied (fp8, scaled)."""
BESIDE_SCALES = (".scale_input", ".input_scale", "scaled_fp8")
"""Endings of what else such files have, and no network."""
_PACKED = (
    *(".weight_scale_2", ".absmax", ".quant_map", ".nested_absmax", ".SCB"),
    *(".qweight", ".qzeros"),
)
"""Endings of tensors of files that pack numbers as bitsandbytes, NVFP4, GPTQ and others do."""


def is_plain(shapes: Shapes) -> bool:
    """Whether the numbers of a file with these tensors are numbers, or such by one scale a tensor."""
    return not any(
        key.endswith(_PACKED) or (key.endswith(SCALES) and prod(shape) != 1)
        for key, shape in shapes.items()
    )


def scale_of(name: str, kind: str, names: Container[str]) -> str:
    """Of a file with these tensors, the one of one number that the tensor `name`, in safetensors' format
    `kind`, is multiplied with; "" for none."""
    if not (name.endswith(".weight") and kind.startswith("F8")):
        return ""
    stem = name.removesuffix(".weight")
    return next((stem + one for one in SCALES if stem + one in names), "")


@dataclass(frozen=True, slots=True)
class Joined:
    """Layers of diffusers' that are one layer in the original: its rows, one after the other."""

    layers: tuple[str, ...]
    swapped: bool = False
    """Shift and scale, the halves of the rows, are the other way round."""


POSITIONS = ("pos_embed", "pos_embed.pos_embed")
"""The one tensor that is of no layer: where a latent lies, by the original's name and diffusers'."""
_BLOCK = re.compile(
    r"((?:single_)?transformer_blocks|(?:double_|single_|joint_)?blocks|layers|\w+_refiner)\.(\d+)\."
)
"""How the name of a layer begins that is in one of many alike blocks."""
_SCALE_FIRST = frozenset({"norm_out.linear"})
"""Layers of diffusers' whose halves are scale and shift, where the original has shift and scale."""


@dataclass(frozen=True, slots=True)
class Original:
    """The layout of one transformer as its makers wrote it."""

    table: Table

    def joined(self, layer: str, blocks: int) -> Joined | None:
        """What diffusers has for a layer of a network of so many blocks; None for none of its layers."""
        pattern, number = numbered(layer)
        layers = self.table.get(pattern)
        if layers is None:
            return None
        # the last block of SD3 has only an output norm for the text
        ends = layer == f"joint_blocks.{blocks - 1}.context_block.adaLN_modulation.1"
        swapped = ends or not _SCALE_FIRST.isdisjoint(layers)
        return Joined(tuple(one.replace("#", number) for one in layers), swapped)

    def every(self, layers: Iterable[str]) -> Iterator[tuple[str, Joined]]:
        """The layers of the original that make up a network which has these of diffusers'."""
        there = tuple(layers)
        count = blocks(there, "transformer_blocks")
        named = {new[0]: old for old, new in self.table.items()}
        for layer in there:
            pattern, number = numbered(layer)
            name = named.get(pattern, "").replace("#", number)
            if joined := self.joined(name, count):
                yield name, joined


def numbered(layer: str) -> tuple[str, str]:
    """A layer's name with `#` for the number of its block, and that number; "" outside of blocks."""
    found = _BLOCK.match(layer)
    return (f"{found[1]}.#.{layer[found.end() :]}", found[2]) if found else (layer, "")


def tail_of(layer: str, tail: str) -> str:
    """What the original calls a layer's `weight` or `bias`: the weight of a norm over heads a scale."""
    return "scale" if layer.endswith("_norm") else tail


def bare(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes of a file's denoiser by names without `PREFIX`; all of them where none has it."""
    found = {k.removeprefix(PREFIX): v for k, v in shapes.items() if k.startswith(PREFIX)}
    return found or dict(shapes)


def blocks(names: Iterable[str], kind: str) -> int:
    """How many blocks `kind` has, as in `double_blocks.0.…`."""
    begin = f"{kind}."
    numbers = {name.split(".")[1] for name in names if name.startswith(begin)}
    return len(numbers)


def _flux(shapes: Shapes) -> dict[str, Any]:
    inner, channels = shapes["img_in.weight"]
    head = shapes["double_blocks.0.img_attn.norm.query_norm.scale"][0]
    return {
        "in_channels": channels,
        "out_channels": shapes["final_layer.linear.weight"][0],
        "num_layers": blocks(shapes, "double_blocks"),
        "num_single_layers": blocks(shapes, "single_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": inner // head,
        "joint_attention_dim": shapes["txt_in.weight"][1],
        "pooled_projection_dim": shapes["vector_in.in_layer.weight"][1],
        "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
    }


def _sd3(shapes: Shapes) -> dict[str, Any]:
    count = blocks(shapes, "joint_blocks")
    inner, joint = shapes["context_embedder.weight"]
    normed = shapes.get("joint_blocks.0.x_block.attn.ln_q.weight")
    patch = shapes["x_embedder.proj.weight"]
    # heads of 64 where no norm tells, which is as many as there are blocks
    head = normed[0] if normed else inner // count
    return {
        "num_layers": count,
        "attention_head_dim": head,
        "num_attention_heads": inner // head,
        "caption_projection_dim": inner,
        "joint_attention_dim": joint,
        "pooled_projection_dim": shapes["y_embedder.mlp.0.weight"][1],
        "in_channels": patch[1],
        "patch_size": patch[2],
        "out_channels": shapes["final_layer.linear.weight"][0] // patch[2] ** 2,
        "pos_embed_max_size": isqrt(shapes["pos_embed"][1]),
        "qk_norm": "rms_norm" if normed else None,
        "dual_attention_layers": [
            n for n in range(count) if f"joint_blocks.{n}.x_block.attn2.qkv.weight" in shapes
        ],
    }


ORIGINALS: Mapping[str, Original] = {kind: Original(table) for kind, table in TABLES.items()}
"""By diffusers' class."""

SINGLE_FILES: Mapping[str, Callable[[Shapes], dict[str, Any]]] = {
    "FluxTransformer2DModel": _flux,
    "SD3Transformer2DModel": _sd3,
}
"""What the shapes of a single file's tensors, without `PREFIX`, say about diffusers' config; by its
class, for those that are read from single files."""
