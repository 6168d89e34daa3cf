"""The refiner of Stable Diffusion XL: finishes pictures, from words alone it cannot start one."""

from dataclasses import replace

from studio.families import sdxl
from studio.families._family import Network, Role
from studio.families._keys import every, has, some, without

_FOLDER = every(
    has(
        "unet.add_embedding.linear_1.weight",
        "text_encoder_2.text_model.embeddings.token_embedding.weight",
        "vae.decoder.conv_in.weight",
    ),
    without(
        some(
            has("text_encoder.embeddings.token_embedding.weight"),
            has("text_encoder.text_model.embeddings.token_embedding.weight"),
        )
    ),
)

_FILE = has(
    "model.diffusion_model.label_emb.0.0.weight",
    "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
    "conditioner.embedders.0.model.token_embedding.weight",
    "first_stage_model.decoder.conv_in.weight",
)

_ONE = {"text_encoder", "tokenizer"}

FAMILY = replace(
    sdxl.FAMILY,
    id="sdxl_refiner",
    label="Stable Diffusion XL, refiner",
    keys=some(_FOLDER, _FILE),
    pipelines={role: sdxl.FAMILY.pipelines[role] for role in (Role.IMAGE, Role.INPAINT)},
    components={k: v for k, v in sdxl.FAMILY.components.items() if k not in _ONE},
    quick=None,
    refiners=frozenset(),
    configs="sdxl_refiner",
    single_file={
        "unet": sdxl.FAMILY.single_file["unet"],
        "vae": sdxl.FAMILY.single_file["vae"],
        "text_encoder_2": Network("open_clip", ("conditioner.embedders.0.model.",)),
    },
)
