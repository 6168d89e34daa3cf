"""Sana: a transformer over latents of 32 × 32 px each, read to by Gemma. diffusers has no way for it to
paint over pictures; its pipeline for words begins with the picture instead."""

from typing import Any

from studio import samplers
from studio.families._family import OVER, SENTENCES, Defaults, Family, Role, Sampling, Text
from studio.families._keys import Shapes, every, has, without
from studio.families._steering import Config, copied, layers

folder = has(
    "transformer.patch_embed.proj.weight",
    "transformer.caption_norm.weight",
    "transformer.transformer_blocks.0.ff.conv_inverted.weight",
)
distilled = has("transformer.time_embed.guidance_embedder.linear_1.weight")


def call_args(sampling: Sampling) -> dict[str, Any]:
    """In the size that was asked for, instead of the next of a list."""
    return {"guidance_scale": sampling.guidance, "use_resolution_binning": False}


_WIDTHS = ("patch_embed.proj.weight", "caption_projection.linear_1.weight")


def _control_config(shapes: Shapes, denoiser: Config) -> Config:
    return {"num_layers": layers(shapes, "transformer_blocks")}


STEERING = copied("SanaControlNetModel", _WIDTHS, _control_config)


FAMILY = Family(
    id="sana",
    label="Sana",
    keys=every(folder, without(distilled)),
    pipelines=dict.fromkeys(Role, "SanaPipeline"),
    begun=OVER,
    components={
        "transformer": ("SanaTransformer2DModel",),
        "vae": ("AutoencoderDC",),
        "text_encoder": ("Gemma2Model",),
        "tokenizer": ("GemmaTokenizerFast", "GemmaTokenizer"),
    },
    native_px=1024,
    multiple_px=32,
    defaults=Defaults(steps=20, guidance=4.5, sampler="flow_dpmpp_2m"),
    supports=SENTENCES,
    samplers=samplers.FLOW,
    text=Text(
        results=(
            "prompt_embeds",
            "prompt_attention_mask",
            "negative_prompt_embeds",
            "negative_prompt_attention_mask",
        ),
    ),
    steering=STEERING,
    call_args=call_args,
)
