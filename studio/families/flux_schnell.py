"""FLUX.1 [schnell]: distilled to four steps, without any guidance, and to prompts of 256 tokens."""

from dataclasses import replace

from studio.families import flux
from studio.families._family import Defaults, Guidance, Text
from studio.families._keys import every, some, without

FAMILY = replace(
    flux.FAMILY,
    id="flux_schnell",
    label="FLUX.1, schnell",
    keys=every(
        some(flux.folder(flux.LATENT_CHANNELS), flux.file(flux.LATENT_CHANNELS)),
        without(flux.guided),
    ),
    guidance=Guidance.NONE,
    text=Text(
        results=("prompt_embeds", "pooled_prompt_embeds", ""),
        options={"max_sequence_length": 256},
    ),
    defaults=Defaults(steps=4, guidance=1.0, sampler="flow_euler"),
    overrides={"scheduler": {"shift": 1.0, "use_dynamic_shifting": False}},
)
