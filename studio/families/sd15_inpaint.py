"""Stable Diffusion 1.x trained to repaint: it sees the mask and what is around it."""

from dataclasses import replace

from studio.families import sd15
from studio.families._family import Role

FAMILY = replace(
    sd15.FAMILY,
    id="sd15_inpaint",
    label="Stable Diffusion 1.x, inpainting",
    keys=sd15.with_channels(9),
    pipelines={Role.INPAINT: sd15.FAMILY.pipelines[Role.INPAINT]},
    overrides={"unet": {"in_channels": 9}},
)
