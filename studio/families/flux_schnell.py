"""FLUX.1 [schnell]: distilled to four steps, without any guidance."""

from dataclasses import replace

from studio.families import flux
from studio.families._family import Defaults, Guidance
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
    defaults=Defaults(steps=4, guidance=1.0, sampler="flow_euler"),
    overrides={"scheduler": {"shift": 1.0, "use_dynamic_shifting": False}},
)
