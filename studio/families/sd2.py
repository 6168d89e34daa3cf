"""Stable Diffusion 2.x: OpenCLIP reads the prompt, and most of them predict velocities.

A single file does not say what it predicts, but for a count of steps that only the 512 px base
model has; every other one is taken for the 768 px kind.
"""

from dataclasses import replace

from studio.families import sd15
from studio.families._family import Network
from studio.families._keys import every, has, shape, some, without

WIDTH = 1024
"""Of OpenCLIP's states; Stable Diffusion 1.x has 768."""

_FOLDER = every(
    shape("unet.conv_in.weight", 1, 4),
    shape("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 1, WIDTH),
    without(has("unet.add_embedding.linear_1.weight")),
    without(has("text_encoder_2.text_model.embeddings.token_embedding.weight")),
    some(
        has("text_encoder.embeddings.token_embedding.weight"),
        has("text_encoder.text_model.embeddings.token_embedding.weight"),
    ),
    some(has("vae.decoder.conv_in.weight"), has("vae.decoder.layers.0.weight")),
)

_FILE = every(
    shape("model.diffusion_model.input_blocks.0.0.weight", 1, 4),
    shape("model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight", 1, WIDTH),
    has(
        "cond_stage_model.model.token_embedding.weight", "first_stage_model.decoder.conv_in.weight"
    ),
)

FAMILY = replace(
    sd15.FAMILY,
    id="sd2",
    label="Stable Diffusion 2.x",
    keys=some(_FOLDER, _FILE),
    native_px=768,
    configs="sd2",
    single_file={
        **sd15.FAMILY.single_file,
        "text_encoder": Network("open_clip_read", ("cond_stage_model.model.",)),
    },
)
