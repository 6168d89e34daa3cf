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

SIZE_PX = {"": 64}
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
