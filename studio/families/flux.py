"""FLUX.1 [dev] and what was trained from it: guidance is a number that the network was taught.

FLUX.1 [schnell] is `flux_schnell`, [Fill] `flux_fill`, [Kontext] `flux_kontext`. Redux is no
checkpoint but an image prompt (`checkpoints.imageprompts`): what SigLIP sees in a picture follows the
prompt as 729 more tokens of T5's.
"""

from collections.abc import Mapping
from math import isqrt

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
from studio.families._steering import BESIDE_MASKS, SOFT_EDGES, Config, Steering, layers, widths

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


_OF_A_CONTROLNET = "pos_embed_input.weight"
"""In the layout of XLabs, whose other names are those of the denoiser."""


def file(channels: int) -> Rule:
    """The same for a single file, of the denoiser alone or of everything."""
    return every(
        some(*(shape(key, 1, channels) for key in _IN)),
        some(*(has(key) for key in _TEXT)),
        without(has(_OF_A_CONTROLNET)),
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


_CONTROL = "FluxControlNetModel"
_MODES = "controlnet_mode_embedder.weight"
_READS = "input_hint_block.conv_out.weight"
"""Of ControlNets that read pixels (XLabs); others are shown what the autoencoder makes of a map."""
_READS_TOO = "input_hint_block.14.weight"
"""The same in their own layout."""


def _control_config(shapes: Shapes, denoiser: Config) -> Config:
    if _OF_A_CONTROLNET in shapes:
        return _config_of_xlabs(shapes)
    inner, channels = shapes["x_embedder.weight"]
    head = shapes["transformer_blocks.0.attn.norm_q.weight"][0]
    read = shapes[_READS][0] if _READS in shapes else None
    return {
        "in_channels": channels,
        "num_layers": layers(shapes, "transformer_blocks"),
        "num_single_layers": layers(shapes, "single_transformer_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": inner // head,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "pooled_projection_dim": shapes["time_text_embed.text_embedder.linear_1.weight"][1],
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in shapes,
        "num_mode": _modes(shapes) or None,
        "conditioning_embedding_channels": read,
        "patch_size": isqrt(channels // read) if read else 1,
    }


def _config_of_xlabs(shapes: Shapes) -> Config:
    inner, channels = shapes["img_in.weight"]
    head = shapes["double_blocks.0.img_attn.norm.query_norm.scale"][0]
    read = shapes[_READS_TOO][0]
    return {
        "in_channels": channels,
        "num_layers": layers(shapes, "double_blocks"),
        "num_single_layers": 0,
        "attention_head_dim": head,
        "num_attention_heads": inner // head,
        "joint_attention_dim": shapes["txt_in.weight"][1],
        "pooled_projection_dim": shapes["vector_in.in_layer.weight"][1],
        "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
        "num_mode": None,
        "conditioning_embedding_channels": read,
        "patch_size": isqrt(channels // read),
    }


def _modes(shapes: Shapes) -> int:
    return shapes.get(_MODES, (0,))[0]


def _control_problem(shapes: Shapes) -> str:
    if _OF_A_CONTROLNET in shapes:
        return ""
    wider = shapes["controlnet_x_embedder.weight"][1] > shapes["x_embedder.weight"][1]
    return BESIDE_MASKS if wider else ""


_WIDTHS = (("x_embedder.weight", "context_embedder.weight"), ("img_in.weight", "txt_in.weight"))


STEERING = Steering(
    part="transformer",
    network=_CONTROL,
    keys=some(
        has(
            "controlnet_x_embedder.weight",
            "x_embedder.weight",
            "time_text_embed.text_embedder.linear_1.weight",
        ),
        has(_OF_A_CONTROLNET, _READS_TOO, "double_blocks.0.img_attn.qkv.weight"),
    ),
    made_for=widths(_CONTROL, *_WIDTHS),
    encoder=widths(_CONTROL, *_WIDTHS),
    config=_control_config,
    types=_modes,
    # as told by the makers of Union and Union-Pro
    numbers={"edges": 0, SOFT_EDGES: 0, "tile": 1, "depth": 2, "pose": 4},
    kinds=("edges", "depth", "pose"),
    problem=_control_problem,
)
"""A guidance that the network was taught leaves no half without the prompt to weigh a map against."""


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
    steering=STEERING,
    configs="flux",
    single_file={
        "vae": Network("vae", ("vae.", "first_stage_model.")),
        "text_encoder": Network("text", ("text_encoders.clip_l.transformer.",)),
        "text_encoder_2": Network("t5", ("text_encoders.t5xxl.transformer.",)),
        "transformer": Network("FluxTransformer2DModel", ("model.diffusion_model.", "")),
    },
    needs=_needs,
)
