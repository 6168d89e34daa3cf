"""Stable Diffusion 1.x, and everything trained in its shape at any width."""

from studio.families._family import Defaults, Family, Network, Role
from studio.families._keys import Rule, every, has, shape, some, without
from studio.families._unets import UNET

_FOLDER = every(
    has("unet.conv_out.weight"),
    some(
        has("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"),
        has("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"),
        has("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"),
    ),
    # 1024 wide context is Stable Diffusion 2, whose text encoder is another one.
    without(shape("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 1, 1024)),
    # Pooled text and size conditions are SDXL's.
    without(has("unet.add_embedding.linear_1.weight")),
    some(
        has("text_encoder.embeddings.token_embedding.weight"),
        has("text_encoder.text_model.embeddings.token_embedding.weight"),
    ),
    some(has("vae.decoder.conv_in.weight"), has("vae.decoder.layers.0.weight")),
)

_CLIP = "cond_stage_model.transformer."
_FILE = every(
    has("model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"),
    without(has("model.diffusion_model.label_emb.0.0.weight")),
    some(
        has(f"{_CLIP}text_model.embeddings.token_embedding.weight"),
        has(f"{_CLIP}embeddings.token_embedding.weight"),
    ),
    has("first_stage_model.decoder.conv_in.weight"),
)


def with_channels(count: int) -> Rule:
    """Holds where the denoiser takes that many channels: 4 of latents, and 5 more of a mask and
    what is around it."""
    return some(
        every(_FOLDER, shape("unet.conv_in.weight", 1, count)),
        every(_FILE, shape("model.diffusion_model.input_blocks.0.0.weight", 1, count)),
    )


FAMILY = Family(
    id="sd15",
    label="Stable Diffusion 1.x",
    keys=with_channels(4),
    pipelines={
        Role.TEXT: "StableDiffusionPipeline",
        Role.IMAGE: "StableDiffusionImg2ImgPipeline",
        Role.INPAINT: "StableDiffusionInpaintPipeline",
    },
    components={
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL", "AutoencoderTiny"),
        "text_encoder": ("CLIPTextModel",),
        "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    },
    native_px=512,
    multiple_px=8,
    sized=True,
    defaults=Defaults(steps=25, guidance=7.0, sampler="dpmpp_2m_karras"),
    quick=Defaults(steps=4, guidance=1.0, sampler="euler_a"),
    steering=UNET,
    configs="sd15",
    single_file={
        "unet": Network("unet", ("model.diffusion_model.",)),
        "vae": Network("vae", ("first_stage_model.",)),
        "text_encoder": Network("clip", ("cond_stage_model.",)),
    },
    # as found by trying layers one by one for ComfyUI's IPAdapter nodes
    listens={
        "style": {
            "down_blocks.0.": 1.0,
            "down_blocks.1.": 1.0,
            "mid_block.": 1.0,
            "up_blocks.2.": 1.0,
            "up_blocks.3.": 1.0,
        },
        "composition": {"down_blocks.2.attentions.0.": 0.25, "down_blocks.2.attentions.1.": 1.0},
    },
)
