"""LoRAs on disk: what they add to, and which checkpoints they fit."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from studio.checkpoints.adapters import (
    DENOISER,
    TEXT,
    TEXT_2,
    Layers,
    height_out,
    kind_of,
    layers_of,
    unclear,
    width_in,
)
from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.files import File, Files, Foreign, Untold, Words
from studio.checkpoints.header import Header
from studio.checkpoints.trunks import Trunk, trunk_for
from studio.families._keys import Shapes

WORDS = Words(kind="LoRA", folder="loras", field="loras")

_CONTEXTS = {"sd_v1": 768, "sd_1": 768, "sd_v2": 1024, "sd_2": 1024, "sdxl_": 2048}
"""Widths of the text states, by how trainers begin the name of what they trained on."""
_READ_TEXT = ("attn2_to_k", "attn2_to_v")
"""Layers of a denoiser whose input is the text."""
_READ_STATES = ("self_attn_q_proj", "self_attn_k_proj", "self_attn_v_proj")
"""Layers of a text encoder that are as wide as it is, in and out."""
_XL = re.compile(
    r"(?:(?:down|up)_blocks_\d_attentions_\d|(?:in|out)put_blocks_\d_1|middle_block_1"
    r"|mid_block_attentions_0)_transformer_blocks_[1-9]_.+"
)
"""Layers that only SDXL's UNet has, where several blocks follow each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora(File):
    """A network that adds to the layers of a checkpoint. LyCORIS too: LoHa, LoKr, (IA)³, OFT."""

    kinds: tuple[str, ...] = ()
    """Ways in which it adds: keys of `adapters.KINDS`."""
    context: int = 0
    """Width of the text states of the checkpoints it was made for; 0 if that cannot be told."""
    trunk: Trunk | None = None
    """What it needs of a transformer; None if it was made for a UNet."""
    networks: tuple[str, ...] = ()
    """What it adds to: `denoiser`, `text_encoder`, `text_encoder_2`."""

    def fits(self, checkpoint: Checkpoint) -> bool:
        if self.trunk is not None:
            return checkpoint.trunk is not None and checkpoint.trunk.carries(self.trunk)
        return checkpoint.encoder is not None and self.context == checkpoint.encoder.context


def loras(folders: tuple[Path, ...] = ()) -> Files[Lora]:
    """The LoRAs below these folders."""
    return Files(WORDS, Lora, _known, folders)


def _known(blank: Lora, header: Header) -> Lora:
    layers = layers_of(header.shapes)
    if not layers:
        raise Foreign("It is no LoRA of a kind that the studio knows.")
    for pieces in layers.values():
        if problem := unclear(pieces):
            raise Untold(problem)
    named = header.metadata.get("ss_output_name", "").strip()
    written = header.metadata.get("sshs_model_hash", "").strip().lower()
    context, trunk = _context(layers, header), trunk_for(layers, header.shapes)
    networks = tuple(dict.fromkeys(sorted(network for network, _ in layers)))
    if trunk is None and not context:
        raise Untold("Its file does not say which checkpoints it was made for.")
    return replace(
        blank,
        alias="" if named in {"", "None", blank.name} else named[:200],
        kinds=tuple(sorted({kind_of(pieces) for pieces in layers.values()})),
        context=context,
        trunk=trunk,
        networks=networks,
        written_hash=written if set(written) <= set("0123456789abcdef") else "",
    )


def _context(layers: Layers, header: Header) -> int:
    """From the layers that read the text, else what the trainer says, else the text encoders, else
    layers that only SDXL has; 0 if none of them tells."""
    shapes = header.shapes
    if width := _width(layers, shapes, DENOISER, _READ_TEXT):
        return width
    metadata = header.metadata
    base = f"{metadata.get('ss_base_model_version', '')} {metadata.get('ss_v2', '')}".lower()
    for name, width in _CONTEXTS.items():
        if base.startswith(name):
            return 1024 if base.endswith("true") else width
    states = sum(_width(layers, shapes, network, _READ_STATES) for network in (TEXT, TEXT_2))
    deep = any(of == DENOISER and _XL.fullmatch(layer) for of, layer in layers)
    return states or (_CONTEXTS["sdxl_"] if deep else 0)


def _width(layers: Layers, shapes: Shapes, network: str, endings: tuple[str, ...]) -> int:
    told = (width_in,) if endings == _READ_TEXT else (width_in, height_out)
    for (of, layer), pieces in layers.items():
        known = (tell(pieces, shapes) for tell in told if of == network and layer.endswith(endings))
        if width := next(filter(None, known), None):
            return width
    return 0
