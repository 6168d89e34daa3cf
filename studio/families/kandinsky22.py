"""Kandinsky 2.2, the open form of DALL·E 2's design (unCLIP): a prior foresees what CLIP would see
in a picture of the prompt, and a decoder paints a picture in which it sees just that.

A folder has to hold both, as diffusers' `KandinskyV22CombinedPipeline` saves them. diffusers reads no
single files of it. Steps and guidance are the decoder's; those of the prior are fixed.
"""

from typing import Any

from studio.families._family import (
    SENTENCES,
    Defaults,
    Family,
    Latents,
    Over,
    Role,
    Sampling,
    Text,
)
from studio.families._keys import Rule, every, has, shape

PRIOR_STEPS = 25


def decodes(channels: int) -> Rule:
    """Holds for a folder whose decoder takes that many channels."""
    return every(
        shape("unet.conv_in.weight", 1, channels),
        has("unet.encoder_hid_proj.image_embeds.weight", "movq.quantize.embedding.weight"),
    )


def _call_args(sampling: Sampling) -> dict[str, Any]:
    given = {
        "guidance_scale": sampling.guidance,
        "prior_num_inference_steps": PRIOR_STEPS,
    }
    if sampling.role is Role.IMAGE:
        # this pipeline of diffusers takes one for the other when it resizes its picture
        return {**given, "width": sampling.height, "height": sampling.width}
    return given


FAMILY = Family(
    id="kandinsky22",
    label="Kandinsky 2.2",
    keys=decodes(4),
    pipelines={
        Role.TEXT: "KandinskyV22CombinedPipeline",
        Role.IMAGE: "KandinskyV22Img2ImgCombinedPipeline",
    },
    components={
        "unet": ("UNet2DConditionModel",),
        "movq": ("VQModel",),
        "prior_prior": ("PriorTransformer",),
        "prior_image_encoder": ("CLIPVisionModelWithProjection",),
        "prior_image_processor": ("CLIPImageProcessor", "CLIPImageProcessorPil"),
        "prior_text_encoder": ("CLIPTextModelWithProjection",),
        "prior_tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "prior_scheduler": ("UnCLIPScheduler",),
    },
    native_px=768,
    multiple_px=64,
    defaults=Defaults(steps=50, guidance=4.0, sampler="ddpm"),
    supports=SENTENCES,
    # the ones whose network sees its latents unscaled and that take the picture's noise
    samplers=("ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_karras", "dpmpp_2m_sde", "dpmpp_2m_sde_karras"),
    text=Text(),
    latents=Latents.PIXELS,
    over=Over.PICTURE,
    call_args=_call_args,
    steps_before=PRIOR_STEPS,
)
