"""How large the parts of a checkpoint are, read from the shapes of its tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from studio.core.records import NOTHING
from studio.costs.blocks import resident
from studio.costs.work import Kept

Shapes = Mapping[str, tuple[int, ...]]

_TEXT = (
    "text_encoder",
    "prior_text_encoder",
    "cond_stage_model.",
    "conditioner.",
    "text_encoders.",
    "language_model.",
)
_ASIDE = (
    *("vae.", "first_stage_model.", "vqgan.", "movq."),
    *("image_encoder.", "prior_image_encoder.", "vision_language_encoder."),
)
"""Autoencoders, and what neither reads words alone nor denoises."""
_FIRST = (
    "unet.conv_in.weight",
    "model.diffusion_model.input_blocks.0.0.weight",
)
"""The convolution that a UNet begins with."""
_LAST = (
    "vae.decoder.conv_norm_out.weight",
    "vae.decoder.conv_out.weight",
    "first_stage_model.decoder.norm_out.weight",
)
"""What is as wide as an autoencoder at full resolution."""
_TINY = "vae.decoder.layers.0.weight"
_TABLE = re.compile("embed|^shared$|^relative_attention_bias$")
"""Modules that look up rows of their weights."""
_STABLE_DIFFUSION = 128
"""Channels of its autoencoder at full resolution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exact:
    """Bytes of a checkpoint's parts as an engine has them in memory, by how weights are kept: some
    stay wider than others, and some can only be had whole."""

    denoiser: Mapping[Kept, int]
    text: Mapping[Kept, int]
    rest: int
    """Of everything else, which is always whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Parameters by part, and what activations grow with."""

    denoiser: int
    """Parameters of it, as of the others."""
    text: int
    vae: int
    """Of the autoencoder, and of whatever else is always whole."""
    width: int
    """Channels of a UNet after its first convolution; of a transformer, its inner width."""
    convolves: bool = True
    """The denoiser is a UNet, not a transformer."""
    vae_width: int = _STABLE_DIFFUSION
    """Channels of the autoencoder at full resolution."""
    tiny_vae: bool = False
    """The autoencoder has no blocks wider than that."""
    stored: int = 0
    """Bytes of the denoiser in its file; 0 where they are not known."""
    text_stored: int = 0
    """The same of those weights of the text encoders that can stay as their files have them."""
    text_wide: int = 0
    """Parameters of the text encoders that cannot: tables of words, biases, norms."""
    in_blocks: int = 0
    """Parameters of the denoiser that are there at once where its blocks come one after another; 0
    where that saves nothing."""
    reads_first: bool = True
    """Prompts are read before the painting, so that text encoders may leave then."""
    mixes: bool = True
    """Its autoencoder may compute in other numbers than the rest. Pipelines that encode pictures by
    themselves take one number format for all."""
    exact: Exact | None = None
    """What an engine found that opened the checkpoint; None where none did."""

    @property
    def parameters(self) -> int:
        return self.denoiser + self.text + self.vae

    def text_packed(self, value: int) -> int:
        """Bytes of the text encoders as packed as in their files, where a number that is computed
        with has `value` bytes."""
        whole = self.text * value
        kept = self.text_stored + self.text_wide * value
        return min(whole, kept) if self.text_stored else whole


def anatomy_of(shapes: Shapes, stored: Mapping[str, int] = NOTHING) -> Anatomy:
    """Of a checkpoint whose tensors have these shapes, and take so many bytes in their files, the
    part's name in front of each key."""
    sizes = {"text": 0, "vae": 0, "denoiser": 0}
    stays, text_wide = 0, 0
    denoiser: dict[str, int] = {}
    for key, shape in shapes.items():
        part, size = _part(key), prod(shape)
        sizes[part] += size
        if part == "denoiser":
            denoiser[key] = size
        elif part == "text" and _is_of_a_layer(key, shape):
            stays += stored.get(key, 0)
        elif part == "text":
            text_wide += size
    at_once = resident(denoiser)
    width = next((shapes[key][0] for key in _FIRST if key in shapes), 0)
    inner = [
        shape[1] for key, shape in shapes.items() if _part(key) == "denoiser" and len(shape) == 2
    ]
    tiny = _TINY in shapes
    ends = (shapes[key] for key in ((_TINY,) if tiny else _LAST) if key in shapes)
    full = next((shape for shape in ends if shape), (_STABLE_DIFFUSION,))
    last = full[0] if tiny or len(full) == 1 else full[1]
    return Anatomy(
        denoiser=sizes["denoiser"],
        text=sizes["text"],
        vae=sizes["vae"],
        width=width or _most_common(inner),
        convolves=bool(width),
        vae_width=last,
        tiny_vae=tiny,
        stored=sum(stored.get(key, 0) for key in denoiser),
        text_stored=stays,
        text_wide=text_wide,
        in_blocks=at_once if at_once < sizes["denoiser"] else 0,
    )


def _part(key: str) -> str:
    if key.startswith(_ASIDE):
        return "vae"
    return "text" if key.startswith(_TEXT) else "denoiser"


def _is_of_a_layer(key: str, shape: tuple[int, ...]) -> bool:
    """Whether a text encoder multiplies with it, rather than looking up its rows or adding it."""
    *_, module, name = ("", *key.split("."))
    return name == "weight" and len(shape) > 1 and not _TABLE.search(module)


def _most_common(widths: list[int]) -> int:
    """What most matrices of a transformer take in is its inner width."""
    return max(set(widths), key=widths.count) if widths else 0
