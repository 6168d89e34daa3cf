"""Makes one picture after another with a checkpoint on loan."""

import inspect
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from studio import samplers
from studio.checkpoints.catalog import Checkpoint, families
from studio.core.errors import StudioError
from studio.core.records import NOTHING, Picture
from studio.engine import latent, over, preview
from studio.engine.adapters import swaps
from studio.engine.begun import Begun
from studio.engine.conditioning import Conditioning, encode, read
from studio.engine.controls import Steered, Unit, units
from studio.engine.device import Device
from studio.engine.loading import place
from studio.engine.manager import Lease
from studio.engine.references import References
from studio.engine.refining import HandedOver, Refining
from studio.engine.schedulers import build, guarded
from studio.engine.worn import BARE, Worn
from studio.engine.writing import Writer
from studio.families._family import Latents, Role, Sampling
from studio.families._steering import Steering
from studio.tasks._task import ALONE, Brush, Canvas, Control, Span


class Easel(Protocol):
    """Where a painter reports to, and hears that it should stop."""

    def check(self) -> None:
        """Raises `JobCancelled` if the job was cancelled."""
        ...

    def progress(
        self, *, picture: int, pictures: int, step: int, steps: int, seconds_left: float | None
    ) -> None: ...

    @property
    def watched(self) -> bool:
        """Whether previews are worth their time."""
        ...

    def preview(self, picture: int, jpeg: bytes) -> None: ...


class BrokenPicture(StudioError):
    """Numbers ran over and there is nothing to see. No picture was made."""

    status = 500


