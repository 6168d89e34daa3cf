"""PixArt-Σ: a small transformer that T5 alone reads to. diffusers has no way for it to paint over
pictures; its pipeline for words begins with the picture instead."""

from typing import Any

from studio.families._family import OVER, SENTENCES, Defaults, Family, Role, Sampling, Text
from studio.families._keys import every, has, saved_from, without

folder = has(
    "transformer.pos_embed.proj.weight",
    "transformer.adaln_single.linear.weight",
    "transformer.caption_projection.linear_1.weight",
    "transformer.scale_shift_table",
    "text_encoder.shared.weight",
    "vae.decoder.conv_in.weight",
)


def _call_args(sampling: Sampling) -> dict[str, Any]:
    """In the size that was asked for, instead of the next of a list; and the prompt as it is."""
    return {
        "guidance_scale": sampling.guidance,
        "use_resolution_binning": False,
        "clean_caption": False,
    }


FAMILY = Family(
    id="pixart_sigma",
    label="PixArt-Σ",
    keys=every(folder, without(saved_from("PixArtAlphaPipeline"))),
    pipelines=dict.fromkeys(Role, "PixArtSigmaPipeline"),
    begun=OVER,
    components={
        "transformer": ("PixArtTransformer2DModel", "Transformer2DModel"),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("T5EncoderModel",),
        "tokenizer": ("T5TokenizerFast", "T5Tokenizer"),
    },
    native_px=1024,
    multiple_px=16,
    sized=True,
    defaults=Defaults(steps=20, guidance=4.5, sampler="dpmpp_2m"),
    supports=SENTENCES,
    text=Text(
        results=(
            "prompt_embeds",
            "prompt_attention_mask",
            "negative_prompt_embeds",
            "negative_prompt_attention_mask",
        ),
        options={"clean_caption": False},
    ),
    call_args=_call_args,
)
