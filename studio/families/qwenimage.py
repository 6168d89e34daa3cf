"""Qwen-Image: the text encoder is Qwen 2.5 VL, the autoencoder one for films of a single frame.

Guidance is what diffusers calls `true_cfg_scale` here: the network is asked twice a step.
Qwen-Image-Edit has the same keys and needs pictures beside the prompt; it is `qwenimage_edit`.
"""

from typing import Any

from studio import samplers
from studio.families._family import SENTENCES, Defaults, Family, Latents, Role, Sampling, Text
from studio.families._keys import Shapes, every, has, saved_from, some, without
from studio.families._steering import BESIDE_MASKS, Config, Steering, layers, widths

folder = has(
    "transformer.img_in.weight",
    "transformer.txt_norm.weight",
    "transformer.transformer_blocks.0.img_mod.1.weight",
    "vae.post_quant_conv.weight",
)
edits = some(saved_from("QwenImageEditPipeline"), saved_from("QwenImageEditPlusPipeline"))


def call_args(sampling: Sampling) -> dict[str, Any]:
    return {"true_cfg_scale": sampling.guidance}


_CONTROL = "QwenImageControlNetModel"


def _control_config(shapes: Shapes, denoiser: Config) -> Config:
    inner, channels = shapes["img_in.weight"]
    head = shapes["transformer_blocks.0.attn.norm_q.weight"][0]
    return {
        "in_channels": channels,
        "num_layers": layers(shapes, "transformer_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": inner // head,
        "joint_attention_dim": shapes["txt_in.weight"][1],
        "extra_condition_channels": 0,
    }


def _control_problem(shapes: Shapes) -> str:
    wider = shapes["controlnet_x_embedder.weight"][1] > shapes["img_in.weight"][1]
    return BESIDE_MASKS if wider else ""


STEERING = Steering(
    part="transformer",
    network=_CONTROL,
    keys=has("controlnet_x_embedder.weight", "img_in.weight", "txt_in.weight", "txt_norm.weight"),
    made_for=widths(_CONTROL, ("img_in.weight", "txt_in.weight")),
    encoder=widths(_CONTROL, ("img_in.weight", "txt_in.weight")),
    config=_control_config,
    kinds=("edges", "depth", "pose"),
    problem=_control_problem,
    balances=("balanced", "control"),
    apart=True,
)


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
    steering=STEERING,
    call_args=call_args,
)
