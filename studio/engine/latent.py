"""Between pixels, the latents that a denoiser sees, and those that an autoencoder decodes."""

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from studio.families._family import Latents


def encode(pipeline: Any, image: Image.Image, kind: Latents = Latents.PLAIN) -> Tensor:
    """Latents [1, channels, height / scale, width / scale] of an RGB picture, as the denoiser knows
    them before they are packed; those that are `NORMED` are squares of 2 × 2 already.

    The most likely ones of those that an autoencoder gives a choice of, so that the same picture
    always has the same. In the autoencoder's own precision, which pipelines would change for good.
    """
    vae = pipeline.vae
    latents = encoded(vae, pipeline.image_processor.preprocess(image))
    if kind is Latents.NORMED:
        mean, spread = _norm(latents, vae)
        return (squares(latents) - mean) / spread
    return scaled(latents, vae.config)


def encoded(vae: Any, pixels: Tensor) -> Tensor:
    """Latents as the autoencoder gives them, of pixels [1, 3, height, width] in -1.0 … 1.0."""
    pixels = pixels.to(device=next(vae.parameters()).device, dtype=vae.dtype)
    found = vae.encode(pixels.unsqueeze(2) if _of_frames(vae) else pixels)
    latents = found[0] if isinstance(found, tuple) else _likely(found)
    return latents.squeeze(2) if latents.ndim == 5 else latents


def squares(latents: Tensor) -> Tensor:
    """[1, channels, 2 × rows, 2 × columns] → [1, channels × 4, rows, columns]."""
    return torch.nn.functional.pixel_unshuffle(latents, 2)


def _likely(found: Any) -> Tensor:
    for name in ("latents", "latent"):
        if hasattr(found, name):
            return getattr(found, name)
    return found.latent_dist.mode()


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Pixels [1, 3, height, width], about -1.0 … 1.0, of latents as the autoencoder gave them."""
    if _of_frames(vae):
        return vae.decode(latents.unsqueeze(2), return_dict=False)[0][:, :, 0]
    return vae.decode(latents, return_dict=False)[0]


DECODER = "vqgan"
"""What a pipeline calls the autoencoder that it decodes with by itself, in whatever numbers its latents
have (Stable Cascade)."""


class InItsNumbers:
    """An autoencoder that takes latents of any number format, and decodes them in its own."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vae, name)

    def decode(self, latents: Tensor, *args: Any, **options: Any) -> Any:
        return self._vae.decode(latents.to(self._vae.dtype), *args, **options)


def channels(vae: Any) -> int:
    return vae.config.z_dim if _of_frames(vae) else vae.config.latent_channels


def _of_frames(vae: Any) -> bool:
    """Whether it is a video's autoencoder, for which a picture is a film of one frame."""
    return "z_dim" in vae.config


def decodable(latents: Tensor, kind: Latents, vae: Any, size: tuple[int, int]) -> Tensor:
    """What the autoencoder decodes, [1, channels, height, width] in its dtype, of the latents that a
    pipeline of that kind works on; `size` is the picture's width and height in px."""
    latents = latents.to(next(vae.parameters()).dtype)
    if kind is Latents.PLAIN:
        return unscaled(latents, vae.config)
    if kind is not Latents.NORMED:
        return unscaled(_unpacked(latents, size), vae.config)
    if latents.ndim == 4:  # finished ones come as the autoencoder wants them
        return latents
    return _squares(_normal(_rows(latents, size), vae))


def in_a_row(latents: Tensor) -> Tensor:
    """[1, channels, rows, columns] → [1, rows × columns, channels]."""
    return latents.flatten(2).transpose(1, 2)


def _unpacked(latents: Tensor, size: tuple[int, int]) -> Tensor:
    """[1, rows × columns, channels × 4] → [1, channels, 2 × rows, 2 × columns]."""
    return _squares(_rows(latents, size))


def _rows(latents: Tensor, size: tuple[int, int]) -> Tensor:
    """[1, rows × columns, channels] → [1, channels, rows, columns], in the picture's shape."""
    count, (width, height) = latents.shape[1], size
    columns = round((count * width / height) ** 0.5)
    return latents.transpose(1, 2).reshape(1, -1, count // columns, columns)


def _squares(latents: Tensor) -> Tensor:
    """[1, channels × 4, rows, columns] → [1, channels, 2 × rows, 2 × columns]."""
    return torch.nn.functional.pixel_shuffle(latents, 2)


def _normal(latents: Tensor, vae: Any) -> Tensor:
    mean, spread = _norm(latents, vae)
    return latents * spread + mean


def _norm(latents: Tensor, vae: Any) -> tuple[Tensor, Tensor]:
    """Mean and spread of each channel of squares of 2 × 2."""
    mean = vae.bn.running_mean.view(1, -1, 1, 1)
    spread = (vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps).sqrt()
    return mean.to(latents), spread.to(latents)


def scaled(latents: Tensor, config: Any) -> Tensor:
    """Latents as the autoencoder gave them, brought to the unit variance a denoiser expects."""
    found = _statistics(latents, config)
    if found is None:
        return _unshifted(latents, config) * config.scaling_factor
    mean, spread = found
    return (latents - mean) * _factor(config) / spread


def unscaled(latents: Tensor, config: Any) -> Tensor:
    """The other way: as the autoencoder gave them."""
    found = _statistics(latents, config)
    if found is None:
        shift = config.get("shift_factor")
        latents = latents / config.scaling_factor
        return latents + shift if shift else latents
    mean, spread = found
    return latents * spread / _factor(config) + mean


def _unshifted(latents: Tensor, config: Any) -> Tensor:
    shift = config.get("shift_factor")
    return latents - shift if shift else latents


def _factor(config: Any) -> float:
    """Autoencoders of films have none."""
    return config.get("scaling_factor") or 1.0


def _statistics(latents: Tensor, config: Any) -> tuple[Tensor, Tensor] | None:
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is None or std is None:
        return None
    shape = (1, len(mean), 1, 1)
    return (
        torch.tensor(mean, device=latents.device, dtype=latents.dtype).view(shape),
        torch.tensor(std, device=latents.device, dtype=latents.dtype).view(shape),
    )