class LatentPainter:
    """Paints with a latent diffusion pipeline. Made for one job and thrown away with it."""

    def __init__(
        self,
        lease: Lease,
        device: Device,
        easel: Easel,
        versions: Mapping[str, str],
        nets: Mapping[str, Any] = NOTHING,
        worn: Worn = BARE,
        references: References | None = None,
        when_read: Callable[[], None] = lambda: None,
        refining: Refining | None = None,
    ) -> None:
        """`nets` are ControlNets on loan, by id; what is `worn` acts on every picture; `when_read` is
        called once prompts are read, after which text encoders are only needed for others; `refining`
        takes over for the last steps. Raises `InvalidRequest` for a LoRA that was made for other networks."""
        self._lease = lease
        self._family = families()[lease.checkpoint.family]
        self._denoiser = None
        if steering := self._family.steering:
            self._denoiser = getattr(lease.pipeline, steering.part)
        self._writer = getattr(lease.pipeline, self._family.writer or "-", None)
        self._nets = nets
        self._worn = worn
        self._swaps = swaps(
            [(loan.adapter, asked) for loan, asked in worn.loras],
            lease.weights.components,
            lease.scratch,
        )
        self._references = references
        self._when_read = when_read
        self._refining = refining
        self._device = device
        self._easel = easel
        self._versions = versions
        self._refined: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._encoded: dict[tuple[Any, ...], Conditioning] = {}
        self._shown: tuple[tuple[Control, ...], tuple[Unit, ...]] | None = None
        self._pace = preview.Pace()
        self._step_s: float | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        return self._lease.checkpoint

    def paint(
        self,
        brush: Brush,
        *,
        index: int,
        pictures: int,
        canvas: Canvas | None = None,
        span: Span = ALONE,
    ) -> Picture:
        """One picture; the same brush and canvas give the same bytes, whatever was painted before.

        Raises `JobCancelled` at the next step once the job was cancelled, `StudioError` if there
        is nothing to see.
        """
        began = time.monotonic()
        self._easel.check()
        if canvas is not None and canvas.strength == 0:
            return self._untouched(brush, canvas, index)
        pipeline = self._lease.pipeline
        scheduler = self._scheduler(brush)
        place(pipeline, "scheduler", scheduler)
        if (decoder := self._lease.weights.components.get(latent.DECODER)) is not None:
            place(pipeline, latent.DECODER, latent.InItsNumbers(decoder))
        # On the CPU whatever the device: the same seed then gives the same noise anywhere.
        generator = torch.Generator("cpu").manual_seed(brush.seed)
        with torch.inference_mode():
            begun = self._begun(scheduler, brush, canvas)
        steps = _Steps(
            steps=self._steps(brush, canvas),
            begun=begun,
            first=self._first(brush),
            easel=self._easel,
            index=index,
            pictures=pictures,
            span=span,
            show=self._show(preview.X0(scheduler), index, (brush.width, brush.height)),
            each_s=self._step_s,
        )
        if self._writer is not None:
            setattr(pipeline, self._family.writer, Writer(self._writer, steps.written))
        if steering := self._family.steering:
            place(pipeline, steering.part, self._steered(steering, brush, steps))
        if self._refining is not None:
            place(pipeline, "unet", self._handed_over(self._refining, brush, steps))
        middle = begun.applied() if begun else nullcontext()
        with torch.inference_mode(), self._swaps.applied(), self._beside(brush, steps), middle:
            conditioning = self._condition(brush, canvas)
            told = conditioning.arguments
            if self._references is not None:
                told = self._references.following(brush, told)
            made = pipeline(
                **told,
                **self._arguments(brush, canvas),
                **steps.callback(pipeline),
                generator=generator,
                output_type="np" if self._family.latents is Latents.PIXELS else "latent",
            ).images
            self._easel.check()
            pixels = self._pixels(made, brush)
        self._step_s = steps.each_s
        height, width, _ = pixels.shape
        return Picture(
            index=index,
            seed=brush.seed,
            width=width,
            height=height,
            pixels=pixels.tobytes(),
            facts=self._facts(scheduler, conditioning, time.monotonic() - began),
        )

    def _begun(self, scheduler: Any, brush: Brush, canvas: Canvas | None) -> Begun | None:
        """The start in the middle, where the role's pipeline knows nothing of pictures."""
        if canvas is None or not self._begins(canvas):
            return None
        return over.begin(self._lease.pipeline, scheduler, self._family, brush, canvas)

    def _begins(self, canvas: Canvas | None) -> bool:
        """Whether the role's pipeline is one for words alone, which starts in the middle."""
        return _role(canvas) in self._family.begun

    def _steps(self, brush: Brush, canvas: Canvas | None) -> int:
        """Steps that are really taken, in both stages where there are two."""
        aside = self._family.steps_before + self._family.steps_after
        strong = "strength" in _asked(self._lease.pipeline) or self._begins(canvas)
        if canvas is None or not strong:
            return brush.steps + aside
        return over.steps_taken(brush, canvas) + aside

    def _first(self, brush: Brush) -> int:
        """Steps of the first of two stages."""
        return brush.steps if self._family.steps_after else self._family.steps_before

    def _arguments(self, brush: Brush, canvas: Canvas | None) -> dict[str, Any]:
        """What the pipeline is called with beside prompt, generator and callback."""
        pipeline, family = self._lease.pipeline, self._family
        sampling = Sampling(
            role=_role(canvas),
            width=brush.width,
            height=brush.height,
            steps=brush.steps,
            guidance=brush.guidance,
            guided=family.guided(brush.guidance),
        )
        shown = None if self._begins(canvas) else canvas
        given = {
            "width": brush.width,
            "height": brush.height,
            "num_inference_steps": brush.steps,
            **family.call_args(sampling),
            **({} if shown is None else over.arguments(pipeline, family, brush, shown)),
        }
        # some take the size from their picture, some have no strength
        return {name: value for name, value in given.items() if name in _asked(pipeline)}

    def _pixels(self, made: Any, brush: Brush) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Pixels [height, width, 3] of what the pipeline made."""
        if self._family.latents is Latents.PIXELS:
            return _rounded(np.asarray(made)[0])
        size = (brush.width, brush.height)
        return decode(self._lease.pipeline, made, kind=self._family.latents, size=size)

    def _steered(self, steering: Steering, brush: Brush, steps: "_Steps") -> Any:
        """The shared denoiser, or one that also listens to the brush's maps."""
        if not any(control.weight for control in brush.controls):
            return self._denoiser
        pipeline = self._lease.pipeline
        return Steered(
            steering,
            self._denoiser,
            self._units(steering, brush.controls),
            guided=self._family.guided(brush.guidance),
            steps=lambda: (steps.calls, steps.entries(pipeline)),
        )

    def _units(self, steering: Steering, controls: tuple[Control, ...]) -> tuple[Unit, ...]:
        """What the ControlNets are shown; pictures of a job that share their maps encode them once."""
        if self._shown is None or self._shown[0] != controls:
            with torch.inference_mode():
                made = units(steering, controls, self._nets, self._lease.pipeline)
            self._shown = controls, made
        return self._shown[1]

    def _handed_over(self, refining: Refining, brush: Brush, steps: "_Steps") -> Any:
        """What the pipeline calls, and the refiner for the last steps. LoRAs, style references and
        maps are not for that one."""
        pipeline, guided = self._lease.pipeline, self._family.guided(brush.guidance)
        key = (
            *(brush.prompt, brush.negative_prompt, guided, brush.clip_skip),
            *(brush.width, brush.height),
        )
        if key not in self._refined:
            with torch.inference_mode():
                self._refined[key] = refining.read(
                    brush, guided, self._device.name, self._worn.words
                )
        return HandedOver(
            pipeline.unet,
            refining.unet,
            self._refined[key],
            after=refining.after,
            steps=lambda: (steps.calls, pipeline.num_timesteps),
        )

    def _beside(self, brush: Brush, steps: "_Steps") -> AbstractContextManager[None]:
        """While the brush's style references are heard."""
        if self._references is None:
            return nullcontext()
        pipeline = self._lease.pipeline
        return self._references.heard(
            brush,
            lambda: (steps.calls, pipeline.num_timesteps),
            guided=self._family.guided(brush.guidance),
        )

    def _untouched(self, brush: Brush, canvas: Canvas, index: int) -> Picture:
        """At strength 0 nothing is painted, so nothing goes through the autoencoder either."""
        return Picture(
            index=index,
            seed=brush.seed,
            width=canvas.image.width,
            height=canvas.image.height,
            pixels=canvas.image.tobytes(),
            facts=self._facts(self._scheduler(brush), None, 0.0),
        )

    def _scheduler(self, brush: Brush) -> Any:
        row = samplers.find(brush.sampler)
        return guarded(build(row, self._lease.weights.scheduler), row, brush.steps)

    def _condition(self, brush: Brush, canvas: Canvas | None) -> Conditioning:
        """Embeddings of the prompts; pictures of a job that share them encode once."""
        guided = self._family.guided(brush.guidance)
        sees = canvas is not None and self._family.text is not None and self._family.text.sees
        picture = canvas.image if canvas and sees else None
        seen = None if picture is None else hash(picture.tobytes())
        key = (brush.prompt, brush.negative_prompt, guided, brush.clip_skip, seen)
        if key not in self._encoded:
            self._encoded[key] = self._read(brush, guided, picture)
            self._when_read()
        return self._encoded[key]

    def _read(self, brush: Brush, guided: bool, picture: Any) -> Conditioning:
        pipeline, family, device = self._lease.pipeline, self._family, self._device.name
        if family.text is None:
            return encode(
                pipeline,
                prompt=brush.prompt,
                negative_prompt=brush.negative_prompt,
                guided=guided,
                clip_skip=brush.clip_skip,
                device=device,
                words=self._worn.words,
            )
        return read(
            pipeline,
            family.text,
            prompt=brush.prompt,
            negative_prompt=brush.negative_prompt if family.supports.negative_prompt else None,
            guided=guided,
            device=device,
            picture=picture,
        )

    def _show(self, x0: preview.X0, index: int, size: tuple[int, int]) -> Callable[[], None]:
        """A function that sends a preview if somebody watches and one is due."""
        kind = self._family.latents
        scratch = self._worn.vae.scratch if self._worn.vae else self._lease.scratch

        def show() -> None:
            if kind is Latents.PIXELS or not self._easel.watched or not self._pace.due():
                return
            began = time.monotonic()
            latents = x0.estimate()
            if latents is not None:
                vae = self._lease.pipeline.vae
                image = preview.to_rgb(latent.decodable(latents, kind, vae, size), vae, scratch)
                self._easel.preview(index, preview.jpeg(image))
            self._pace.took(time.monotonic() - began)

        return show

    def _facts(
        self, scheduler: Any, conditioning: Conditioning | None, seconds: float
    ) -> Mapping[str, Any]:
        checkpoint, sha256 = self._lease.checkpoint, self._lease.sha256.result()
        counts = conditioning.facts if conditioning else {}
        return {
            "checkpoint": {
                "id": checkpoint.id,
                "label": checkpoint.label,
                "family": checkpoint.family,
                "sha256": sha256,
                "short": sha256[:10],
            },
            **self._worn.facts(self._swaps.unused),
            **({"refiner": self._refining.facts()} if self._refining else {}),
            "device": self._device.name,
            "dtype": self._lease.device.machine.dtype,
            "versions": dict(self._versions),
            "seconds": round(seconds, 3),
            **({"tokens": counts} if counts else {}),
            "scheduler": type(scheduler).__name__,
            "rng": "CPU",
        }


