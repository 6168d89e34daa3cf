"""FLUX.1 [Fill]: trained to repaint; it sees the mask and what is around it.

It paints what is under the mask from pure noise, so strength only says how many of the steps are
taken. diffusers' single-file reader tells it from [dev] by its 384 channels, as the rule here does.
"""

from dataclasses import replace

from studio.families import flux
from studio.families._family import Defaults, Over, Role
from studio.families._keys import some

CHANNELS = 384
"""64 of latents, 64 of what is around the mask, 256 of the mask's pixels."""

FAMILY = replace(
    flux.FAMILY,
    id="flux_fill",
    label="FLUX.1, Fill",
    keys=some(flux.folder(CHANNELS), flux.file(CHANNELS)),
    pipelines={Role.INPAINT: "FluxFillPipeline"},
    over=Over.PICTURE,
    steering=None,
    defaults=Defaults(steps=50, guidance=30.0, sampler="flow_euler"),
)
