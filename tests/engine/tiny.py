"""Complete checkpoints of real diffusers classes, small enough to run in milliseconds.

Their weights are random: pictures are noise, but every class, key, file and code path is the one
that large checkpoints take.
"""

import inspect
import json
from pathlib import Path
from typing import Any

NATIVE_PX = 64


def save_tiny_sd(
    folder: Path,
    *,
    seed: int = 0,
    prediction: str = "epsilon",
    tiny_vae: bool = False,
    channels: int = 4,
) -> Path:
    """Writes a Stable Diffusion 1.x checkpoint in diffusers' folder layout and returns `folder`.

    64 px native, its own CLIP vocabulary of single characters. `tiny_vae` takes an AutoencoderTiny
    as the built-in checkpoint does; a denoiser of 9 `channels` is one made for inpainting.
    """
    import diffusers
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = diffusers.StableDiffusionPipeline(
            vae=vae(tiny=tiny_vae),
            text_encoder=text_encoder(32, projected=False),
            tokenizer=tokenizer(folder / "tokenizer"),
            unet=diffusers.UNet2DConditionModel(
                in_channels=channels,
                sample_size=8,
                layers_per_block=1,
                block_out_channels=(16, 32),
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                attention_head_dim=4,
                norm_num_groups=8,
                cross_attention_dim=32,
            ),
            scheduler=diffusers.PNDMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                skip_prk_steps=True,
                set_alpha_to_one=False,
                steps_offset=1,
                prediction_type=prediction,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        _save(pipeline, folder)
    return folder


def save_tiny_sd2(folder: Path) -> Path:
    """Writes a Stable Diffusion 2.x checkpoint: 1024 wide text, an activation of its own, velocity."""
    import diffusers
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = diffusers.StableDiffusionPipeline(
            vae=vae(tiny=False),
            text_encoder=text_encoder(1024, projected=False, activation="gelu"),
            tokenizer=tokenizer(folder / "tokenizer", pad="!"),
            unet=diffusers.UNet2DConditionModel(
                sample_size=8,
                layers_per_block=1,
                block_out_channels=(16, 32),
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                attention_head_dim=(2, 4),
                norm_num_groups=8,
                use_linear_projection=True,
                cross_attention_dim=1024,
            ),
            scheduler=diffusers.DDIMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                set_alpha_to_one=False,
                steps_offset=1,
                prediction_type="v_prediction",
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        _save(pipeline, folder)
    return folder


def save_tiny_sdxl(folder: Path, *, seed: int = 0, channels: int = 4) -> Path:
    """Writes an SDXL checkpoint in diffusers' folder layout and returns `folder`; 64 px native."""
    import diffusers
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = diffusers.StableDiffusionXLPipeline(
            vae=vae(tiny=False),
            text_encoder=text_encoder(32, projected=False),
            text_encoder_2=text_encoder(64, projected=True),
            tokenizer=tokenizer(folder / "tokenizer"),
            tokenizer_2=tokenizer(folder / "tokenizer_2", pad="!"),
            unet=diffusers.UNet2DConditionModel(
                in_channels=channels,
                sample_size=8,
                layers_per_block=1,
                block_out_channels=(16, 32),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                attention_head_dim=(2, 4),
                norm_num_groups=8,
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                transformer_layers_per_block=(1, 2),
                projection_class_embeddings_input_dim=112,
                cross_attention_dim=96,
            ),
            scheduler=diffusers.EulerDiscreteScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                steps_offset=1,
                timestep_spacing="leading",
            ),
            force_zeros_for_empty_prompt=True,
            add_watermarker=False,
        )
        _save(pipeline, folder)
    return folder


def save_tiny_control(folder: Path, checkpoint: Path, *, seed: int = 0) -> Path:
    """Writes a ControlNet for that checkpoint's denoiser, whose zero convolutions are not zero."""
    import diffusers
    import torch

    unet = diffusers.UNet2DConditionModel.from_pretrained(checkpoint / "unet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = diffusers.ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=(4, 8, 8, 16)
        )
        for name, tensor in net.named_parameters():
            if "controlnet_" in name:
                torch.nn.init.normal_(tensor, std=0.2)
    net.save_pretrained(folder, safe_serialization=True)
    return folder


def save_tiny_union(file: Path, checkpoint: Path, *, types: int = 6) -> Path:
    """Writes a ControlNet++ union for that checkpoint's denoiser as the one file that people have."""
    import diffusers
    import torch
    from safetensors.torch import save_file

    unet = diffusers.UNet2DConditionModel.from_pretrained(checkpoint / "unet")
    known = inspect.signature(diffusers.ControlNetUnionModel.__init__).parameters
    config = {name: value for name, value in unet.config.items() if name in known}
    channels = unet.config.block_out_channels[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = diffusers.ControlNetUnionModel(
            **config,
            conditioning_embedding_out_channels=(4, 8, 8, 16),
            num_control_type=types,
            num_trans_channel=channels,
            num_proj_channel=channels,
        )
        for name, tensor in net.named_parameters():
            if "controlnet_" in name or name.startswith("spatial_ch_projs"):
                torch.nn.init.normal_(tensor, std=0.2)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(net.state_dict()), file)
    return file


def _save(pipeline: Any, folder: Path) -> None:
    pipeline.save_pretrained(folder, safe_serialization=True)
    for name in ("tokenizer", "tokenizer_2"):
        if (folder / name).is_dir():
            tokenizer(folder / name, pad="!" if name == "tokenizer_2" else "<|endoftext|>")


def vae(*, tiny: bool) -> Any:
    import diffusers

    if tiny:
        widths = (8, 8, 8, 8)
        return diffusers.AutoencoderTiny(
            encoder_block_out_channels=widths,
            decoder_block_out_channels=widths,
            num_encoder_blocks=(0, 1, 1, 1),
            num_decoder_blocks=(1, 1, 1, 0),
        )
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=64,
    )


