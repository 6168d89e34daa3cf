"""Networks that take less memory, made for one job: what others share is neither changed nor hooked."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from studio.checkpoints.catalog import Checkpoint
from studio.core.records import Picture
from studio.costs.history import Painted
from studio.costs.needs import activations
from studio.costs.plan import Plan
from studio.costs.work import Pass, Work
from studio.engine.device import is_out_of_memory
from studio.engine.gauge import Gauge
from studio.engine.loading import place
from studio.engine.loans import Loan
from studio.engine.manager import DENOISERS
from studio.engine.painter import Easel, LatentPainter
from studio.engine.plan import Descent, pass_of, with_pass
from studio.engine.references import References
from studio.engine.refining import Refining
from studio.engine.voices import bound
from studio.engine.worn import BARE, Worn
from studio.tasks._task import ALONE, Brush, Canvas, Painter, Span


def tiled(vae: Any, side_px: int) -> Any:
    """An autoencoder with the same layers that works in tiles; `vae` itself stays as it is."""
    own = copy.copy(vae)  # its layers and weights are the shared ones, its settings its own
    own.use_tiling = True
    sizes: dict[str, Any] = vars(own)
    scale = 8
    if sizes.get("tile_latent_min_size"):
        scale = max(1, round(sizes["tile_sample_min_size"] / sizes["tile_latent_min_size"]))
    wanted = {
        "tile_sample_min_size": side_px,
        "tile_latent_min_size": side_px // scale,
        "tile_sample_min_height": side_px,
        "tile_sample_min_width": side_px,
        "tile_sample_stride_height": side_px * 3 // 4,
        "tile_sample_stride_width": side_px * 3 // 4,
    }
    for name, size in wanted.items():
        if name in sizes:
            setattr(own, name, size)
    return own


class Each(tuple[Tensor, ...]):
    """For each picture of a batch what a network says of it, which may be longer than of others."""


class Split:
    """A network that sees the pictures of a batch one after another."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The first argument, named or not, has an entry for each picture."""
        pictures = next(iter((*args, *options.values())))
        count = len(pictures)
        if count < 2:
            return self._network(*args, **options)
        listed = isinstance(pictures, list)
        parts = [
            self._network(
                *(_one(value, at, count, listed=listed) for value in args),
                **{name: _one(value, at, count, listed=listed) for name, value in options.items()},
            )
            for at in range(count)
        ]
        return _joined(parts, listed=listed)


def _one(value: Any, at: int, count: int, *, listed: bool) -> Any:
    """The part of an argument that belongs to picture `at` of a batch; `listed` where the network
    takes lists of pictures rather than stacks."""
    if isinstance(value, Each):
        return value[at]
    if isinstance(value, Tensor):
        return value[at : at + 1] if value.ndim and len(value) == count else value
    if isinstance(value, Mapping):
        return {name: _one(inner, at, count, listed=listed) for name, inner in value.items()}
    if isinstance(value, list) and listed and len(value) == count:
        return value[at : at + 1]
    if isinstance(value, list | tuple):
        return type(value)(_one(inner, at, count, listed=listed) for inner in value)
    return value


def _joined(parts: list[Any], *, listed: bool) -> Any:
    """Outputs of one picture each, as the network would have given them for all; `listed` where it
    lists pictures, of which each comes with words of its own length, rather than stacking them."""
    first = parts[0]
    if isinstance(first, Tensor):
        return Each(parts) if listed else torch.cat(parts)
    if isinstance(first, list) and listed:
        return [one for part in parts for one in part]
    if isinstance(first, Mapping):  # diffusers' outputs are
        joined = {name: _joined([part[name] for part in parts], listed=listed) for name in first}
        return joined if type(first) is dict else type(first)(**joined)
    if isinstance(first, list | tuple):
        columns = zip(*parts, strict=True)
        return type(first)(_joined(list(column), listed=listed) for column in columns)
    return first


def applied(pipeline: Any, nets: Mapping[str, Any], plan: Plan) -> Mapping[str, Any]:
    """Puts a plan into a job's own pipeline; the ControlNets to be used with it."""
    if plan.tile_px and getattr(pipeline, "vae", None) is not None:
        pipeline.vae = tiled(pipeline.vae, plan.tile_px)
    nets = bound(nets, pipeline)
    if not plan.split:
        return nets
    for name in DENOISERS:
        if (network := getattr(pipeline, name, None)) is not None:
            place(pipeline, name, Split(network))
    return {name: Split(net) for name, net in nets.items()}


@dataclass(slots=True)
class _Timed:
    """An easel that also looks at the clock."""

    easel: Easel
    first: float = 0.0
    last: float = 0.0
    told: int = 0

    @property
    def watched(self) -> bool:
        return self.easel.watched

    def check(self) -> None:
        self.easel.check()

    def preview(self, picture: int, jpeg: bytes) -> None:
        self.easel.preview(picture, jpeg)

    def progress(self, **told: Any) -> None:
        self.last = time.monotonic()
        self.first = self.first or self.last
        self.told += 1
        self.easel.progress(**told)

    def each(self, calls: int, seconds: float) -> float:
        """Seconds of a call; the first one also encodes and warms up, so it is not counted."""
        if self.told < 2 or calls < 2:
            return seconds / max(1, calls)
        return (self.last - self.first) / (calls - calls / self.told)


