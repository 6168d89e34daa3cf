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
            qk_norm="rms_norm",
            dual_attention_layers=(0,),
            pos_embed_max_size=24,
        ),
        scheduler=_flow(),
        vae=_vae(),
        text_encoder=tiny.text_encoder(24, projected=True),
        tokenizer=tiny.tokenizer(folder / "tokenizer"),
        text_encoder_2=tiny.text_encoder(40, projected=True),
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


def _letters() -> list[str]:
    """The 256 byte characters of byte-level vocabularies."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = 256 - len(printable)
    return [*map(chr, printable), *(chr(256 + n) for n in range(others))]


CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}"
    "{% else %}{% for c in m.content %}{{ c.text or '' }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}"
)


def _qwen_tokenizer() -> Any:
    import transformers

    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    pictures = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    vocab = {token: n for n, token in enumerate([*_letters(), *names, *pictures])}
    made = transformers.Qwen2Tokenizer(vocab=vocab, merges=[], model_max_length=2048)
    made.add_special_tokens({"additional_special_tokens": [*names[1:], *pictures]})
    made.chat_template = CHAT
    return made


QWEN_WORDS = 256 + 7


def _gemma_tokenizer() -> Any:
    import transformers

    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = [chr(n) for n in range(33, 127)]
    vocab = {token: n for n, token in enumerate([*marks, "▁", "\n", *letters])}
    return transformers.GemmaTokenizer(vocab=vocab, merges=[], model_max_length=300)


def _gemma(width: int = 8) -> Any:
    import transformers

    config = transformers.Gemma2Config(
        head_dim=16,
        hidden_size=width,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        num_key_value_heads=2,
        vocab_size=128,
        attn_implementation="eager",
    )
    return transformers.Gemma2Model(config)


def _qwen3(layers: int, kind: str) -> Any:
    import transformers

    config = transformers.Qwen3Config(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=QWEN_WORDS,
        max_position_embeddings=512,
    )
    return getattr(transformers, kind)(config)


def _noise(**options: Any) -> Any:
    import diffusers

    return diffusers.DPMSolverMultistepScheduler(**options)


def _pixart() -> dict[str, Any]:
    import diffusers

    return {
        "transformer": diffusers.PixArtTransformer2DModel(
            sample_size=8,
            num_layers=2,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=3,
            caption_channels=32,
            in_channels=4,
            cross_attention_dim=24,
            out_channels=8,
            num_embeds_ada_norm=1000,
            use_additional_conditions=False,
        ),
        "vae": tiny.vae(tiny=False),
        "text_encoder": _t5(),
        "tokenizer": _t5_tokenizer(),
        "scheduler": _noise(),
    }


@saves("pixart_alpha")
def _pixart_alpha(folder: Path) -> Any:
    import diffusers

    return diffusers.PixArtAlphaPipeline(**_pixart())


@saves("pixart_sigma")
def _pixart_sigma(folder: Path) -> Any:
    import diffusers

    return diffusers.PixArtSigmaPipeline(**_pixart())


def _bert_tokenizer() -> Any:
    import transformers

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(n) for n in range(33, 127)]
    tokens = [*marks, *letters, *(f"##{letter}" for letter in letters)]
    return transformers.BertTokenizer(vocab={t: n for n, t in enumerate(tokens)})


@saves("hunyuandit")
def _hunyuandit(folder: Path) -> Any:
    import diffusers
    import transformers

    bert = transformers.BertConfig(
        vocab_size=256,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=37,
    )
    return diffusers.HunyuanDiTPipeline(
        transformer=diffusers.HunyuanDiT2DModel(
            sample_size=16,
            num_layers=2,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=3,
            in_channels=4,
            cross_attention_dim=32,
            cross_attention_dim_t5=32,
            pooled_projection_dim=16,
            hidden_size=24,
            activation_fn="gelu-approximate",
        ),
        vae=tiny.vae(tiny=False),
        text_encoder=transformers.BertModel(bert),
        tokenizer=_bert_tokenizer(),
        text_encoder_2=_t5(),
        tokenizer_2=_t5_tokenizer(),
        scheduler=diffusers.DDPMScheduler(
            beta_start=0.00085, beta_end=0.02, prediction_type="v_prediction", steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sana_parts(**options: Any) -> dict[str, Any]:
    import diffusers

    widths = (8, 8, 8, 8, 8, 8)
    kinds = ("ResBlock",) * 5 + ("EfficientViTBlock",)
    scales = ((),) * 5 + ((5,),)
    return {
        "transformer": diffusers.SanaTransformer2DModel(
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=4,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=8,
            sample_size=2,
            **options,
        ),
        "vae": diffusers.AutoencoderDC(
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=kinds,
            decoder_block_types=kinds,
            encoder_block_out_channels=widths,
            decoder_block_out_channels=widths,
            encoder_qkv_multiscales=scales,
            decoder_qkv_multiscales=scales,
            encoder_layers_per_block=(1,) * 6,
            decoder_layers_per_block=(1,) * 6,
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
            scaling_factor=0.41407,
        ),
        "text_encoder": _gemma(),
        "tokenizer": _gemma_tokenizer(),
    }


@saves("sana")
def _sana(folder: Path) -> Any:
    import diffusers

    scheduler = _noise(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return diffusers.SanaPipeline(**_sana_parts(), scheduler=scheduler)


@saves("sana_sprint")
def _sana_sprint(folder: Path) -> Any:
    import diffusers

    parts = _sana_parts(
        guidance_embeds=True, guidance_embeds_scale=0.1, qk_norm="rms_norm_across_heads"
    )
    return diffusers.SanaSprintPipeline(**parts, scheduler=diffusers.SCMScheduler())


@saves("zimage")
def _zimage(folder: Path) -> Any:
    import diffusers

    return diffusers.ZImagePipeline(
        transformer=diffusers.ZImageTransformer2DModel(
            all_patch_size=(2,),
            all_f_patch_size=(1,),
            in_channels=16,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=16,
            axes_dims=[8, 4, 4],
            axes_lens=[256, 32, 32],
        ),
        vae=_vae(),
        text_encoder=_qwen3(2, "Qwen3Model"),
        tokenizer=_qwen_tokenizer(),
        scheduler=_flow(),
    )


@saves("lumina2")
def _lumina2(folder: Path) -> Any:
    import diffusers

    return diffusers.Lumina2Pipeline(
        transformer=diffusers.Lumina2Transformer2DModel(
            sample_size=4,
            patch_size=2,
            in_channels=4,
            hidden_size=8,
            num_layers=2,
            num_attention_heads=1,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(4, 2, 2),
            cap_feat_dim=8,
        ),
        vae=_vae(4),
        text_encoder=_gemma(),
        tokenizer=_gemma_tokenizer(),
        scheduler=_flow(),
    )


def _qwen_vl() -> Any:
    import transformers

    config = transformers.Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_parameters": {
                "mrope_section": [1, 1, 2],
                "rope_type": "default",
                "rope_theta": 1e6,
            },
            "vocab_size": QWEN_WORDS,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
        },
        image_token_id=QWEN_WORDS - 2,
        video_token_id=QWEN_WORDS - 1,
        vision_start_token_id=QWEN_WORDS - 4,
        vision_end_token_id=QWEN_WORDS - 3,
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def _qwen_parts() -> dict[str, Any]:
    import diffusers

    return {
        "transformer": diffusers.QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        ),
        "vae": diffusers.AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 2, 2],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.1, 0.2, 0.3, 0.4],
            latents_std=[1.0, 1.5, 2.0, 2.5],
        ),
        "text_encoder": _qwen_vl(),
        "tokenizer": _qwen_tokenizer(),
        "scheduler": _flow(use_dynamic_shifting=True),
    }


@saves("qwenimage")
def _qwenimage(folder: Path) -> Any:
    import diffusers

    return diffusers.QwenImagePipeline(**_qwen_parts())


def _flux2_parts(width: int, *, guided: bool) -> dict[str, Any]:
    import diffusers

    return {
        "transformer": diffusers.Flux2Transformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=width,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=guided,
        ),
        "vae": diffusers.AutoencoderKLFlux2(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=64,
        ),
        "scheduler": _flow(use_dynamic_shifting=True),
    }


@saves("flux2_klein")
def _flux2_klein(folder: Path) -> Any:
    import diffusers

    return diffusers.Flux2KleinPipeline(
        **_flux2_parts(3 * 16, guided=False),
        text_encoder=_qwen3(28, "Qwen3ForCausalLM"),
        tokenizer=_qwen_tokenizer(),
        is_distilled=False,
    )


@saves("flux2")
def _flux2(folder: Path) -> Any:
    import diffusers
    import transformers

    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 31,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": QWEN_WORDS,
        "model_type": "mistral",
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "model_type": "pixtral",
    }
    config = transformers.Mistral3Config(
        text_config=text, vision_config=vision, image_token_index=QWEN_WORDS - 2
    )
    tokenizer = _qwen_tokenizer()
    return diffusers.Flux2Pipeline(
        **_flux2_parts(3 * 16, guided=True),
        text_encoder=transformers.Mistral3ForConditionalGeneration(config),
        tokenizer=transformers.PixtralProcessor(
            image_processor=transformers.PixtralImageProcessor(),
            tokenizer=tokenizer,
            image_token="<|image_pad|>",
            image_break_token="<|vision_start|>",
            image_end_token="<|vision_end|>",
            chat_template=CHAT,
        ),
    )


@saves("qwenimage_edit")
def _qwenimage_edit(folder: Path) -> Any:
    import diffusers
    import transformers

    parts = _qwen_parts()
    processor = transformers.Qwen2VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56),
        tokenizer=parts["tokenizer"],
        video_processor=transformers.Qwen2VLVideoProcessor(),
        chat_template=CHAT,
    )
    return diffusers.QwenImageEditPipeline(**parts, processor=processor)


@saves("sdxl_refiner")
def _sdxl_refiner(folder: Path) -> Any:
    import diffusers

    base = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(
        tiny.save_tiny_sdxl(folder), add_watermarker=False
    )
    unet = dict(base.unet.config)
    return diffusers.StableDiffusionXLImg2ImgPipeline(
        vae=base.vae,
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=base.text_encoder_2,
        tokenizer_2=base.tokenizer_2,
        unet=diffusers.UNet2DConditionModel.from_config(
            {**unet, "cross_attention_dim": 64, "projection_class_embeddings_input_dim": 64 + 5 * 8}
        ),
        scheduler=base.scheduler,
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def _glm_tokenizer() -> Any:
    import tokenizers
    import transformers

    letters = _letters()
    marks = ("<pad>", "<sop>", "<eop>", "<|image|>", "<boi>", "<eoi>")
    vocab = {token: n for n, token in enumerate([*letters, *marks])}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, merges=[]))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<boi>",
        eos_token="<eoi>",
        extra_special_tokens={
            "image_token": "<|image|>",
            "grid_bos_token": "<sop>",
            "grid_eos_token": "<eop>",
        },
    )


GLM_CHAT = (
    "{% for m in messages %}{% for c in m.content %}"
    "{% if c.type == 'image' %}<boi><|image|><eoi>{% else %}{{ c.text }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def _glm_writer() -> Any:
    import transformers

    words, codes = 256 + 6, 64
    config = transformers.GlmImageConfig(
        text_config={
            "vocab_size": words,
            "vision_vocab_size": codes,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 1024,
            "pad_token_id": 256,
            "eos_token_id": words - 1,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [1, 1, 2],
            },
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "image_size": 64,
        },
        vq_config={"embed_dim": 16, "num_embeddings": codes, "latent_channels": 16},
        image_token_id=words - 3,
        image_start_token_id=words - 2,
        image_end_token_id=words - 1,
    )
    return transformers.GlmImageForConditionalGeneration(config)


@saves("glm_image")
def _glm_image(folder: Path) -> Any:
    import diffusers
    import transformers

    pictures = transformers.GlmImageImageProcessor(
        patch_size=16,
        merge_size=1,
        temporal_patch_size=1,
        size={"shortest_edge": 64 * 64, "longest_edge": 128 * 128},
    )
    return diffusers.GlmImagePipeline(
        tokenizer=transformers.ByT5Tokenizer(),
        processor=transformers.GlmImageProcessor(
            pictures, _glm_tokenizer(), chat_template=GLM_CHAT
        ),
        text_encoder=transformers.T5EncoderModel(
            transformers.T5Config(
                vocab_size=384, d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4
            )
        ),
        vision_language_encoder=_glm_writer(),
        vae=_vae(4, latents_mean=[0.1, 0.2, 0.3, 0.4], latents_std=[1.5] * 4),
        transformer=diffusers.GlmImageTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            text_embed_dim=32,
            time_embed_dim=16,
            condition_dim=8,
            prior_vq_quantizer_codebook_size=64,
        ),
        scheduler=_flow(),
    )
