"""What the two layouts call the same tensor: diffusers' networks, and Stability's single file.

All of it is data: pairs of a diffusers prefix and an original one, and tables for what follows
them, so that one set of pairs is read in both directions.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Names = Mapping[str, str]

_UNET: Names = {
    "conv_in.": "input_blocks.0.0.",
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "add_embedding.linear_1.": "label_emb.0.0.",
    "add_embedding.linear_2.": "label_emb.0.2.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
}
_UNET_RESNET: Names = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "conv_shortcut.": "skip_connection.",
}
_VAE: Names = {
    f"{side}.{new}": f"{side}.{old}"
    for side in ("encoder", "decoder")
    for new, old in (
        ("conv_in.", "conv_in."),
        ("conv_norm_out.", "norm_out."),
        ("conv_out.", "conv_out."),
    )
} | {"quant_conv.": "quant_conv.", "post_quant_conv.": "post_quant_conv."}
_VAE_RESNET: Names = {
    "norm1.": "norm1.",
    "conv1.": "conv1.",
    "norm2.": "norm2.",
    "conv2.": "conv2.",
    "conv_shortcut.": "nin_shortcut.",
}
_VAE_ATTENTION: Names = {
    "group_norm.": "norm.",
    "to_q.": "q.",
    "to_k.": "k.",
    "to_v.": "v.",
    "to_out.0.": "proj_out.",
}
_VAE_OLD: Names = {
    "query.": "to_q.",
    "key.": "to_k.",
    "value.": "to_v.",
    "proj_attn.": "to_out.0.",
}
"""What diffusers called them until 0.18; folders of then are still about."""
_OPEN_CLIP: Names = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.": "token_embedding.",
    "final_layer_norm.": "ln_final.",
}
_OPEN_CLIP_LAYER: Names = {
    "layer_norm1.": "ln_1.",
    "layer_norm2.": "ln_2.",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
    "self_attn.out_proj.": "attn.out_proj.",
}
_ALIKE: Names = {"": ""}


@dataclass(frozen=True, slots=True)
class Pair:
    """A module in both layouts, and what follows its name in each where that differs."""

    diffusers: str
    original: str
    tails: Names | None = None
    flat: bool = False
    """Its matrices are convolutions of one pixel in the original."""


@dataclass(frozen=True, slots=True)
class Name:
    key: str
    flat: bool = False


class Pairs:
    """The pairs of one network, to look a key up in."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        # the longest prefix is the module itself, shorter ones what it lies in
        self._pairs = sorted(pairs, key=lambda pair: -len(pair.original))
        self._by_diffusers = sorted(self._pairs, key=lambda pair: -len(pair.diffusers))

    def to_original(self, key: str) -> Name | None:
        for pair in self._by_diffusers:
            if key.startswith(pair.diffusers):
                rest = key.removeprefix(pair.diffusers)
                for new, old in (pair.tails or _ALIKE).items():
                    if rest.startswith(new):
                        return Name(pair.original + old + rest.removeprefix(new), pair.flat)
        return None

    def to_diffusers(self, key: str) -> Name | None:
        for pair in self._pairs:
            if key.startswith(pair.original):
                rest = key.removeprefix(pair.original)
                for new, old in (pair.tails or _ALIKE).items():
                    if rest.startswith(old):
                        return Name(pair.diffusers + new + rest.removeprefix(old), pair.flat)
        return None


def unet(keys: Iterable[str], *, original: bool) -> Pairs:
    """Of a UNet with these keys, all blocks of which are of the same length."""
    known = set(keys)
    if original:
        downs = _numbers(known, r"input_blocks\.(\d+)\.0\.op\.")
        levels, layers = len(downs) + 1, downs[0] - 1 if downs else 0
        layers = layers or max(_numbers(known, r"input_blocks\.(\d+)\."), default=0)
        attended = {
            level
            for level in range(levels)
            if f"output_blocks.{level * (layers + 1)}.1.norm.weight" in known
        }
    else:
        levels = len(_numbers(known, r"down_blocks\.(\d+)\."))
        layers = len(_numbers(known, r"down_blocks\.0\.resnets\.(\d+)\."))
        attended = {
            level
            for level in range(levels)
            if f"up_blocks.{level}.attentions.0.norm.weight" in known
        }
    return Pairs([*_pairs(_UNET), *_unet_blocks(levels, layers, attended)])


