"""Stable Diffusion 3 and 3.5: a transformer over both text and picture, read by two CLIPs and T5.

T5 is large and may be missing, in a folder as in a file: the CLIPs alone still paint, though long
sentences and lettering suffer. Prompts go to all three as sentences, without weights.

Their makers' cards say 28 steps at a guidance of 7 for 3 medium, 40 at 4.5 for 3.5 medium, 28 at 3.5
for 3.5 large and 4 without guidance for its Turbo, whose keys are those of large: a sidecar says so.
"""

from collections.abc import Mapping
from math import isqrt

from studio import samplers
from studio.families._family import SENTENCES, Defaults, Family, Need, Network, Role, Text
from studio.families._keys import Shapes, every, has, some
from studio.families._published import CLIP_G, CLIP_L, SD3_VAE, T5_XXL
from studio.families._steering import BESIDE_MASKS, Config, Encoder, Steering, layers, widths

_FOLDER = every(
    has(
        "transformer.pos_embed.proj.weight",
        "transformer.context_embedder.weight",
        "transformer.time_text_embed.text_embedder.linear_1.weight",
        "transformer.transformer_blocks.0.attn.add_k_proj.weight",
        "vae.decoder.conv_in.weight",
    ),
    some(
        has("text_encoder.text_model.embeddings.token_embedding.weight"),
        has("text_encoder.embeddings.token_embedding.weight"),
    ),
)

_FILE = some(
    *(
        has(
            f"{prefix}joint_blocks.0.context_block.attn.qkv.weight",
            f"{prefix}y_embedder.mlp.0.weight",
        )
        for prefix in ("model.diffusion_model.", "")
    )
)


def _needs(shapes: Shapes) -> Mapping[str, Need]:
    pooled = shapes["y_embedder.mlp.0.weight"][1]
    latents = shapes["x_embedder.proj.weight"][1]
    return {
        "vae": Need(
            "vae",
            latents,
            SD3_VAE,
            others=r"flux|^ae$",
        ),
        # the pooled text is that of both CLIPs, 768 and 1280 wide
        "text_encoder": Need(
            "clip",
            pooled * 3 // 8,
            CLIP_L,
        ),
        "text_encoder_2": Need(
            "clip",
            pooled * 5 // 8,
            CLIP_G,
        ),
        "text_encoder_3": Need(
            "t5",
            shapes["context_embedder.weight"][1],
            T5_XXL,
        ),
    }


_CONTROL = "SD3ControlNetModel"
_SHOWN, _POSITIONS = "pos_embed_input.proj.weight", "pos_embed.pos_embed"


def _made_for(shapes: Shapes) -> Encoder:
    # those of Stability read no text
    context = shapes.get("context_embedder.weight", (0, 0))[1]
    return Encoder(shapes[_SHOWN][0], context, _CONTROL)


def _control_config(shapes: Shapes, denoiser: Config) -> Config:
    inner, shown, patch, _ = shapes[_SHOWN]
    count = layers(shapes, "transformer_blocks")
    reads = shapes.get("context_embedder.weight")
    placed = shapes.get(_POSITIONS)
    return {
        "patch_size": patch,
        "in_channels": shown,
        "num_layers": count,
        "joint_attention_dim": reads[1] if reads else None,
        "caption_projection_dim": reads[0] if reads else inner,
        "pooled_projection_dim": shapes["time_text_embed.text_embedder.linear_1.weight"][1],
        "pos_embed_max_size": isqrt(placed[1]) if placed else None,
        "use_pos_embed": placed is not None,
        "qk_norm": "rms_norm" if "transformer_blocks.0.attn.norm_q.weight" in shapes else None,
        "dual_attention_layers": [
            n for n in range(count) if f"transformer_blocks.{n}.attn2.to_q.weight" in shapes
        ],
        "force_zeros_for_pooled_projection": reads is not None,
    }


def _control_problem(shapes: Shapes) -> str:
    seen = shapes.get("pos_embed.proj.weight", shapes[_SHOWN])[1]
    return BESIDE_MASKS if shapes[_SHOWN][1] > seen else ""


STEERING = Steering(
    part="transformer",
    network=_CONTROL,
    keys=has(_SHOWN, "time_text_embed.text_embedder.linear_1.weight"),
    made_for=_made_for,
    encoder=widths(
        _CONTROL,
        ("pos_embed.proj.weight", "context_embedder.weight"),
        ("x_embedder.proj.weight", "context_embedder.weight"),
    ),
    config=_control_config,
    untold=("force_zeros_for_pooled_projection",),
    kinds=("edges", "depth", "pose"),
    problem=_control_problem,
    balances=("balanced", "control"),
)


FAMILY = Family(
    id="sd3",
    label="Stable Diffusion 3",
    keys=some(_FOLDER, _FILE),
    pipelines={
        Role.TEXT: "StableDiffusion3Pipeline",
        Role.IMAGE: "StableDiffusion3Img2ImgPipeline",
        Role.INPAINT: "StableDiffusion3InpaintPipeline",
    },
    components={
        "transformer": ("SD3Transformer2DModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("CLIPTextModelWithProjection",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "text_encoder_3": ("T5EncoderModel",),
        "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_3": ("T5TokenizerFast", "T5Tokenizer"),
    },
    optional=frozenset({"text_encoder_3", "tokenizer_3"}),
    native_px=1024,
    multiple_px=16,
    defaults=Defaults(steps=28, guidance=4.5, sampler="flow_euler"),
    supports=SENTENCES,
    samplers=samplers.FLOW,
    text=Text(
        results=(
            "prompt_embeds",
            "negative_prompt_embeds",
            "pooled_prompt_embeds",
            "negative_pooled_prompt_embeds",
        ),
    ),
    steering=STEERING,
    configs="sd3",
    single_file={
        "vae": Network("vae", ("first_stage_model.", "vae.")),
        "text_encoder": Network("projected", ("text_encoders.clip_l.transformer.",)),
        "text_encoder_2": Network("projected", ("text_encoders.clip_g.transformer.",)),
        "text_encoder_3": Network("t5", ("text_encoders.t5xxl.transformer.",)),
        "transformer": Network("SD3Transformer2DModel", ("model.diffusion_model.", "")),
    },
    needs=_needs,
)