def _prompt(brush: Brush, canvas: Canvas | None) -> tuple[Any, ...]:
    """Everything that text encoders may look at; a refiner is told the size too."""
    seen = None if canvas is None else hash(canvas.image.tobytes())
    words = brush.prompt, brush.negative_prompt, brush.guidance > 1.0, brush.clip_skip
    return *words, brush.width, brush.height, seen


class FrugalPainter:
    """Paints by a plan, and by the next one where memory runs out: no finished picture is lost."""

    def __init__(
        self,
        *,
        loan: Loan,
        nets: Mapping[str, Any],
        worn: Worn = BARE,
        descent: Descent,
        gauge: Gauge,
        easel: Easel,
        versions: Mapping[str, str],
        work: Work,
        references: References | None = None,
        refiner: Loan | None = None,
        after: float = 1.0,
    ) -> None:
        """`refiner` takes over once the share `after` of the steps is done."""
        self._loan = loan
        self._nets = nets
        self._worn = worn
        self._descent = descent
        self._gauge = gauge
        self._easel = _Timed(easel)
        self._versions = versions
        self._work = work
        self._references = references
        self._refiner = refiner
        self._after = after
        self._before = gauge.begin()
        self._painter: tuple[Plan, LatentPainter] | None = None
        self._prompt: tuple[Any, ...] = ()
        """What the text encoders were last asked to read."""

    @property
    def checkpoint(self) -> Checkpoint:
        return self._loan.lease.checkpoint

    def paint(
        self,
        brush: Brush,
        *,
        index: int,
        pictures: int,
        canvas: Canvas | None = None,
        span: Span = ALONE,
    ) -> Picture:
        one = pass_of(brush, canvas)
        work = with_pass(self._work, one)
        if work is not self._work:
            self._work = work
            descent = self._descent
            descent.begin(work, descent.anatomy, descent.beside, descent.refiner)
        while True:
            self._easel.first, self._easel.told = 0.0, 0
            began, self._before = time.monotonic(), self._gauge.begin()
            try:
                picture = self._by(self._descent.plan, brush, canvas).paint(
                    brush, index=index, pictures=pictures, canvas=canvas, span=span
                )
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            else:
                self._descent.worked()
                self._measure(one, time.monotonic() - began, self._gauge.peak(self._before))
                return self._told(picture)
            # outside of the except block, since a traceback keeps the tensors of its frames
            self._painter = None
            self._descent.down()

    def _by(self, plan: Plan, brush: Brush, canvas: Canvas | None) -> Painter:
        """The painter of a plan; made anew only where the plan is another one, or where a prompt
        has to be read by text encoders that are gone."""
        prompt = _prompt(brush, canvas) if plan.drop_text else ()
        if self._painter is None or self._painter[0] != plan or self._prompt != prompt:
            self._painter = None
            for loan in self._loans:
                loan.suit(plan)
            self._prompt = prompt
            lease, device = self._loan.lease, self._gauge.device
            nets = applied(lease.pipeline, self._nets, plan)
            made = LatentPainter(
                lease,
                device,
                self._easel,
                self._versions,
                nets,
                self._worn,
                self._references and self._references.of(lease),
                self._drop_text if plan.drop_text else lambda: None,
                self._refining(plan),
            )
            self._painter = (plan, made)
        return self._painter[1]

    @property
    def _loans(self) -> tuple[Loan, ...]:
        return (self._loan,) if self._refiner is None else (self._loan, self._refiner)

    def _refining(self, plan: Plan) -> Refining | None:
        if self._refiner is None:
            return None
        lease = self._refiner.lease
        unet = lease.pipeline.unet
        return Refining(lease=lease, unet=Split(unet) if plan.split else unet, after=self._after)

    def _drop_text(self) -> None:
        for loan in self._loans:
            loan.drop_text()
        self._before = self._gauge.begin()  # what painting takes is what it takes without them

    def _told(self, picture: Picture) -> Picture:
        changes = self._descent.plan.changes
        if not changes:
            return picture
        return replace(picture, facts={**picture.facts, "plan": list(changes)})

    def _measure(self, one: Pass, seconds: float, peak: int) -> None:
        anatomy = self.checkpoint.anatomy
        if anatomy is None or not self._easel.told:
            return
        descent, machine = self._descent, self._gauge.device.machine.painting(anatomy)
        call_s = self._easel.each(one.calls, seconds)
        work = replace(self._work, passes=(one,))
        descent.learned.add(
            Painted(
                checkpoint=self.checkpoint.id,
                device=machine.device,
                dtype=machine.dtype,
                pixels=one.pixels,
                calls=one.calls,
                batch=one.batch,
                nets=len(self._nets),
                call_s=call_s,
                rest_s=max(0.0, seconds - call_s * one.calls),
                predicted_bytes=activations(work, anatomy, machine=machine, plan=descent.plan),
                peak_bytes=peak,
                plan=descent.plan.name,
                parameters=anatomy.denoiser,
                seen=work.seen(one),
            )
        )
