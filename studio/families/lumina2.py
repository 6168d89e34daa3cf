"""Lumina Image 2: one stream for text and picture, read to by Gemma. diffusers has no way for it to
paint over pictures; its pipeline for words begins with the picture instead."""

from studio import samplers
from studio.families._family import OVER, SENTENCES, Defaults, Family, Role, Text
from studio.families._keys import has

FAMILY = Family(
    id="lumina2",
    label="Lumina Image 2",
    keys=has(
        "transformer.noise_refiner.0.attn.to_q.weight",
        "transformer.context_refiner.0.attn.to_q.weight",
        "vae.decoder.conv_in.weight",
    ),
    pipelines=dict.fromkeys(Role, "Lumina2Pipeline"),
    begun=OVER,
    components={
        "transformer": ("Lumina2Transformer2DModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("Gemma2Model",),
        "tokenizer": ("GemmaTokenizerFast", "GemmaTokenizer"),
    },
    native_px=1024,
    multiple_px=16,
    defaults=Defaults(steps=30, guidance=4.0, sampler="flow_euler"),
    supports=SENTENCES,
    samplers=samplers.FLOW,
    text=Text(
        results=(
            "prompt_embeds",
            "prompt_attention_mask",
            "negative_prompt_embeds",
            "negative_prompt_attention_mask",
        ),
    ),
)
