"""From noise to a picture in the few steps of the studio, for trainings that watch the UNet paint."""

import torch
from torch import Tensor

from studio.training import samples

TIMES: tuple[int, ...] = tuple(range(999, 0, -1000 // samples.STEPS))
"""Training steps that a picture passes through, trailing as the studio spaces them."""


def noise(count: int) -> Tensor:
    """Where walks begin: [count, 4, 16, 16]."""
    return torch.randn(count, 4, 16, 16)


def guided(empty: Tensor, asked: Tensor) -> Tensor:
    """What is found without words and with them, as classifier-free guidance joins them."""
    return empty + samples.GUIDANCE * (asked - empty)


def clean(noisy: Tensor, velocity: Tensor, signal: Tensor) -> Tensor:
    """The latents without noise that a velocity points to; `signal` is the share of their variance
    that `noisy` has, 0.0–1.0."""
    return signal.sqrt() * noisy - (1 - signal).sqrt() * velocity


def onward(noisy: Tensor, velocity: Tensor, alphas: Tensor, step: int) -> Tensor:
    """DDIM's next latents on the walk; `step` counts `TIMES`, `alphas` are those of `unet.signal`."""
    now = alphas[TIMES[step]]
    then = alphas[TIMES[step + 1]] if step + 1 < len(TIMES) else torch.tensor(1.0)
    noise = now.sqrt() * velocity + (1 - now).sqrt() * noisy
    return then.sqrt() * clean(noisy, velocity, now) + (1 - then).sqrt() * noise
