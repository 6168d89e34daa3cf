"""Pictures that lend their look: heard by a denoiser for as long as one picture takes."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image as Images
from PIL.Image import Image
from torch import Tensor

from studio.checkpoints.catalog import families
from studio.core.errors import InvalidRequest
from studio.engine import latent
from studio.engine.attention import (
    CROSS,
    SELF,
    Pictured,
    Processor,
    Shared,
    Sharing,
    Voice,
    attending,
    layers,
)
from studio.engine.imageprompts import followed, tokens
from studio.engine.manager import Lease
from studio.tasks._over import fitted, flat
from studio.tasks._references import Reference
from studio.tasks._task import Brush, within

COLOURS = 0.5
"""How far colours are brought towards a reference's at a weight of 1.0."""

Turn = Callable[[], tuple[int, int]]
"""How many calls of the denoiser are done, and how many there are in all."""


class Desk(Protocol):
    """Where references get what they need from, for as long as the job lasts."""

    def picture(self, ref: str) -> Image: ...

    def image_prompt(self, prompt_id: str) -> Mapping[str, Any]:
        """The networks `projection`, `looker` and, of one for UNets, `layers` of an image prompt, on
        loan."""
        ...


class References:
    """The style references of one job's pictures."""

    def __init__(self, lease: Lease, desk: Desk) -> None:
        self._lease = lease
        self._family = families()[lease.checkpoint.family]
        self._desk = desk
        self._tokens: dict[tuple[str, str, bool], Tensor] = {}

    def of(self, lease: Lease) -> "References":
        """The same for the checkpoint as it is lent once more."""
        made = copy(self)
        made._lease = lease
        return made

    def following(self, brush: Brush, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the pipeline is told of the prompt, with the brush's references behind it where the
        checkpoint reads them so."""
        name = self._family.appended
        asked = [one for one in brush.references if one.weight > 0]
        if not (name and asked):
            return arguments
        states = [arguments[name], *(one.weight * self._followed(one) for one in asked)]
        return {**arguments, name: torch.cat([one.to(states[0]) for one in states], dim=1)}

    def _followed(self, one: Reference) -> Tensor:
        key = (one.adapter or "", one.image, False)
        if key not in self._tokens:
            networks = self._desk.image_prompt(one.adapter or "")
            image = flat(self._desk.picture(one.image))
            self._tokens[key] = followed(image, networks["looker"], networks["projection"])
        return self._tokens[key]

    @contextmanager
    def heard(self, brush: Brush, turn: Turn, *, guided: bool) -> Generator[None]:
        """The lease's pipeline paints under the brush's references. Whatever happens inside, the
        denoiser's layers are afterwards as they were."""
        asked = [one for one in brush.references if one.weight > 0]
        if not asked or self._family.appended:
            yield
            return
        pipeline = self._lease.pipeline
        unet = self._lease.weights.components.get("unet")
        if not isinstance(unet, UNet2DConditionModel):
            raise InvalidRequest(
                f"'{self._lease.checkpoint.label}' cannot look at style references.",
                "Choose another checkpoint, or remove the references.",
                field="references",
            )
        size = (brush.width, brush.height)
        sharing = [one for one in asked if one.method == "shared"]
        telling = [one for one in asked if one.method == "adapter"]
        shared = Shared()
        told = self._told(unet, telling, size, turn, shared, guided=guided)
        looking = {
            layer: Sharing(layer.processor, name, shared)
            for name, layer in layers(unet, SELF).items()
            if sharing
        }
        with attending({**told, **looking}):
            if sharing:
                pipeline.unet = self._beside(pipeline, unet, sharing, shared, brush, turn)
            yield

    def _told(
        self,
        unet: Any,
        references: list[Reference],
        size: tuple[int, int],
        turn: Turn,
        shared: Shared,
        *,
        guided: bool,
    ) -> dict[Any, Processor]:
        """For each layer that looks at words, one that looks at those pictures too."""
        if not references:
            return {}
        heard = self._family.listens
        voices: dict[str, list[Voice]] = {}
        listening = layers(unet, CROSS)
        for one in references:
            networks = self._desk.image_prompt(one.adapter or "")
            said = self._said(one, networks, guided)
            for (name, _), pair in zip(listening.items(), networks["layers"], strict=True):
                voices.setdefault(name, []).append(
                    Voice(
                        key=pair[0](said),
                        value=pair[1](said),
                        weight=one.weight * _hearing(heard, one.takes, name),
                        acts=_unless_listening(shared, _acting(one, turn)),
                        mask=self._mask(one, size),
                    )
                )
        return {layer: Pictured(layer.processor, voices[name]) for name, layer in listening.items()}

    def _said(self, one: Reference, networks: Mapping[str, Any], guided: bool) -> Tensor:
        key = (one.adapter or "", one.image, guided)
        if key not in self._tokens:
            image = flat(self._desk.picture(one.image))
            self._tokens[key] = tokens(
                image, networks["looker"], networks["projection"], guided=guided
            )
        return self._tokens[key]

    def _mask(self, one: Reference, size: tuple[int, int]) -> Tensor | None:
        """[1, height, width], 0.0 … 1.0."""
        if one.mask is None:
            return None
        drawn = flat(self._desk.picture(one.mask)).convert("L").resize(size, Images.Resampling.BOX)
        return torch.from_numpy(np.asarray(drawn, np.float32) / 255)[None]

    def _beside(
        self,
        pipeline: Any,
        unet: Any,
        references: list[Reference],
        shared: Shared,
        brush: Brush,
        turn: Turn,
    ) -> Any:
        size = (brush.width, brush.height)
        total = sum(one.weight for one in references)
        seen = [
            _Looked(
                latents=latent.encode(
                    pipeline, fitted(flat(self._desk.picture(one.image)), size, "crop")
                ),
                weight=one.weight,
                share=one.weight / total,
                acts=_acting(one, turn),
                mask=self._mask(one, size),
            )
            for one in references
        ]
        painting = _Noise(
            alphas=pipeline.scheduler.alphas_cumprod,
            prediction=pipeline.scheduler.config.prediction_type,
        )
        return Beside(pipeline.unet, unet, seen, shared, painting, brush)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Looked:
    """A picture that the denoiser looks at while it paints another."""

    latents: Tensor
    weight: float
    share: float
    """Of what all references give, 0.0 … 1.0."""
    acts: Callable[[], bool]
    mask: Tensor | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Noise:
    """How noisy things are at a timestep, in the denoiser's own terms, whatever the sampler."""

    alphas: Tensor
    """What is left of a picture's variance, by timestep of the training."""
    prediction: str
    """`epsilon`, `v_prediction` or `sample`, as diffusers calls what a denoiser predicts."""

    def at(self, timestep: Any) -> tuple[float, float]:
        """Shares of picture and noise; samplers ask between timesteps too."""
        place = min(max(float(timestep), 0.0), len(self.alphas) - 1.0)
        low = int(place)
        high = min(low + 1, len(self.alphas) - 1)
        alpha = float(self.alphas[low].lerp(self.alphas[high], place - low))
        return max(alpha, 1e-6) ** 0.5, (1 - alpha) ** 0.5

    def picture(self, said: Tensor, sample: Tensor, timestep: Any) -> Tensor:
        """The picture without noise that a prediction stands for."""
        alpha, sigma = self.at(timestep)
        match self.prediction:
            case "v_prediction":
                return alpha * sample - sigma * said
            case "sample":
                return said
            case _:
                return (sample - sigma * said) / alpha

    def prediction_of(self, picture: Tensor, sample: Tensor, timestep: Any) -> Tensor:
        """The way back."""
        alpha, sigma = self.at(timestep)
        match self.prediction:
            case "v_prediction":
                return (alpha * sample - picture) / sigma
            case "sample":
                return picture
            case _:
                return (sample - alpha * picture) / sigma


class Beside:
    """A denoiser that first looks at references, as noisy as the picture is at that step, and then
    paints with what its layers saw. A pipeline calls it instead of the denoiser."""

    def __init__(
        self,
        denoiser: Any,
        unet: Any,
        references: list[_Looked],
        shared: Shared,
        noise: _Noise,
        brush: Brush,
    ) -> None:
        """`denoiser` is what paints, `unet` what it is made of: the one whose layers share."""
        self._denoiser, self._unet = denoiser, unet
        self._references, self._shared, self._noise = references, shared, noise
        self._guidance = brush.guidance
        generator = torch.Generator("cpu").manual_seed((brush.seed + 2**32) % 2**63)
        self._drawn = [
            torch.randn(one.latents.shape, generator=generator).to(one.latents)
            for one in references
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def __call__(
        self, sample: Tensor, timestep: Any, encoder_hidden_states: Tensor, **options: Any
    ) -> Any:
        acting = [
            (one, drawn)
            for one, drawn in zip(self._references, self._drawn, strict=True)
            if one.acts()
        ]
        if not acting:
            return self._denoiser(sample, timestep, encoder_hidden_states, **options)
        shared = self._shared
        try:
            shared.mode = "listen"
            for one, drawn in acting:
                shared.share = one.share
                noisy = self._noisy(one.latents, drawn, timestep, sample)
                self._unet(noisy, timestep, encoder_hidden_states[:1], **_first(options))
            shared.mode = "speak"
            shared.weight = sum(one.weight for one, _ in acting) / len(acting)
            shared.mask = acting[0][0].mask if len(acting) == 1 else None
            said, *rest = self._denoiser(sample, timestep, encoder_hidden_states, **options)
        finally:
            shared.mode = "plain"
            shared.seen.clear()
        return self._coloured(said, sample, timestep, [one for one, _ in acting]), *rest

    def _noisy(self, latents: Tensor, drawn: Tensor, timestep: Any, sample: Tensor) -> Tensor:
        """The reference with as much noise as the step has; a denoiser for inpainting is told that
        all of it is there."""
        alpha, sigma = self._noise.at(timestep)
        mixed = (alpha * latents + sigma * drawn).to(sample.dtype)
        if sample.shape[1] == mixed.shape[1]:
            return mixed
        return torch.cat([mixed, torch.zeros_like(mixed[:, :1]), latents.to(sample.dtype)], dim=1)

    def _coloured(
        self, said: Tensor, sample: Tensor, timestep: Any, acting: list[_Looked]
    ) -> Tensor:
        """The prediction with the colours of its picture brought towards those of the references:
        mean and spread of each latent channel (as in Cross-Image Attention, Alaluf et al., 2023).

        What guidance makes of both rows decides; each is moved alike, and so is what it makes.
        """
        noisy = sample[:, : said.shape[1]]
        pictures = self._noise.picture(said.float(), noisy.float(), timestep)
        seen = pictures[-1:]
        if len(pictures) > 1:
            seen = pictures[:1] + self._guidance * (seen - pictures[:1])
        mean, spread = _colours(seen)
        wanted = [(one.share, *_colours(one.latents.float())) for one in acting]
        total = sum(share for share, *_ in wanted)
        to_mean = sum(share / total * found for share, found, _ in wanted)
        to_spread = sum(share / total * found for share, _, found in wanted)
        moved = (pictures - mean) * (to_spread / spread) + to_mean
        like = COLOURS * min(1.0, self._shared.weight)
        mask = self._shared.mask
        if mask is not None:
            like = like * torch.nn.functional.interpolate(mask[None].to(moved), moved.shape[-2:])
        mixed = pictures + like * (moved - pictures)
        return self._noise.prediction_of(mixed, noisy.float(), timestep).to(said.dtype)


def _colours(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of each channel, [1, channels, 1, 1]."""
    return latents.mean((2, 3), keepdim=True), latents.std((2, 3), keepdim=True) + 1e-4


def _first(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a call is told beside, for its first row alone."""
    added = options.get("added_cond_kwargs")
    rows = {name: rows[:1] for name, rows in added.items()} if added else added
    return {**options, "added_cond_kwargs": rows}


def _acting(one: Reference, turn: Turn) -> Callable[[], bool]:
    def acts() -> bool:
        done, total = turn()
        return within(done, total, one.start, one.end)

    return acts


def _unless_listening(shared: Shared, acts: Callable[[], bool]) -> Callable[[], bool]:
    """What is told to a picture is not told to the references beside it."""
    return lambda: shared.mode != "listen" and acts()


def _hearing(heard: Mapping[str, Mapping[str, float]], takes: str, name: str) -> float:
    """How much of a weight a layer hears."""
    if takes == "all":
        return 1.0
    starts = heard.get(takes, {})
    return max((share for start, share in starts.items() if name.startswith(start)), default=0.0)
