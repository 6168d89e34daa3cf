"""Qwen-Image: the text encoder is Qwen 2.5 VL, the autoencoder one for films of a single frame.

Guidance is what diffusers calls `true_cfg_scale` here: the network is asked twice a step.
Qwen-Image-Edit has the same keys and needs pictures beside the prompt; it is `qwenimage_edit`.
"""

from typing import Any

from studio import samplers
from studio.families._family import SENTENCES, Defaults, Family, Latents, Role, Sampling, Text
from studio.families._keys import every, has, saved_from, some, without

folder = has(
    "transformer.img_in.weight",
    "transformer.txt_norm.weight",
    "transformer.transformer_blocks.0.img_mod.1.weight",
    "vae.post_quant_conv.weight",
)
edits = some(saved_from("QwenImageEditPipeline"), saved_from("QwenImageEditPlusPipeline"))


def call_args(sampling: Sampling) -> dict[str, Any]:
    return {"true_cfg_scale": sampling.guidance}


FAMILY = Family(
    id="qwenimage",
    label="Qwen-Image",
    keys=every(folder, without(edits)),
    pipelines={
        Role.TEXT: "QwenImagePipeline",
        Role.IMAGE: "QwenImageImg2ImgPipeline",
        Role.INPAINT: "QwenImageInpaintPipeline",
    },
    components={
        "transformer": ("QwenImageTransformer2DModel",),
        "vae": ("AutoencoderKLQwenImage",),
        "text_encoder": ("Qwen2_5_VLForConditionalGeneration",),
        "tokenizer": ("Qwen2Tokenizer", "Qwen2TokenizerFast"),
    },
    native_px=1328,
    multiple_px=16,
    defaults=Defaults(steps=50, guidance=4.0, sampler="flow_euler"),
    supports=SENTENCES,
    samplers=samplers.FLOW,
    text=Text(results=("prompt_embeds", "prompt_embeds_mask"), negative_apart=True),
    latents=Latents.FRAMES,
    call_args=call_args,
)
