"""What a pipeline needs to paint over a picture."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from studio import samplers
from studio.core import masks
from studio.engine import latent
from studio.engine.begun import Begun
from studio.families._family import Family, Latents, Over
from studio.tasks._task import Brush, Canvas, Start


def steps_taken(brush: Brush, canvas: Canvas) -> int:
    """Steps that really run: the last part of the schedule, as long as the strength says."""
    return max(1, min(brush.steps, int(brush.steps * canvas.strength + 1e-6)))


def arguments(pipeline: Any, family: Family, brush: Brush, canvas: Canvas) -> dict[str, Any]:
    """Keyword arguments of an image-to-image or inpainting pipeline's call.

    Where it takes latents, everything is encoded here, so that it leaves the shared autoencoder
    alone.
    """
    strength = {"strength": _share(brush, canvas)}
    side = getattr(pipeline, "vae_scale_factor", 8)
    drawn = None if canvas.mask is None else masks.blocks(np.asarray(canvas.mask), side)
    if family.over is Over.PICTURE:
        mask = {} if drawn is None else {"mask_image": Image.fromarray(drawn)}
        return {"image": canvas.image, **mask, **strength}
    dtype = denoiser(pipeline).dtype
    latents = latent.encode(pipeline, canvas.image)
    if drawn is None:
        return {"image": latents.to(dtype), **strength}
    return {
        "image": _started(latents, drawn, side, canvas.start, brush.seed).to(dtype),
        "mask_image": Image.fromarray(drawn),
        # only seen by networks that are told what is around the mask
        "masked_image_latents": _around(pipeline, canvas.image, drawn).to(dtype),
        **strength,
    }


def begin(pipeline: Any, scheduler: Any, family: Family, brush: Brush, canvas: Canvas) -> Begun:
    """Has a pipeline that paints from words alone paint over the picture, once."""
    kind = family.latents
    side = getattr(pipeline, "vae_scale_factor", 8) * (2 if kind is Latents.NORMED else 1)
    picture, mask = latent.encode(pipeline, canvas.image, kind), None
    if canvas.mask is not None:
        drawn = masks.blocks(np.asarray(canvas.mask), side)
        picture = _started(picture, drawn, side, canvas.start, brush.seed)
        mask = torch.from_numpy(drawn[::side, ::side] > 0)[None, None]
    if kind is Latents.NORMED:
        picture, mask = latent.in_a_row(picture), None if mask is None else latent.in_a_row(mask)
    return Begun(pipeline, scheduler, picture, mask, brush.steps - steps_taken(brush, canvas))


def denoiser(pipeline: Any) -> Any:
    """The network that takes the noise away, whatever pipelines call it."""
    for name in ("unet", "transformer"):
        if (found := getattr(pipeline, name, None)) is not None:
            return found
    return pipeline.decoder


def _share(brush: Brush, canvas: Canvas) -> float:
    """The strength that takes exactly those steps.

    Pipelines round what the strength leaves: those for diffusion the steps that they take, the
    others those that they skip. A hair to the other side, so that none is lost or added.
    """
    taken = steps_taken(brush, canvas)
    if taken == brush.steps:
        return 1.0
    down = samplers.find(brush.sampler).process not in {"diffusion", "unclip"}
    return (taken - 1e-4 if down else taken + 1e-4) / brush.steps


def _started(latents: Tensor, mask: masks.Mask, side: int, start: Start, seed: int) -> Tensor:
    """The latents, with something else where the mask is."""
    if start is Start.PICTURE:
        return latents
    inside = torch.from_numpy(mask[::side, ::side] > 0).to(latents.device)
    # not the generator of the picture: diffusers would draw the very same noise from it again
    generator = torch.Generator("cpu").manual_seed((seed + 2**31) % 2**63)
    noise = torch.randn(latents.shape, generator=generator).to(latents.device, latents.dtype)
    other = noise if start is Start.NOISE else torch.zeros_like(latents)
    return torch.where(inside, other, latents)


def _around(pipeline: Any, image: Image.Image, mask: masks.Mask) -> Tensor:
    """Latents of the picture with grey where it is painted."""
    kept = np.where(mask[..., None] > 0, 128, np.asarray(image)).astype(np.uint8)
    return latent.encode(pipeline, Image.fromarray(kept))
