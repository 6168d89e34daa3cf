"""What the picture will look like, guessed in the middle of the painting."""

import functools
import io
import math
import time
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from studio.engine import latent

LONGEST_PX = 512
EVERY_S = 0.25
MAX_SHARE = 0.02
"""Of the painting's time that previews may take."""


class X0:
    """Follows a scheduler and knows the picture without noise that its last step was heading for.

    Previews of the noisy latents themselves would show nothing but noise for half of the time.
    """

    def __init__(self, scheduler: Any) -> None:
        """Replaces `step` of this one scheduler, which belongs to one picture, by one that does
        the same and remembers what it was given."""
        self._scheduler = scheduler
        self._last: tuple[Tensor, Any, Tensor] | None = None
        step = scheduler.step

        @functools.wraps(step)  # pipelines look at its parameters
        def remembering(
            model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **options: Any
        ) -> Any:
            self._last = (model_output, timestep, sample)
            made = step(model_output, timestep, sample, *args, **options)
            # where there is one step, PixArt-α takes the picture that a scheduler foresees; from
            # those that tell of none, what the step has made is that
            return (*made, *made) if isinstance(made, tuple) and len(made) == 1 else made

        scheduler.step = remembering

    def estimate(self) -> Tensor | None:
        """Latents [1, channels, height, width] of the finished picture as foreseen now."""
        if self._last is None:
            return None
        output, timestep, sample = self._last
        config = self._scheduler.config
        if config.get("prediction_type") == "trigflow":
            angle = float(timestep)
            return math.cos(angle) * sample - math.sin(angle) * output
        if config.get("prediction_type") == "flow_prediction" or _straight(self._scheduler):
            # what is left of the way lies in the direction that the network says
            return sample - float(timestep) / config.num_train_timesteps * output
        known = self._scheduler.alphas_cumprod
        at = min(max(round(float(timestep)), 0), len(known) - 1)
        alpha_bar = float(known[at])
        if float(self._scheduler.init_noise_sigma) > 1.0:
            # These schedulers count noise on top of the picture; bring it to a total variance of 1.
            sample = sample * max(alpha_bar, 1e-8) ** 0.5
        alpha, sigma = max(alpha_bar, 1e-4) ** 0.5, (1.0 - alpha_bar) ** 0.5
        match config.prediction_type:
            case "v_prediction":
                return alpha_bar**0.5 * sample - sigma * output
            case "sample":
                return output
            case _:
                return (sample - sigma * output) / alpha


def _straight(scheduler: Any) -> bool:
    """Whether it knows no other way than the flow from noise to the picture."""
    return not hasattr(scheduler, "alphas_cumprod")


def to_rgb(latents: Tensor, vae: Any, scratch: dict[str, Any]) -> Image.Image:
    """A small, rough picture of latents [1, channels, height, width], as the autoencoder decodes
    them (`latent.decodable`).

    A tiny autoencoder decodes them, in half of their size: a quarter of the work, and noise that is
    left in them averages out. Of a large one, only the colour that each latent stands for is taken,
    which is found out once and kept in `scratch`.
    """
    tiny = type(vae).__name__ == "AutoencoderTiny"
    factor = min(1.0, LONGEST_PX / 8 / max(latents.shape[-2:])) * (0.5 if tiny else 1.0)
    if factor < 1 and min(latents.shape[-2:]) > 1:
        latents = torch.nn.functional.interpolate(latents, scale_factor=factor, mode="area")
    if tiny:
        image = _image(vae.decode(latents, return_dict=False)[0])
        return image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC)
    if "colours" not in scratch:
        scratch["colours"] = colours(vae)
    matrix, base = scratch["colours"]
    pixels = torch.einsum("bchw,cr->brhw", latents.float(), matrix) + base.view(1, 3, 1, 1)
    image = _image(pixels)
    return image.resize((image.width * 8, image.height * 8), Image.Resampling.BICUBIC)


def colours(vae: Any) -> tuple[Tensor, Tensor]:
    """The linear map from a latent to its mean colour: [channels, 3] and [3].

    Least squares over what the decoder makes of some uniform latents; a fraction of a second.
    """
    channels = latent.channels(vae)
    weight = next(vae.parameters())
    generator = torch.Generator("cpu").manual_seed(0)
    probes = torch.randn(4 * channels, channels, generator=generator)
    probes = latent.unscaled(probes.view(-1, channels, 1, 1), vae.config).flatten(1)
    flat = probes.view(-1, channels, 1, 1).expand(-1, -1, 4, 4)
    pixels = latent.decode(vae, flat.to(weight.device, weight.dtype))
    mean = pixels[..., 8:-8, 8:-8].float().mean((-2, -1)).clamp(-1, 1).cpu()
    known = torch.cat([probes, torch.ones(len(probes), 1)], dim=1)
    solve: Any = torch.linalg.lstsq
    found: Tensor = solve(known, mean).solution.to(weight.device)
    return found[:-1], found[-1]


def jpeg(image: Image.Image) -> bytes:
    """The picture as a JPEG, its longest side at most 512 px."""
    image.thumbnail((LONGEST_PX, LONGEST_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


class Pace:
    """Says when the next preview is due: at most four a second and a fiftieth of the time."""

    def __init__(self) -> None:
        self._due = 0.0

    def due(self) -> bool:
        return time.monotonic() >= self._due

    def took(self, seconds: float) -> None:
        self._due = time.monotonic() + max(EVERY_S, seconds / MAX_SHARE)


def _image(pixels: Tensor) -> Image.Image:
    """From [1, 3, height, width] in -1.0 … 1.0."""
    scaled = (pixels[0].float().nan_to_num() / 2 + 0.5).clamp(0, 1) * 255
    return Image.fromarray(scaled.permute(1, 2, 0).round().byte().cpu().numpy().astype(np.uint8))
