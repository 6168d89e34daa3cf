"""HunyuanDiT: a transformer with the skips of a UNet, read to in English and Chinese by BERT and mT5.

diffusers has no way for it to paint over pictures; its pipeline for words begins with the picture
instead. The two encoders are asked one after the other, which is left to the pipeline's call.
"""

from dataclasses import replace
from typing import Any

from studio.families._family import OVER, SENTENCES, Defaults, Family, Role, Sampling, Text
from studio.families._keys import Shapes, has
from studio.families._steering import Config, Encoder, copied, layers


def _call_args(sampling: Sampling) -> dict[str, Any]:
    """In the size that was asked for, instead of the next of a list."""
    return {"guidance_scale": sampling.guidance, "use_resolution_binning": False}


_WIDTHS = ("pos_embed.proj.weight", "text_embedder.linear_1.weight")


def _control_config(shapes: Shapes, denoiser: Config) -> Config:
    return {
        # of the first half, without the block in the middle
        "transformer_num_layers": 2 * (layers(shapes, "blocks") + 1),
        "use_style_cond_and_image_meta_size": "time_extra_emb.style_embedder.weight" in shapes,
    }


_COPIED = copied("HunyuanDiT2DControlNetModel", _WIDTHS, _control_config)


def _made_for(shapes: Shapes) -> Encoder | None:
    found = _COPIED.made_for(shapes)
    return found and replace(found, depth=layers(shapes, "blocks"))


def _encoder(shapes: Shapes) -> Encoder | None:
    """Of its blocks the first half skips to the second, but for the one in the middle."""
    found = _COPIED.encoder(shapes)
    begin = "transformer."
    own = {key.removeprefix(begin): shapes[key] for key in shapes if key.startswith(begin)}
    return found and replace(found, depth=layers(own or shapes, "blocks") // 2 - 1)


STEERING = replace(_COPIED, made_for=_made_for, encoder=_encoder)


FAMILY = Family(
    id="hunyuandit",
    label="HunyuanDiT",
    keys=has(
        "transformer.text_embedding_padding",
        "transformer.time_extra_emb.pooler.positional_embedding",
        "transformer.blocks.0.attn2.to_k.weight",
        "text_encoder_2.shared.weight",
        "vae.decoder.conv_in.weight",
    ),
    pipelines=dict.fromkeys(Role, "HunyuanDiTPipeline"),
    begun=OVER,
    components={
        "transformer": ("HunyuanDiT2DModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("BertModel",),
        "text_encoder_2": ("T5EncoderModel",),
        "tokenizer": ("BertTokenizer", "BertTokenizerFast"),
        "tokenizer_2": ("T5Tokenizer", "T5TokenizerFast", "MT5Tokenizer"),
    },
    native_px=1024,
    multiple_px=16,
    defaults=Defaults(steps=50, guidance=5.0, sampler="ddim"),
    supports=SENTENCES,
    text=Text(),
    steering=STEERING,
    call_args=_call_args,
)
