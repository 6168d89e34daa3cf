"""FLUX.1 [dev] and what was trained from it: guidance is a number that the network was taught.

FLUX.1 [schnell] is `flux_schnell`, [Fill] `flux_fill`, [Kontext] `flux_kontext`. Redux is no
checkpoint but an image prompt (`checkpoints.imageprompts`): what SigLIP sees in a picture follows the
prompt as 729 more tokens of T5's.
"""

from collections.abc import Mapping

from studio import samplers
from studio.families._family import (
    ONE_SENTENCE,
    Defaults,
    Family,
    Guidance,
    Latents,
    Need,
    Network,
    Role,
    Text,
)
from studio.families._keys import Rule, Shapes, every, has, saved_from, shape, some, without
from studio.families._published import CLIP_L, FLUX_VAE, T5_XXL

_DISTILLED = "transformer.time_text_embed.guidance_embedder.linear_1.weight"


def folder(channels: int) -> Rule:
    """Holds for a folder whose denoiser takes that many channels of squares of 2 × 2."""
    return every(
        shape("transformer.x_embedder.weight", 1, channels),
        has(
            "transformer.single_transformer_blocks.0.proj_mlp.weight",
            "transformer.time_text_embed.text_embedder.linear_1.weight",
            "transformer.context_embedder.weight",
            "text_encoder_2.shared.weight",
            "vae.decoder.conv_in.weight",
        ),
    )


_IN = ("img_in.weight", "model.diffusion_model.img_in.weight")
_TEXT = ("vector_in.in_layer.weight", "model.diffusion_model.vector_in.in_layer.weight")
_GUIDANCE = ("guidance_in.in_layer.weight", "model.diffusion_model.guidance_in.in_layer.weight")


def file(channels: int) -> Rule:
    """The same for a single file, of the denoiser alone or of everything."""
    return every(
        some(*(shape(key, 1, channels) for key in _IN)), some(*(has(key) for key in _TEXT))
    )


guided = some(has(_DISTILLED), *(has(key) for key in _GUIDANCE))
"""Holds where the network was taught what guidance means."""

LATENT_CHANNELS = 64


def _needs(shapes: Shapes) -> Mapping[str, Need]:
    return {
        "vae": Need(
            "vae",
            shapes["final_layer.linear.weight"][0] // 4,
            FLUX_VAE,
            others=r"sd.?3|stable.?diffusion.?3",
        ),
        "text_encoder": Need(
            "clip",
            shapes["vector_in.in_layer.weight"][1],
            CLIP_L,
        ),
        "text_encoder_2": Need(
            "t5",
            shapes["txt_in.weight"][1],
            T5_XXL,
        ),
    }


FAMILY = Family(
    id="flux",
    label="FLUX.1",
    keys=every(
        some(
            every(folder(LATENT_CHANNELS), without(saved_from("FluxKontextPipeline"))),
            file(LATENT_CHANNELS),
        ),
        guided,
    ),
    pipelines={
        Role.TEXT: "FluxPipeline",
        Role.IMAGE: "FluxImg2ImgPipeline",
        Role.INPAINT: "FluxInpaintPipeline",
    },
    components={
        "transformer": ("FluxTransformer2DModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("CLIPTextModel",),
        "text_encoder_2": ("T5EncoderModel",),
        "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_2": ("T5TokenizerFast", "T5Tokenizer"),
    },
    native_px=1024,
    multiple_px=16,
    defaults=Defaults(steps=28, guidance=3.5, sampler="flow_euler"),
    supports=ONE_SENTENCE,
    guidance=Guidance.EMBEDDED,
    samplers=samplers.FLOW,
    text=Text(results=("prompt_embeds", "pooled_prompt_embeds", "")),
    appended="prompt_embeds",
    latents=Latents.PACKED,
    configs="flux",
    single_file={
        "vae": Network("vae", ("vae.", "first_stage_model.")),
        "text_encoder": Network("text", ("text_encoders.clip_l.transformer.",)),
        "text_encoder_2": Network("t5", ("text_encoders.t5xxl.transformer.",)),
        "transformer": Network("FluxTransformer2DModel", ("model.diffusion_model.", "")),
    },
    needs=_needs,
)
