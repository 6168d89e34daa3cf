"""FLUX.1 [Kontext]: paints after a picture and an instruction what to change in it.

Its tensors are named and shaped as those of [dev]. A folder says by its pipeline that it is this
one; a single file cannot, and is taken for [dev].
"""

from dataclasses import replace
from typing import Any

from studio.families import flux
from studio.families._family import Defaults, Over, Role, Sampling
from studio.families._keys import every, saved_from


def _call_args(sampling: Sampling) -> dict[str, Any]:
    """In the size that was asked for, instead of one of a megapixel that is near it."""
    return {
        "guidance_scale": sampling.guidance,
        "max_area": sampling.width * sampling.height,
        "_auto_resize": False,
    }


FAMILY = replace(
    flux.FAMILY,
    id="flux_kontext",
    label="FLUX.1, Kontext",
    keys=every(flux.folder(flux.LATENT_CHANNELS), saved_from("FluxKontextPipeline")),
    pipelines={
        Role.TEXT: "FluxKontextPipeline",
        Role.IMAGE: "FluxKontextPipeline",
        Role.INPAINT: "FluxKontextInpaintPipeline",
    },
    over=Over.PICTURE,
    steering=None,
    strengthless=frozenset({Role.IMAGE}),
    call_args=_call_args,
    defaults=Defaults(steps=28, guidance=2.5, sampler="flow_euler"),
)