def _role(canvas: Canvas | None) -> Role:
    if canvas is None:
        return Role.TEXT
    return Role.IMAGE if canvas.mask is None else Role.INPAINT


def _asked(pipeline: Any) -> Collection[str]:
    """Names of what the pipeline's call takes."""
    return inspect.signature(pipeline.__call__).parameters.keys()


_TOLD_TOKENS = 64
"""Tokens between two signs of life."""


@dataclass(slots=True)
class _Steps:
    """diffusers' `callback_on_step_end`: counts, estimates, shows, and stops."""

    steps: int
    """What is counted up to; a canvas of little strength takes fewer than were asked for."""
    easel: Easel
    index: int
    pictures: int
    span: Span
    show: Callable[[], None]
    each_s: float | None
    """Seconds a call of the network, as far as they are known."""
    begun: Begun | None = None
    """The start in the middle, which also keeps what is not painted."""
    first: int = 0
    """How many of the steps are those of a first stage, before there is anything to show."""
    first_at: float = 0.0
    told: int = 0
    calls: int = 0
    """Calls of the network that are done."""

    def callback(self, pipeline: Any) -> dict[str, Any]:
        """The argument that makes a pipeline call this after each step; older ones name it another
        way, tell less, and do not count."""
        asked = _asked(pipeline)
        stage = {"prior_callback_on_step_end": self._foreseen} if self.first else {}
        if "callback_on_step_end" in asked:
            return {"callback_on_step_end": self, **stage}

        def step(index: int, timestep: Any, latents: Tensor) -> None:
            # these count steps, of which samplers of second order have two
            entry = min((index + 1) * pipeline.scheduler.order, self.entries(pipeline)) - 1
            latents.copy_(self(pipeline, entry, timestep, {"latents": latents})["latents"])

        return {"callback": step, "callback_steps": 1}

    def __call__(self, pipeline: Any, index: int, timestep: Any, given: dict[str, Any]) -> Any:
        self.easel.check()
        calls = self.entries(pipeline)
        done = index + 1
        self.calls = done
        self._measure(done)
        # samplers of second order call the network twice a step
        step = min(self.steps, self.first - (-done * (self.steps - self.first) // calls))
        if step != self.told or done == calls:
            self._tell(step, self._left(done, calls))
        if done < calls:
            self.show()
        if self.begun is None or "latents" not in given:
            return given
        return {**given, "latents": self.begun.kept(index, given["latents"])}

    def entries(self, pipeline: Any) -> int:
        """Of the schedule, as far as it is walked through."""
        if counted := getattr(pipeline, "num_timesteps", None):
            return counted
        return len(pipeline.scheduler.timesteps) - (self.begun.skipped if self.begun else 0)

    def _foreseen(self, pipeline: Any, index: int, timestep: Any, given: dict[str, Any]) -> Any:
        """The same for a step of the first stage."""
        self.easel.check()
        self._tell(min(self.first, index + 1), None)
        return given

    def written(self, tokens: int) -> None:
        """A token is there, before the first step."""
        self.easel.check()
        if tokens % _TOLD_TOKENS == 0:
            self._tell(0, None)

    def _tell(self, step: int, seconds_left: float | None) -> None:
        self.told = step
        self.easel.progress(
            picture=self.index,
            pictures=self.pictures,
            step=self.span.before + step,
            steps=self.span.before + self.steps + self.span.after,
            seconds_left=seconds_left,
        )

    def _measure(self, done: int) -> None:
        """The first call of a picture also encodes and warms up, so it is not counted."""
        now = time.monotonic()
        if done == 1:
            self.first_at = now
        else:
            self.each_s = (now - self.first_at) / (done - 1)

    def _left(self, done: int, calls: int) -> float | None:
        """For this picture and those after it."""
        if self.each_s is None:
            return None
        each, others = calls / (self.steps - self.first), self.span.before + self.span.after
        after = self.span.after * self.span.weight * each
        whole = calls + others * self.span.weight * each
        return self.each_s * (calls - done + after + whole * (self.pictures - self.index - 1))


def decode(
    pipeline: Any,
    latents: Tensor,
    *,
    kind: Latents = Latents.PLAIN,
    size: tuple[int, int] = (0, 0),
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Pixels [height, width, 3] of what a pipeline with latents of that kind made; `size` is the
    picture's width and height, for those that are packed.

    Rounds as diffusers does. Raises `BrokenPicture` where a number is not finite.
    """
    if not bool(latents.isfinite().all()):
        raise _broken()
    pixels = latent.decode(pipeline.vae, latent.decodable(latents, kind, pipeline.vae, size))
    if not bool(pixels.isfinite().all()):
        raise _broken()
    [image] = pipeline.image_processor.postprocess(pixels.detach(), output_type="np")
    return _rounded(image)


def _rounded(image: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """From 0.0 … 1.0 to bytes. Raises `BrokenPicture` where a number is not finite."""
    if not np.isfinite(image).all():
        raise _broken()
    return (image * 255).round().astype(np.uint8)


def _broken() -> BrokenPicture:
    return BrokenPicture(
        "The picture fell apart into numbers that are not finite.",
        "Try another sampler, more steps or a lower guidance.",
    )
