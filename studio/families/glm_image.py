"""GLM-Image: a language model writes the picture as tokens, one after another, and a transformer paints
from them; Glyph, a T5 over bytes, spells what stands in quotation marks.

Before the first step comes the writing: a token for each 32 × 32 px and 256 for a draft, which take
longer than the steps on most machines. Its pipeline also takes a picture to be changed, but diffusers
0.42 asks transformers for that picture's tokens in a way that fails, so it paints from words only.
There are no previews, since its pipeline says nothing of how it
decodes, and no negative prompt. diffusers reads no single files of it.
"""

from studio import samplers
from studio.families._family import ONE_SENTENCE, Defaults, Family, Latents, Role, Text
from studio.families._keys import has

FAMILY = Family(
    id="glm_image",
    label="GLM-Image",
    keys=has(
        "transformer.prior_token_embedding.weight",
        "transformer.glyph_projector.net.0.proj.weight",
        "vision_language_encoder.lm_head.weight",
    ),
    pipelines={Role.TEXT: "GlmImagePipeline"},
    components={
        "transformer": ("GlmImageTransformer2DModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("T5EncoderModel",),
        "tokenizer": ("ByT5Tokenizer",),
        "vision_language_encoder": ("GlmImageForConditionalGeneration",),
        "processor": ("GlmImageProcessor",),
    },
    native_px=1024,
    multiple_px=32,
    defaults=Defaults(steps=50, guidance=1.5, sampler="flow_euler"),
    supports=ONE_SENTENCE,
    samplers=samplers.FLOW,
    text=Text(),
    latents=Latents.PIXELS,
    writer="vision_language_encoder",
)
