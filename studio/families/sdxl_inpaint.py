"""Stable Diffusion XL trained to repaint: it sees the mask and what is around it."""

from dataclasses import replace

from studio.families import sdxl
from studio.families._family import Role

FAMILY = replace(
    sdxl.FAMILY,
    refiners=frozenset(),
    id="sdxl_inpaint",
    label="Stable Diffusion XL, inpainting",
    keys=sdxl.with_channels(9),
    pipelines={Role.INPAINT: sdxl.FAMILY.pipelines[Role.INPAINT]},
    overrides={"unet": {"in_channels": 9}},
)