def text_encoder(width: int, *, projected: bool, activation: str = "") -> Any:
    import transformers

    config = transformers.CLIPTextConfig(
        vocab_size=514,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=width,
        hidden_act=activation or ("gelu" if projected else "quick_gelu"),
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=0 if projected else 513,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config)


def tokenizer(folder: Path, pad: str = "<|endoftext|>") -> Any:
    """CLIP's tokenizer without a single merge: a token a character."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(_vocabulary(), ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": pad,
        "do_lower_case": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _vocabulary() -> dict[str, int]:
    """CLIP's 256 byte characters, each bare and at the end of a word, and the two marks."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [*map(chr, printable), *(chr(256 + n) for n in range(len(others)))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    return {token: n for n, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}


def save_tiny_image_prompt(
    file: Path, checkpoint: Path, *, kind: str = "plain", seed: int = 0
) -> Path:
    """Writes an IP-Adapter for that checkpoint's denoiser: `plain` is told a picture in one row of
    24 numbers, `plus` in patches of 32."""
    import diffusers
    import torch
    from safetensors.torch import save_file

    unet = diffusers.UNet2DConditionModel.from_pretrained(checkpoint / "unet")
    context = unet.config.cross_attention_dim
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator) * 0.3

    state: dict[str, Any] = {}
    crossing = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for index, name in enumerate(crossing):
        width = unet.get_submodule(name.removesuffix(".processor")).to_q.weight.shape[0]
        for part in ("to_k_ip", "to_v_ip"):
            state[f"ip_adapter.{2 * index + 1}.{part}.weight"] = drawn(width, context)
    if kind == "plain":
        state |= {
            "image_proj.proj.weight": drawn(4 * context, 24),
            "image_proj.proj.bias": drawn(4 * context),
            "image_proj.norm.weight": drawn(context),
            "image_proj.norm.bias": drawn(context),
        }
    else:
        state |= {
            "image_proj.latents": drawn(1, 6, 64),
            "image_proj.proj_in.weight": drawn(64, 32),
            "image_proj.proj_in.bias": drawn(64),
            "image_proj.proj_out.weight": drawn(context, 64),
            "image_proj.proj_out.bias": drawn(context),
            "image_proj.norm_out.weight": drawn(context),
            "image_proj.norm_out.bias": drawn(context),
        }
        for layer in (f"image_proj.layers.{depth}" for depth in range(4)):
            for norm in ("0.norm1", "0.norm2", "1.0"):
                state |= {f"{layer}.{norm}.{part}": drawn(64) for part in ("weight", "bias")}
            for name, shape in {
                "0.to_q": (64, 64),
                "0.to_kv": (128, 64),
                "0.to_out": (64, 64),
                "1.1": (256, 64),
                "1.3": (64, 256),
            }.items():
                state[f"{layer}.{name}.weight"] = drawn(*shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, file)
    return file


def save_tiny_looker(folder: Path, *, seed: int = 0) -> Path:
    """Writes a CLIP vision network of 32 px pictures, 32 wide, that gives rows of 24 numbers."""
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = transformers.CLIPVisionModelWithProjection(
            transformers.CLIPVisionConfig(
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=3,
                num_attention_heads=4,
                projection_dim=24,
                image_size=32,
                patch_size=8,
            )
        )
    network.save_pretrained(folder, safe_serialization=True)
    return folder