def _unet_blocks(levels: int, layers: int, attended: set[int]) -> Iterable[Pair]:
    number = 1
    for level in range(levels):
        down, up = f"down_blocks.{level}", f"up_blocks.{level}"
        for layer in range(layers):
            yield Pair(f"{down}.resnets.{layer}.", f"input_blocks.{number}.0.", _UNET_RESNET)
            yield Pair(f"{down}.attentions.{layer}.", f"input_blocks.{number}.1.")
            number += 1
        if level < levels - 1:
            yield Pair(f"{down}.downsamplers.0.conv.", f"input_blocks.{number}.0.op.")
            number += 1
        first = level * (layers + 1)
        for layer in range(layers + 1):
            yield Pair(f"{up}.resnets.{layer}.", f"output_blocks.{first + layer}.0.", _UNET_RESNET)
            if level in attended:
                yield Pair(f"{up}.attentions.{layer}.", f"output_blocks.{first + layer}.1.")
        place = 2 if level in attended else 1
        yield Pair(f"{up}.upsamplers.0.conv.", f"output_blocks.{first + layers}.{place}.conv.")
    yield Pair("mid_block.resnets.0.", "middle_block.0.", _UNET_RESNET)
    yield Pair("mid_block.attentions.0.", "middle_block.1.")
    yield Pair("mid_block.resnets.1.", "middle_block.2.", _UNET_RESNET)


def vae(keys: Iterable[str], *, original: bool) -> Pairs:
    """Of an AutoencoderKL with these keys."""
    level = r"encoder\.down\.(\d+)\." if original else r"encoder\.down_blocks\.(\d+)\."
    levels = len(_numbers(set(keys), level))
    return Pairs([*_pairs(_VAE), *_vae_blocks(levels)])


def _vae_blocks(levels: int) -> Iterable[Pair]:
    for level in range(levels):
        down, up = f"encoder.down_blocks.{level}", f"decoder.up_blocks.{levels - 1 - level}"
        for new, old in ((down, f"encoder.down.{level}"), (up, f"decoder.up.{level}")):
            for layer in range(8):
                yield Pair(f"{new}.resnets.{layer}.", f"{old}.block.{layer}.", _VAE_RESNET)
        yield Pair(f"{down}.downsamplers.0.conv.", f"encoder.down.{level}.downsample.conv.")
        yield Pair(f"{up}.upsamplers.0.conv.", f"decoder.up.{level}.upsample.conv.")
    for side in ("encoder", "decoder"):
        middle, old = f"{side}.mid_block", f"{side}.mid"
        yield Pair(f"{middle}.resnets.0.", f"{old}.block_1.", _VAE_RESNET)
        yield Pair(f"{middle}.resnets.1.", f"{old}.block_2.", _VAE_RESNET)
        yield Pair(f"{middle}.attentions.0.", f"{old}.attn_1.", _VAE_ATTENTION, flat=True)


def renewed(key: str) -> str:
    """A key of a VAE as diffusers calls it today."""
    head, mark, rest = key.partition("mid_block.attentions.0.")
    for old, new in _VAE_OLD.items():
        if mark and rest.startswith(old):
            return head + mark + new + rest.removeprefix(old)
    return key


CLIP = Pairs([Pair("text_model.", "transformer.text_model.")])

PROJECTION = "text_projection.weight"
TEXT_PROJECTION = (PROJECTION, "text_projection")
"""The one matrix that the original keeps transposed."""
QKV = tuple(f"self_attn.{letter}_proj." for letter in "qkv")
IN_PROJ = "attn.in_proj_"
"""OpenCLIP has one matrix where diffusers has three, and one bias."""


def open_clip(keys: Iterable[str], *, original: bool) -> Pairs:
    """Of OpenCLIP's text encoder, without what `QKV` and `TEXT_PROJECTION` are about."""
    layer = (
        r"transformer\.resblocks\.(\d+)\." if original else r"text_model\.encoder\.layers\.(\d+)\."
    )
    blocks = [
        Pair(f"text_model.encoder.layers.{n}.", f"transformer.resblocks.{n}.", _OPEN_CLIP_LAYER)
        for n in _numbers(set(keys), layer)
    ]
    return Pairs([Pair("text_model.", "", _OPEN_CLIP), *blocks])


def _pairs(names: Names) -> list[Pair]:
    return [Pair(new, old) for new, old in names.items()]


def _numbers(keys: set[str], pattern: str) -> list[int]:
    found = re.compile(pattern)
    return sorted({int(match[1]) for key in keys if (match := found.match(key))})
