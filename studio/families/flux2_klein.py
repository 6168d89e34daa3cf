"""FLUX.2 [klein]: FLUX.2 at 4 and 9 billion weights, read to by Qwen 3, distilled to four steps.

Painting over a picture takes it as something to look at, without a strength, as [Kontext] does. The
base models have the same keys and want 50 steps at a guidance of 4; a sidecar says so.
"""

from studio import samplers
from studio.families._family import SENTENCES, Defaults, Family, Latents, Over, Role, Text
from studio.families._keys import Rule, every, has, without

folder: Rule = has(
    "transformer.double_stream_modulation_img.linear.weight",
    "transformer.single_stream_modulation.linear.weight",
    "vae.bn.running_mean",
)
guided: Rule = has("transformer.time_guidance_embed.guidance_embedder.linear_1.weight")

FAMILY = Family(
    id="flux2_klein",
    label="FLUX.2, klein",
    keys=every(folder, without(guided)),
    pipelines={
        Role.TEXT: "Flux2KleinPipeline",
        Role.IMAGE: "Flux2KleinPipeline",
        Role.INPAINT: "Flux2KleinInpaintPipeline",
    },
    components={
        "transformer": ("Flux2Transformer2DModel",),
        "vae": ("AutoencoderKLFlux2",),
        "text_encoder": ("Qwen3ForCausalLM",),
        "tokenizer": ("Qwen2TokenizerFast", "Qwen2Tokenizer"),
    },
    native_px=1024,
    multiple_px=16,
    defaults=Defaults(steps=4, guidance=1.0, sampler="flow_euler"),
    supports=SENTENCES,
    samplers=samplers.FLOW,
    text=Text(results=("prompt_embeds", ""), negative_apart=True),
    latents=Latents.NORMED,
    over=Over.PICTURE,
    strengthless=frozenset({Role.IMAGE}),
)
