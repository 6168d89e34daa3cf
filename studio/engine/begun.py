"""Painting over a picture with a pipeline that paints from words alone.

The scheduler begins as late as the strength says, with the picture under as much noise as there is then;
after each step, what lies outside of the mask is laid back under the noise of the next. So do diffusers'
own pipelines for pictures, and where it has one, this paints the same but for a number's last bits.
"""

import functools
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Begun:
    """A start in the middle, of one picture: changes its scheduler, which nobody else has, and its
    pipeline for as long as `applied` runs."""

    def __init__(
        self, pipeline: Any, scheduler: Any, picture: Tensor, mask: Tensor | None, skipped: int
    ) -> None:
        """`picture` are latents as the pipeline works on them, `mask` the part of them that is painted,
        in a shape that fits; None is all of it. `skipped` is how many steps are left out at the
        beginning; without any, it begins with noise alone."""
        self._scheduler = scheduler
        self._picture = picture
        self._mask = mask
        self.skipped = skipped * getattr(scheduler, "order", 1)
        """Entries of the schedule before the first one that is taken."""
        self._timesteps: Tensor | None = None
        self._start: Tensor | None = None
        self._noise: Tensor | None = None
        self._pipeline = pipeline
        self._wrap_scheduler()

    @contextmanager
    def applied(self) -> Generator[None]:
        """The pipeline begins with the picture; afterwards it is as it was, for the job's next one."""
        prepare = self._pipeline.prepare_latents

        @functools.wraps(prepare)
        def noise(*args: Any, **options: Any) -> Any:
            made = prepare(*args, **options)
            # some tell with them where each lies
            self._start = made[0] if isinstance(made, tuple) else made
            self._lay()
            return made

        self._pipeline.prepare_latents = noise
        try:
            yield
        finally:
            del self._pipeline.prepare_latents

    def kept(self, step: int, latents: Tensor) -> Tensor:
        """What goes on after that entry of what is left of the schedule, counted from 0."""
        if self._mask is None or self._timesteps is None:
            return latents
        after = self.skipped + step + 1
        beside = self._noised(after) if after < len(self._timesteps) else self._picture
        return torch.where(self._mask.to(latents.device), latents, beside.to(latents))

    def _wrap_scheduler(self) -> None:
        scheduler = self._scheduler
        set_timesteps, step = scheduler.set_timesteps, scheduler.step

        @functools.wraps(set_timesteps)  # pipelines look at its parameters
        def late(*args: Any, **options: Any) -> None:
            set_timesteps(*args, **options)
            self._timesteps = scheduler.timesteps
            if self.skipped:
                scheduler.timesteps = scheduler.timesteps[self.skipped :]
                if hasattr(scheduler, "set_begin_index"):
                    scheduler.set_begin_index(self.skipped)
                    # some pipelines say that they begin with the first
                    scheduler.set_begin_index = lambda begin_index=0: None
            self._lay()

        @functools.wraps(step)
        def whole(*args: Any, **options: Any) -> Any:
            # what a step does may depend on how many there are
            scheduler.timesteps = self._timesteps
            return step(*args, **options)

        scheduler.set_timesteps, scheduler.step = late, whole

    def _lay(self) -> None:
        """Lays the picture under the noise once there are both, in whichever order they came."""
        if self._start is None or self._timesteps is None:
            return
        # those for flows leave it as it is
        self._noise = self._start / getattr(self._scheduler, "init_noise_sigma", 1.0)
        if self.skipped:
            self._start.copy_(self._noised(self.skipped))

    def _noised(self, entry: int) -> Tensor:
        """The picture under the noise that there is at an entry of the whole schedule."""
        timesteps, noise = self._timesteps, self._noise
        if timesteps is None or noise is None:
            raise ValueError("there is no noise yet")
        picture, at = self._picture.to(noise), timesteps[entry : entry + 1]
        if hasattr(self._scheduler, "scale_noise"):
            return self._scheduler.scale_noise(picture, at, noise)
        return self._scheduler.add_noise(picture, noise, at)
