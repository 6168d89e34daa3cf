"""Z-Image, Turbo by default: one stream for text and picture, read to by Qwen 3.

diffusers counts its guidance from 0.0, which is off; here, as everywhere, 1.0 is. The base model has
the same keys and wants about 40 steps at a guidance of 5; a sidecar says so.
"""

from typing import Any

from studio import samplers
from studio.families._family import SENTENCES, Defaults, Family, Over, Role, Sampling, Text
from studio.families._keys import has


def _call_args(sampling: Sampling) -> dict[str, Any]:
    return {"guidance_scale": max(0.0, sampling.guidance - 1.0)}


FAMILY = Family(
    id="zimage",
    label="Z-Image",
    keys=has(
        "transformer.all_x_embedder.2-1.weight",
        "transformer.noise_refiner.0.attention.to_q.weight",
        "transformer.cap_embedder.0.weight",
        "vae.decoder.conv_in.weight",
    ),
    pipelines={
        Role.TEXT: "ZImagePipeline",
        Role.IMAGE: "ZImageImg2ImgPipeline",
        Role.INPAINT: "ZImageInpaintPipeline",
    },
    components={
        "transformer": ("ZImageTransformer2DModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("Qwen3Model", "Qwen3ForCausalLM"),
        "tokenizer": ("Qwen2Tokenizer", "Qwen2TokenizerFast"),
    },
    native_px=1024,
    multiple_px=16,
    defaults=Defaults(steps=9, guidance=1.0, sampler="flow_euler"),
    supports=SENTENCES,
    samplers=samplers.FLOW,
    text=Text(results=("prompt_embeds", "negative_prompt_embeds")),
    over=Over.PICTURE,
    call_args=_call_args,
)
