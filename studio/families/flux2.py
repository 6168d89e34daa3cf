"""FLUX.2 [dev]: read to by Mistral 3, with guidance as a number that the network was taught.

Painting over a picture takes it as something to look at, without a strength, as [Kontext] does.
diffusers has no way for it to repaint a part; its pipeline for words begins with the picture instead.
"""

from dataclasses import replace

from studio.families import flux2_klein
from studio.families._family import ONE_SENTENCE, Defaults, Guidance, Role, Text
from studio.families._keys import every

FAMILY = replace(
    flux2_klein.FAMILY,
    id="flux2",
    label="FLUX.2",
    keys=every(flux2_klein.folder, flux2_klein.guided),
    pipelines=dict.fromkeys(Role, "Flux2Pipeline"),
    begun=frozenset({Role.INPAINT}),
    components={
        **flux2_klein.FAMILY.components,
        "text_encoder": ("Mistral3ForConditionalGeneration",),
        "tokenizer": ("PixtralProcessor",),
    },
    defaults=Defaults(steps=28, guidance=4.0, sampler="flow_euler"),
    supports=ONE_SENTENCE,
    guidance=Guidance.EMBEDDED,
    text=Text(results=("prompt_embeds", "")),
)
