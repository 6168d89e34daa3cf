"""The shape of a transformer over text and picture, by which a LoRA is known to fit it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from studio.checkpoints.adapters import DENOISER, Layers, width_in
from studio.checkpoints.originals import bare
from studio.families._keys import Shapes


@dataclass(frozen=True, slots=True)
class Trunk:
    """FLUX.1's, Stable Diffusion 3's and their kin."""

    width: int
    """Of what runs through all blocks."""
    joint: int
    """Blocks with layers of their own for the text."""
    single: int
    """Blocks that see text and picture alike."""

    def carries(self, other: "Trunk") -> bool:
        """Whether all that a LoRA adds to, as `other` tells, is there."""
        return (
            self.width == other.width and self.joint >= other.joint and self.single >= other.single
        )


_JOINT = re.compile(r"(?:transformer|double|joint)_blocks[._](\d+)[._]")
_SINGLE = re.compile(r"single_(?:transformer_)?blocks[._](\d+)[._]")
_FIRST = (
    "transformer.transformer_blocks.0.attn.add_k_proj.weight",
    "double_blocks.0.img_attn.qkv.weight",
    "joint_blocks.0.x_block.attn.qkv.weight",
)
"""Layers whose input is the trunk: of a folder, and of files in their makers' layout."""
_READ_TRUNK = (
    *("attn_to_q", "attn_to_k", "attn_to_v", "attn_add_q_proj", "attn_add_k_proj"),
    *("attn_add_v_proj", "attn_qkv", "linear1", "img_mlp_0", "txt_mlp_0", "mlp_fc1"),
    *("ff_net_0_proj", "ff_context_net_0_proj", "mod_lin", "modulation_lin", "norm_linear"),
    *("norm1_linear", "proj_mlp", "adaLN_modulation_1"),
)


def trunk_of(shapes: Shapes) -> Trunk | None:
    """Of a checkpoint; None if its denoiser is of another kind."""
    own = bare(shapes)
    first = next((own[key] for key in _FIRST if key in own), None)
    if first is None or len(first) != 2:
        return None
    return Trunk(first[1], *_counted(key.removeprefix("transformer.") for key in own))


def trunk_for(layers: Layers, shapes: Shapes) -> Trunk | None:
    """What a LoRA needs at least; None if it was made for another kind of denoiser."""
    own = {layer: pieces for (network, layer), pieces in layers.items() if network == DENOISER}
    counted = _counted(f"{layer}_" for layer in own)
    if counted == (0, 0):
        return None
    for layer, pieces in own.items():
        if layer.endswith(_READ_TRUNK) and (width := width_in(pieces, shapes)):
            return Trunk(width, *counted)
    return None


def _counted(names: Iterable[str]) -> tuple[int, int]:
    """Blocks of both kinds, by the highest number of each."""
    joint = single = 0
    for name in names:
        if found := _SINGLE.match(name):
            single = max(single, int(found[1]) + 1)
        elif found := _JOINT.match(name):
            joint = max(joint, int(found[1]) + 1)
    return joint, single
