"""A complete tiny checkpoint of each family, of diffusers' own classes; see `tests.engine.tiny`."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.engine import tiny

Saver = Callable[[Path], Path]

TINY: dict[str, Saver] = {
    "sd15": tiny.save_tiny_sd,
    "sd15_inpaint": functools.partial(tiny.save_tiny_sd, channels=9),
    "sd2": tiny.save_tiny_sd2,
    "sdxl": tiny.save_tiny_sdxl,
    "sdxl_inpaint": functools.partial(tiny.save_tiny_sdxl, channels=9),
}
"""How a folder of each family is written, by its id."""

SIZE_PX = {"": 64, "stable_cascade": 128}
"""Side of a test's picture, by family; the least that it can do."""


def saves(*families: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function from a folder to a pipeline as the builder of a family."""

    def register(build: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def save(folder: Path) -> Path:
            import torch

            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                pipeline = build(folder)
                _shake(pipeline)
                pipeline.save_pretrained(folder, safe_serialization=True)
            return folder

        for family in families:
            TINY[family] = save
        return build

    return register


def _shake(pipeline: Any) -> None:
    """Some networks start with layers of zeros, and pictures of them would prove nothing."""
    import torch

    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            for tensor in component.parameters():
                if tensor.ndim > 1 and not tensor.any():
                    torch.nn.init.normal_(tensor, std=0.1)


def _flow(**options: Any) -> Any:
    import diffusers

    return diffusers.FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **options})


def _vae(channels: int = 16, **options: Any) -> Any:
    import diffusers

    return diffusers.AutoencoderKL(
        **{
            "block_out_channels": (8, 8, 8, 8),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "latent_channels": channels,
            "sample_size": 64,
            "scaling_factor": 1.5,
            "shift_factor": 0.06,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
            **options,
        }
    )


def _t5(width: int = 32) -> Any:
    import transformers

    config = transformers.T5Config(
        vocab_size=99 + 100,
        d_model=width,
        d_kv=8,
        d_ff=37,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    return transformers.T5EncoderModel(config)


def _t5_tokenizer() -> Any:
    import transformers

    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.!?'()"
    vocab = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", -9.0),
        *((letter, -2.0) for letter in letters),
    ]
    return transformers.T5TokenizerFast(vocab=vocab, model_max_length=77)


@saves("sd3")
def _sd3(folder: Path) -> Any:
    import diffusers

    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=32,
            pooled_projection_dim=64,
            out_channels=16,
        ),
        scheduler=_flow(),
        vae=_vae(),
        text_encoder=tiny.text_encoder(32, projected=True),
        tokenizer=tiny.tokenizer(folder / "tokenizer"),
        text_encoder_2=tiny.text_encoder(32, projected=True),
        tokenizer_2=tiny.tokenizer(folder / "tokenizer_2", pad="!"),
        text_encoder_3=_t5(),
        tokenizer_3=_t5_tokenizer(),
    )


def _flux_parts(folder: Path, channels: int = 64, *, guided: bool = True) -> dict[str, Any]:
    import diffusers

    return {
        "transformer": diffusers.FluxTransformer2DModel(
            patch_size=1,
            in_channels=channels,
            out_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            guidance_embeds=guided,
            axes_dims_rope=(4, 4, 8),
        ),
        "scheduler": _flow(use_dynamic_shifting=True),
        "vae": _vae(),
        "text_encoder": tiny.text_encoder(32, projected=False),
        "tokenizer": tiny.tokenizer(folder / "tokenizer"),
        "text_encoder_2": _t5(),
        "tokenizer_2": _t5_tokenizer(),
    }


@saves("flux")
def _flux(folder: Path) -> Any:
    import diffusers

    return diffusers.FluxPipeline(**_flux_parts(folder))


@saves("flux_schnell")
def _flux_schnell(folder: Path) -> Any:
    import diffusers

    return diffusers.FluxPipeline(**_flux_parts(folder, guided=False))


@saves("flux_fill")
def _flux_fill(folder: Path) -> Any:
    import diffusers

    return diffusers.FluxFillPipeline(**_flux_parts(folder, channels=384))


@saves("flux_kontext")
def _flux_kontext(folder: Path) -> Any:
    import diffusers

    return diffusers.FluxKontextPipeline(**_flux_parts(folder))


def _kandinsky(folder: Path, channels: int) -> dict[str, Any]:
    import diffusers
    import transformers

    prior = diffusers.PriorTransformer(
        num_attention_heads=2, attention_head_dim=8, embedding_dim=32, num_layers=1
    )
    prior.clip_std.data.fill_(1.0)
    return {
        "unet": diffusers.UNet2DConditionModel(
            in_channels=channels,
            out_channels=8,
            sample_size=8,
            addition_embed_type="image",
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            encoder_hid_dim=32,
            encoder_hid_dim_type="image_proj",
            cross_attention_dim=32,
            attention_head_dim=8,
            resnet_time_scale_shift="scale_shift",
        ),
        "scheduler": diffusers.DDPMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            clip_sample_range=2.0,
            sample_max_value=2.0,
            thresholding=True,
            variance_type="learned_range",
        ),
        "movq": diffusers.VQModel(
            block_out_channels=(32, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 3 + ("AttnDownEncoderBlock2D",),
            up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 3,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=8,
            norm_type="spatial",
            num_vq_embeddings=12,
            vq_embed_dim=4,
        ),
        "prior_prior": prior,
        "prior_image_encoder": transformers.CLIPVisionModelWithProjection(
            transformers.CLIPVisionConfig(
                hidden_size=32,
                intermediate_size=37,
                image_size=32,
                patch_size=8,
                num_attention_heads=4,
                num_hidden_layers=1,
                projection_dim=32,
            )
        ),
        "prior_image_processor": transformers.CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        "prior_text_encoder": tiny.text_encoder(32, projected=True),
        "prior_tokenizer": tiny.tokenizer(folder / "prior_tokenizer"),
        "prior_scheduler": diffusers.UnCLIPScheduler(
            variance_type="fixed_small_log",
            prediction_type="sample",
            clip_sample_range=10.0,
        ),
    }


@saves("kandinsky22")
def _kandinsky22(folder: Path) -> Any:
    import diffusers

    return diffusers.KandinskyV22CombinedPipeline(**_kandinsky(folder, 4))


@saves("kandinsky22_inpaint")
def _kandinsky22_inpaint(folder: Path) -> Any:
    import diffusers

    return diffusers.KandinskyV22InpaintCombinedPipeline(**_kandinsky(folder, 9))


@saves("stable_cascade")
def _stable_cascade(folder: Path) -> Any:
    import diffusers
    from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel

    one: dict[str, Any] = {
        "conditioning_dim": 16,
        "block_out_channels": (16, 16),
        "num_attention_heads": (2, 2),
        "down_num_layers_per_block": (1, 1),
        "up_num_layers_per_block": (1, 1),
        "clip_text_pooled_in_channels": 32,
        "clip_seq": 2,
    }
    plain = ("SDCascadeResBlock", "SDCascadeTimestepBlock")
    return diffusers.StableCascadeCombinedPipeline(
        decoder=diffusers.StableCascadeUNet(
            **one,
            in_channels=4,
            out_channels=4,
            patch_size=2,
            effnet_in_channels=16,
            pixel_mapper_in_channels=3,
            block_types_per_layer=(plain, (*plain, "SDCascadeAttnBlock")),
            timestep_conditioning_type=("sca",),
        ),
        vqgan=PaellaVQModel(bottleneck_blocks=1, embed_dim=8, num_vq_embeddings=16),
        scheduler=diffusers.DDPMWuerstchenScheduler(),
        text_encoder=tiny.text_encoder(32, projected=True),
        tokenizer=tiny.tokenizer(folder / "tokenizer"),
        prior_prior=diffusers.StableCascadeUNet(
            **one,
            clip_text_in_channels=32,
            clip_image_in_channels=32,
            switch_level=(False,),
        ),
        prior_text_encoder=tiny.text_encoder(32, projected=True),
        prior_tokenizer=tiny.tokenizer(folder / "prior_tokenizer"),
        prior_scheduler=diffusers.DDPMWuerstchenScheduler(),
    )
