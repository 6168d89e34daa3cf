"""Stable Diffusion 3 and 3.5: a transformer over both text and picture, read by two CLIPs and T5.

T5 is large and may be missing, in a folder as in a file: the CLIPs alone still paint, though long
sentences and lettering suffer. Prompts go to all three as sentences, without weights.
"""

from studio import samplers
from studio.families._family import SENTENCES, Defaults, Family, Role, Text
from studio.families._keys import every, has, some

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

_FILE = has(
    "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight",
    "model.diffusion_model.y_embedder.mlp.0.weight",
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
    defaults=Defaults(steps=28, guidance=5.0, sampler="flow_euler"),
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
)
