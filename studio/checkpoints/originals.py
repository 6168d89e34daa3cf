"""What the makers of FLUX.1 and Stable Diffusion 3 call the layers of their transformers.

Their layers are joined where diffusers has several: queries, keys and values are rows of one matrix.
All of it is data, read in both directions: single files are loaded by it, and LoRAs that were trained
with the original code find their layers.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any

from studio.families._keys import Shapes

PREFIX = "model.diffusion_model."
"""Before the names of the denoiser, in files that hold more than it."""


SCALES = (".scale_weight", ".weight_scale")
"""Endings of tensors of one number, by which the weight beside it is multiplied (fp8, scaled)."""
_PACKED = (".weight_scale_2", ".absmax", ".quant_map", ".nested_absmax", ".qweight", ".qzeros")
"""Endings of tensors of files that pack numbers as bitsandbytes, NVFP4, GPTQ and others do."""


def is_plain(shapes: Shapes) -> bool:
    """Whether the numbers of a file with these tensors are numbers, or such by one scale a tensor."""
    return not any(
        key.endswith(_PACKED) or (key.endswith(SCALES) and prod(shape) != 1)
        for key, shape in shapes.items()
    )


@dataclass(frozen=True, slots=True)
class Joined:
    """Layers of diffusers' that are one layer in the original: its rows, one after the other."""

    layers: tuple[str, ...]
    swapped: bool = False
    """Shift and scale, the halves of the rows, are the other way round."""


_QKV = ("to_q", "to_k", "to_v")
_ADDED = ("add_q_proj", "add_k_proj", "add_v_proj")

_FLUX: Mapping[str, tuple[str, ...]] = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    **{
        f"{old}.{side}_layer": (f"time_text_embed.{new}.linear_{number}",)
        for old, new in (
            ("time_in", "timestep_embedder"),
            ("vector_in", "text_embedder"),
            ("guidance_in", "guidance_embedder"),
        )
        for side, number in (("in", 1), ("out", 2))
    },
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
    "double_blocks.#.img_mod.lin": ("transformer_blocks.#.norm1.linear",),
    "double_blocks.#.txt_mod.lin": ("transformer_blocks.#.norm1_context.linear",),
    "double_blocks.#.img_attn.qkv": tuple(f"transformer_blocks.#.attn.{n}" for n in _QKV),
    "double_blocks.#.txt_attn.qkv": tuple(f"transformer_blocks.#.attn.{n}" for n in _ADDED),
    "double_blocks.#.img_attn.proj": ("transformer_blocks.#.attn.to_out.0",),
    "double_blocks.#.txt_attn.proj": ("transformer_blocks.#.attn.to_add_out",),
    "double_blocks.#.img_attn.norm.query_norm": ("transformer_blocks.#.attn.norm_q",),
    "double_blocks.#.img_attn.norm.key_norm": ("transformer_blocks.#.attn.norm_k",),
    "double_blocks.#.txt_attn.norm.query_norm": ("transformer_blocks.#.attn.norm_added_q",),
    "double_blocks.#.txt_attn.norm.key_norm": ("transformer_blocks.#.attn.norm_added_k",),
    "double_blocks.#.img_mlp.0": ("transformer_blocks.#.ff.net.0.proj",),
    "double_blocks.#.img_mlp.2": ("transformer_blocks.#.ff.net.2",),
    "double_blocks.#.txt_mlp.0": ("transformer_blocks.#.ff_context.net.0.proj",),
    "double_blocks.#.txt_mlp.2": ("transformer_blocks.#.ff_context.net.2",),
    "single_blocks.#.modulation.lin": ("single_transformer_blocks.#.norm.linear",),
    "single_blocks.#.linear1": (
        *(f"single_transformer_blocks.#.attn.{n}" for n in _QKV),
        "single_transformer_blocks.#.proj_mlp",
    ),
    "single_blocks.#.linear2": ("single_transformer_blocks.#.proj_out",),
    "single_blocks.#.norm.query_norm": ("single_transformer_blocks.#.attn.norm_q",),
    "single_blocks.#.norm.key_norm": ("single_transformer_blocks.#.attn.norm_k",),
}

_SD3: Mapping[str, tuple[str, ...]] = {
    "x_embedder.proj": ("pos_embed.proj",),
    "context_embedder": ("context_embedder",),
    **{
        f"{old}.mlp.{place}": (f"time_text_embed.{new}.linear_{number}",)
        for old, new in (("t_embedder", "timestep_embedder"), ("y_embedder", "text_embedder"))
        for place, number in ((0, 1), (2, 2))
    },
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
    **{
        f"joint_blocks.#.{old}": tuple(f"transformer_blocks.#.{layer}" for layer in new)
        for old, new in {
            "x_block.attn.qkv": tuple(f"attn.{n}" for n in _QKV),
            "context_block.attn.qkv": tuple(f"attn.{n}" for n in _ADDED),
            "x_block.attn2.qkv": tuple(f"attn2.{n}" for n in _QKV),
            "x_block.attn.proj": ("attn.to_out.0",),
            "context_block.attn.proj": ("attn.to_add_out",),
            "x_block.attn2.proj": ("attn2.to_out.0",),
            "x_block.attn.ln_q": ("attn.norm_q",),
            "x_block.attn.ln_k": ("attn.norm_k",),
            "x_block.attn2.ln_q": ("attn2.norm_q",),
            "x_block.attn2.ln_k": ("attn2.norm_k",),
            "context_block.attn.ln_q": ("attn.norm_added_q",),
            "context_block.attn.ln_k": ("attn.norm_added_k",),
            "x_block.adaLN_modulation.1": ("norm1.linear",),
            "context_block.adaLN_modulation.1": ("norm1_context.linear",),
            "x_block.mlp.fc1": ("ff.net.0.proj",),
            "x_block.mlp.fc2": ("ff.net.2",),
            "context_block.mlp.fc1": ("ff_context.net.0.proj",),
            "context_block.mlp.fc2": ("ff_context.net.2",),
        }.items()
    },
}

_NUMBER = re.compile(r"(?<=_blocks\.)\d+")


@dataclass(frozen=True, slots=True)
class Original:
    """The layout of one transformer as its makers wrote it."""

    table: Mapping[str, tuple[str, ...]]
    changes: Callable[[Shapes], dict[str, Any]]
    """What the shapes of its tensors, without `PREFIX`, say about diffusers' config."""

    def joined(self, layer: str, blocks: int) -> Joined | None:
        """What diffusers has for a layer of a network of so many blocks; None for none of its layers."""
        found = _NUMBER.search(layer)
        number = found[0] if found else ""
        layers = self.table.get(_NUMBER.sub("#", layer))
        if layers is None:
            return None
        # the last block of SD3 has only an output norm for the text
        ends = f"joint_blocks.{blocks - 1}.context_block.adaLN_modulation.1"
        swapped = layer in {"final_layer.adaLN_modulation.1", ends}
        return Joined(tuple(one.replace("#", number) for one in layers), swapped)

    def every(self, joint: int, single: int) -> Iterator[tuple[str, Joined]]:
        """All layers of a network of so many blocks of both kinds, whether it has them or not."""
        for name in self.table:
            count = single if name.startswith("single_") else joint
            for number in range(count if "#" in name else 1):
                layer = name.replace("#", str(number))
                if joined := self.joined(layer, joint):
                    yield layer, joined


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


ORIGINALS: Mapping[str, Original] = {
    "FluxTransformer2DModel": Original(_FLUX, _flux),
    "SD3Transformer2DModel": Original(_SD3, _sd3),
}
"""By diffusers' class."""
