"""What a pipeline needs to paint over a picture."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from studio.core import masks
from studio.engine import latent
from studio.tasks._task import Brush, Canvas, Start


def steps_taken(brush: Brush, canvas: Canvas) -> int:
    """Steps that really run: the last part of the schedule, as long as the strength says."""
    return max(1, min(brush.steps, int(brush.steps * canvas.strength + 1e-6)))


def arguments(pipeline: Any, brush: Brush, canvas: Canvas) -> dict[str, Any]:
    """Keyword arguments of an image-to-image or inpainting pipeline's call.

    Everything is encoded here, so that the pipeline leaves the shared autoencoder alone.
    """
    dtype = pipeline.unet.dtype
    latents = latent.encode(pipeline, canvas.image)
    # a hair more than the share of steps: rounding down must not lose one
    strength = min(1.0, (steps_taken(brush, canvas) + 1e-4) / brush.steps)
    if canvas.mask is None:
        return {"image": latents.to(dtype), "strength": strength}
    side = pipeline.vae_scale_factor
    drawn = masks.blocks(np.asarray(canvas.mask), side)
    return {
        "image": _started(latents, drawn, side, canvas.start, brush.seed).to(dtype),
        "mask_image": Image.fromarray(drawn),
        # only seen by networks that are told what is around the mask
        "masked_image_latents": _around(pipeline, canvas.image, drawn).to(dtype),
        "strength": strength,
    }


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
