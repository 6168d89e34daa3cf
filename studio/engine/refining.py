"""The last steps of a picture, taken by a refiner within the same walk: the sampler keeps what it
remembers, as in A1111."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from studio.engine.conditioning import encode
from studio.engine.manager import Lease
from studio.tasks._task import Brush

AESTHETIC, NEGATIVE_AESTHETIC = 6.0, 2.5
"""How good the refiner is told that pictures are, and those that are kept away from; diffusers'
defaults."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refining:
    """A refiner on loan."""

    lease: Lease
    unet: Any
    """Its network, or what stands in for it."""
    after: float
    """Share of the steps that the first network takes, 0.0 … 1.0."""

    def read(
        self, brush: Brush, guided: bool, device: str, words: Mapping[str, Sequence[Tensor]]
    ) -> dict[str, Any]:
        """The brush's prompts as the refiner's network is called with them; `words` as `encode` has
        them."""
        pipeline = self.lease.pipeline
        found = encode(
            pipeline,
            prompt=brush.prompt,
            negative_prompt=brush.negative_prompt,
            guided=guided,
            clip_skip=brush.clip_skip,
            device=device,
            words=words,
        ).arguments
        size = (brush.height, brush.width)
        pooled = found["pooled_prompt_embeds"]
        times, negative_times = pipeline._get_add_time_ids(
            *(size, (0, 0), size, AESTHETIC, NEGATIVE_AESTHETIC, size, (0, 0), size),
            dtype=pooled.dtype,
            text_encoder_projection_dim=pooled.shape[-1],
        )
        states, times = found["prompt_embeds"], times.to(device)
        if guided:
            states = torch.cat([found["negative_prompt_embeds"], states])
            pooled = torch.cat([found["negative_pooled_prompt_embeds"], pooled])
            times = torch.cat([negative_times.to(device), times])
        return {
            "encoder_hidden_states": states,
            "added_cond_kwargs": {"text_embeds": pooled, "time_ids": times},
        }

    def facts(self) -> dict[str, Any]:
        """For a picture's metadata."""
        checkpoint, sha256 = self.lease.checkpoint, self.lease.sha256.result()
        return {
            "id": checkpoint.id,
            "label": checkpoint.label,
            "sha256": sha256,
            "short": sha256[:10],
            "after": self.after,
        }


class HandedOver:
    """A denoiser in whose place another one is called for the last steps. A pipeline calls it instead
    of the first, which it shares with others and does not change."""

    def __init__(
        self,
        first: Any,
        second: Any,
        given: Mapping[str, Any],
        *,
        after: float,
        steps: Callable[[], tuple[int, int]],
    ) -> None:
        """`second` is called with `given` instead of the first one's prompt, once the share `after`
        of the calls is done; `steps` tells how many are, and how many there are in all."""
        self._first = first
        self._second = second
        self._given = given
        self._after = after
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._first, name)

    def __call__(self, sample: Tensor, timestep: Any, *args: Any, **options: Any) -> Any:
        """As `UNet2DConditionModel.forward`."""
        done, total = self._steps()
        if done + 1e-6 < self._after * total:
            return self._first(sample, timestep, *args, **options)
        # the two may compute in other numbers
        seen = sample.to(self._given["encoder_hidden_states"].dtype)
        said = self._second(seen, timestep, **self._given, return_dict=False)
        return (said[0].to(sample.dtype),)
