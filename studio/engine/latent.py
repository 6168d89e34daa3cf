"""Between pixels and the latents that a denoiser sees."""

from typing import Any

import torch
from PIL import Image
from torch import Tensor


def encode(pipeline: Any, image: Image.Image) -> Tensor:
    """Latents [1, channels, height / 8, width / 8] of an RGB picture, as the denoiser knows them.

    The most likely ones of those that an autoencoder gives a choice of, so that the same picture
    always has the same. In the autoencoder's own precision, which pipelines would change for good.
    """
    vae = pipeline.vae
    device = next(vae.parameters()).device
    pixels = pipeline.image_processor.preprocess(image).to(device=device, dtype=vae.dtype)
    found = vae.encode(pixels)
    latents = found.latents if hasattr(found, "latents") else found.latent_dist.mode()
    return scaled(latents, vae.config)


def scaled(latents: Tensor, config: Any) -> Tensor:
    """Latents as the autoencoder gave them, brought to the unit variance a denoiser expects."""
    found = _statistics(latents, config)
    if found is None:
        return latents * config.scaling_factor
    mean, spread = found
    return (latents - mean) * config.scaling_factor / spread


def unscaled(latents: Tensor, config: Any) -> Tensor:
    """The other way: as the autoencoder gave them."""
    found = _statistics(latents, config)
    if found is None:
        return latents / config.scaling_factor
    mean, spread = found
    return latents * spread / config.scaling_factor + mean


def _statistics(latents: Tensor, config: Any) -> tuple[Tensor, Tensor] | None:
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is None or std is None:
        return None
    shape = (1, len(mean), 1, 1)
    return (
        torch.tensor(mean, device=latents.device, dtype=latents.dtype).view(shape),
        torch.tensor(std, device=latents.device, dtype=latents.dtype).view(shape),
    )
