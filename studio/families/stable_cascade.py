"""Stable Cascade: a prior paints in latents of 42 × 42 px each (stage C), a decoder fills them in
(stages B and A).

A folder has to hold both, as diffusers' `StableCascadeCombinedPipeline` saves them; the single files
of its stages are networks alone. Steps and guidance are the prior's; the decoder always takes ten steps
and needs no guidance. diffusers has no way for it to paint over pictures: what it takes pictures for
are variations of them. Nor can it begin with one: that would be in the latents of stage C, and the
network that makes them of pictures (an EfficientNet) is not published in diffusers' form.
"""

from typing import Any

from studio.families._family import SENTENCES, Defaults, Family, Latents, Role, Sampling, Text
from studio.families._keys import has

DECODER_STEPS = 10


def _call_args(sampling: Sampling) -> dict[str, Any]:
    return {
        "prior_num_inference_steps": sampling.steps,
        "prior_guidance_scale": sampling.guidance,
        "num_inference_steps": DECODER_STEPS,
        "decoder_guidance_scale": 0.0,
    }


FAMILY = Family(
    id="stable_cascade",
    label="Stable Cascade",
    keys=has("decoder.effnet_mapper.0.weight", "vqgan.vquantizer.embedding.weight"),
    pipelines={Role.TEXT: "StableCascadeCombinedPipeline"},
    components={
        "decoder": ("StableCascadeUNet",),
        "vqgan": ("PaellaVQModel",),
        "text_encoder": ("CLIPTextModelWithProjection",),
        "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "prior_prior": ("StableCascadeUNet",),
        "prior_text_encoder": ("CLIPTextModelWithProjection",),
        "prior_tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "prior_scheduler": ("DDPMWuerstchenScheduler",),
    },
    native_px=1024,
    multiple_px=128,
    defaults=Defaults(steps=20, guidance=4.0, sampler="wuerstchen"),
    supports=SENTENCES,
    samplers=("wuerstchen",),
    text=Text(),
    latents=Latents.PIXELS,
    call_args=_call_args,
    steps_after=DECODER_STEPS,
)
