"""Stable Diffusion XL, the base model: two text encoders, pooled text and size conditions."""

from studio.families._family import Defaults, Family, Network, Role
from studio.families._keys import Rule, every, has, shape, some
from studio.families._unets import UNET

_FOLDER = every(
    has(
        "unet.add_embedding.linear_1.weight",
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    ),
    some(
        has("text_encoder.embeddings.token_embedding.weight"),
        has("text_encoder.text_model.embeddings.token_embedding.weight"),
    ),
    has("text_encoder_2.text_model.embeddings.token_embedding.weight"),
    some(has("vae.decoder.conv_in.weight"), has("vae.decoder.layers.0.weight")),
)

_FILE = every(
    has(
        "model.diffusion_model.label_emb.0.0.weight",
        "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
        "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
        "conditioner.embedders.1.model.token_embedding.weight",
        "first_stage_model.decoder.conv_in.weight",
    ),
)


def with_channels(count: int) -> Rule:
    """Holds where the denoiser takes that many channels; see `sd15.with_channels`."""
    return some(
        every(_FOLDER, shape("unet.conv_in.weight", 1, count)),
        every(_FILE, shape("model.diffusion_model.input_blocks.0.0.weight", 1, count)),
    )


FAMILY = Family(
    id="sdxl",
    label="Stable Diffusion XL",
    keys=with_channels(4),
    pipelines={
        Role.TEXT: "StableDiffusionXLPipeline",
        Role.IMAGE: "StableDiffusionXLImg2ImgPipeline",
        Role.INPAINT: "StableDiffusionXLInpaintPipeline",
    },
    components={
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL", "AutoencoderTiny"),
        "text_encoder": ("CLIPTextModel",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
    },
    native_px=1024,
    multiple_px=8,
    sized=True,
    defaults=Defaults(steps=30, guidance=6.0, sampler="dpmpp_2m_karras"),
    refiners=frozenset({"sdxl_refiner"}),
    quick=Defaults(steps=4, guidance=1.0, sampler="euler_a"),
    steering=UNET,
    configs="sdxl",
    single_file={
        "unet": Network("unet", ("model.diffusion_model.",)),
        "vae": Network("vae", ("first_stage_model.",)),
        "text_encoder": Network("clip", ("conditioner.embedders.0.",)),
        "text_encoder_2": Network("open_clip", ("conditioner.embedders.1.model.",)),
    },
    # InstantStyle (Wang et al., 2024)
    listens={
        "style": {"up_blocks.0.attentions.1.": 1.0},
        "composition": {"down_blocks.2.attentions.1.": 1.0},
    },
)
