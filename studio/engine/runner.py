"""Runs one job: finds its task, lends it tools, and says how it ended in words for people."""

import logging
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL.Image import Image

from studio.checkpoints.catalog import Catalog, Checkpoint
from studio.checkpoints.controls import ControlNet, Controls
from studio.checkpoints.extras import Extras as Shelves
from studio.checkpoints.imageprompts import ImagePrompt, ImagePrompts
from studio.core import intake
from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.core.geometry import Size
from studio.core.records import NOTHING, Picture
from studio.core.requests import parse
from studio.costs.admission import OutOfMemory, Room
from studio.costs.anatomy import Anatomy
from studio.costs.history import Loaded, Painted
from studio.costs.learned import Learned
from studio.costs.plan import ways_on
from studio.costs.predict import room_for
from studio.costs.work import Kept, Pass, Work
from studio.engine.control import Control, JobCancelled
from studio.engine.device import is_out_of_memory, trim
from studio.engine.frugal import FrugalPainter
from studio.engine.gauge import Gauge, snapshot
from studio.engine.imageprompts import load_image_prompt, load_looker
from studio.engine.loans import Loan
from studio.engine.manager import Lease, Manager
from studio.engine.maps import Maps
from studio.engine.plan import Descent
from studio.engine.references import References
from studio.engine.upscaling import Networks
from studio.engine.worn import Worn, borrow
from studio.families._family import Role
from studio.preprocessors._preprocessor import Map
from studio.tasks._beside import beside
from studio.tasks._extras import added
from studio.tasks._sampled import unkept
from studio.tasks._task import ALONE, PLAIN, Enlarged, Extras, Painter, Refiner, Span, Task
from studio.upscalers._shelf import Shelf

log = logging.getLogger("pochade.engine")

MEANS: tuple[str, ...] = ("drop_text", "packed", "fp8", "blocks")
"""Fields of `plan.Means` that this engine has."""

Send = Callable[..., None]
"""`send(header, blob=b"")` writes one frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Runner:
    """Runs jobs one at a time, in the thread that owns the device."""

    tasks: Mapping[str, Task]
    catalog: Catalog
    controls: Controls
    manager: Manager
    upscalers: Shelf
    networks: Networks
    control: Control
    send: Send
    versions: Mapping[str, str]
    extras: Shelves = field(default_factory=Shelves)
    maps: Maps = field(default_factory=Maps)
    image_prompts: ImagePrompts = field(default_factory=ImagePrompts)
    learned: Learned = field(default_factory=Learned)

    @property
    def gauge(self) -> Gauge:
        return Gauge(device=self.manager.device)

    def account(self, wish: str = "") -> None:
        """Gives back what is free, then says what is in memory, and what jobs took since this was
        last said."""
        trim()
        memory = snapshot(self.gauge, self.manager, MEANS)
        self.send(
            {
                "op": "account",
                "wish": wish,
                "memory": memory.data(),
                "measured": self.learned.fresh(),
            }
        )

    def free(self) -> None:
        """Takes everything out of the memory that no job uses."""
        self.networks.drop()
        self.maps.drop()
        self.manager.drop_idle()

    def unload(self) -> None:
        """Takes everything out of the memory, pinned or not."""
        self.free()
        self.manager.unload_all()
        self.learned.forget_rungs()

    def run(
        self,
        job: str,
        task_id: str,
        request: Mapping[str, Any],
        files: Mapping[str, str] = NOTHING,
    ) -> None:
        """Paints a job's pictures and sends each, then exactly one ending. Raises nothing.

        `files` says where the pictures lie that the request names. Whatever happened, the next job
        starts from the same state.
        """
        began = time.monotonic()
        ending = self._ending(job, task_id, request, files)
        if ending["op"] == "failed" and ending.pop("memory", False):
            # By now no traceback holds the tensors that filled it.
            self.free()
        if ending["op"] == "done":
            ending["seconds"] = round(time.monotonic() - began, 3)
        self.send({**ending, "job": job})

    def _ending(
        self, job: str, task_id: str, request: Mapping[str, Any], files: Mapping[str, str]
    ) -> dict[str, Any]:
        try:
            self._paint(job, task_id, request, files)
        except JobCancelled:
            return {"op": "cancelled"}
        except OutOfMemory as error:
            return {**_failed(error.message, error.hint), "memory": True}
        except StudioError as error:
            return _failed(error.message, error.hint)
        except Exception as error:
            if is_out_of_memory(error):
                return {**_out_of_memory(request), "memory": True}
            incident = secrets.token_hex(4)
            log.exception("incident %s in job %s", incident, job)
            return _failed(
                f"Something went wrong (id {incident}).",
                "The log of the server says more under this id.",
            )
        return {"op": "done"}

    def _paint(
        self, job: str, task_id: str, request: Mapping[str, Any], files: Mapping[str, str]
    ) -> None:
        task = self.tasks.get(task_id)
        if task is None:
            raise InvalidRequest(
                f"There is no task '{task_id[:40]}'.", f"There are {', '.join(self.tasks)}."
            )
        wanted = parse(task.request, request)
        tools = JobTools(
            job=job,
            runner=self,
            files=files,
            work=task.work(wanted),
            descent=self._descent(job),
        )
        for picture in task.run(wanted, tools):
            self._send_picture(job, picture)

    def _descent(self, job: str) -> Descent:
        gauge = self.gauge

        def room(work: Work, beside: Iterable[str]) -> Room:
            return room_for(work, snapshot(gauge, self.manager, MEANS), beside)

        return Descent(
            machine=gauge.device.machine,
            means=MEANS,
            learned=self.learned,
            room=room,
            free=self.free,
            say=lambda note: self.send({"op": "note", "job": job, "note": note}),
        )

    def _send_picture(self, job: str, picture: Picture) -> None:
        header = {
            "op": "picture",
            "job": job,
            "index": picture.index,
            "seed": picture.seed,
            "width": picture.width,
            "height": picture.height,
            "alpha": picture.alpha,
            "facts": dict(picture.facts),
        }
        self.send(header, picture.pixels)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobTools:
    """`tasks.Tools` of one job."""

    job: str
    runner: Runner
    files: Mapping[str, str]
    work: Work | None
    descent: Descent

    def picture(self, ref: str) -> Image:
        self.check()
        try:
            return intake.load(Path(self.files[ref]))
        except (KeyError, OSError):
            raise NotFound(
                "A picture that this job starts from is gone.", "Choose the picture again."
            ) from None

    @contextmanager
    def pipeline(
        self,
        checkpoint_id: str,
        role: Role,
        *,
        controls: tuple[str, ...] = (),
        extras: Extras = PLAIN,
        refiner: Refiner | None = None,
        kept: Kept | None = None,
    ) -> Generator[Painter]:
        self.check()
        runner = self.runner
        checkpoint = runner.catalog.get(checkpoint_id or None)
        found = {name: runner.controls.get(name) for name in controls}
        last = runner.catalog.get(refiner.id) if refiner else None
        work = self._work(checkpoint, controls, extras, kept)
        besides = beside(work, checkpoint, runner.controls, runner.extras, runner.image_prompts)
        ways = self._ways(checkpoint)
        if work.kept is not None and work.kept not in ways:
            self.descent.say(unkept(checkpoint))
            work = replace(work, kept=None)
        self.descent.means = tuple(one for one in MEANS if one in ("drop_text", *ways))
        self.descent.begin(work, self._anatomy(checkpoint), besides, last and self._anatomy(last))
        with ExitStack() as borrowed:
            loan, nets, worn, ending = self._borrowed(
                borrowed, checkpoint, role, found, extras, last
            )
            lent = Lent(tools=self, lease=loan.lease, borrowed=borrowed, loading=self._loading)
            yield FrugalPainter(
                loan=loan,
                nets=nets,
                worn=worn,
                descent=self.descent,
                gauge=runner.gauge,
                easel=self,
                versions=runner.versions,
                work=work,
                references=References(loan.lease, lent),
                refiner=ending,
                after=refiner.after if refiner else 1.0,
            )

    def _ways(self, checkpoint: Checkpoint) -> tuple[Kept, ...]:
        """How its weights can be kept here so that this saves something."""
        manager, anatomy = self.runner.manager, checkpoint.anatomy
        ways = manager.ways(checkpoint)
        if anatomy is None:
            return ways
        saving = ways_on(manager.device.machine, anatomy)
        return tuple(way for way in ways if way in saving)

    def _anatomy(self, checkpoint: Checkpoint) -> Anatomy | None:
        found = checkpoint.anatomy
        return found and replace(found, exact=self.runner.manager.sizes(checkpoint))

    def _work(
        self,
        checkpoint: Checkpoint,
        controls: tuple[str, ...],
        extras: Extras,
        kept: Kept | None,
    ) -> Work:
        """What the job asks for; of one that does not say it before, a picture as large as the
        checkpoint knows them."""
        if self.work is not None:
            return self.work
        side = checkpoint.native_px
        once = Pass(width=side, height=side, calls=1)
        return Work(
            checkpoint=checkpoint.id,
            passes=(once,),
            controls=controls,
            added=added(extras),
            kept=kept,
        )

    def _borrowed(
        self,
        borrowed: ExitStack,
        checkpoint: Checkpoint,
        role: Role,
        controls: Mapping[str, ControlNet],
        extras: Extras,
        last: Checkpoint | None,
    ) -> tuple[Loan, Mapping[str, Any], Worn, Loan | None]:
        """The checkpoint, its ControlNets, what it wears and the refiner, on loan until `borrowed`
        ends."""
        manager = self.runner.manager
        while True:
            try:
                loan = self._loan(borrowed, checkpoint, role)
                nets = {
                    name: borrowed.enter_context(
                        manager.use_control(control, loan.lease, loading=self._loading)
                    )
                    for name, control in controls.items()
                }
                worn = borrow(
                    extras,
                    shelves=self.runner.extras,
                    manager=manager,
                    lease=loan.lease,
                    until=borrowed,
                    loading=self._loading,
                )
                if worn.vae is not None:
                    loan.wear(worn.vae.module)
                return loan, nets, worn, last and self._loan(borrowed, last, Role.IMAGE)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            # outside of the except block, since a traceback keeps the tensors of its frames
            borrowed.close()
            self.descent.down()

    def _loan(self, borrowed: ExitStack, checkpoint: Checkpoint, role: Role) -> Loan:
        def read(kept: Kept) -> Lease:
            return borrowed.enter_context(self._read(checkpoint, role, kept))

        return Loan(read, self._ways(checkpoint), self.descent.plan)

    @contextmanager
    def _read(self, checkpoint: Checkpoint, role: Role, kept: Kept) -> Generator[Lease]:
        """A lease of weights that are kept so; what reading all of their bytes took is measured."""
        runner, told = self.runner, list[str]()

        def loading(what: str) -> None:
            told.append(what)
            self._loading(what)

        began = time.monotonic()
        with runner.manager.use(checkpoint, role, loading=loading, kept=kept) as lease:
            if told and kept == "whole":
                runner.learned.add(
                    Loaded(
                        checkpoint=checkpoint.id,
                        device=runner.manager.device.name,
                        dtype=lease.device.machine.dtype,
                        bytes=lease.weights.size_bytes,
                        seconds=time.monotonic() - began,
                    )
                )
            yield lease

    def control_map(self, preprocessor: str, params: Mapping[str, Any], image: Image) -> Map:
        self.check()
        maps, pixels = self.runner.maps, image.width * image.height
        if (found := maps.known(preprocessor, params, image)) is not None:
            return found
        with self._measured(f"preprocessor:{preprocessor}", pixels) as loading:
            return maps.make(preprocessor, params, image, loading, self.check)

    @contextmanager
    def _measured(self, by: str, pixels: int) -> Generator[Callable[[str], None]]:
        """Measures what something other than a checkpoint takes for so many pixels, unless it has to
        be read first, of which the function is told."""
        runner, told = self.runner, list[str]()

        def loading(what: str) -> None:
            told.append(what)
            self._loading(what)

        began, before = time.monotonic(), runner.gauge.begin()
        yield loading
        if not told:
            machine = runner.manager.device.machine.for_pixels
            runner.learned.add(
                Painted(
                    checkpoint=by,
                    device=machine.device,
                    dtype=machine.dtype,
                    pixels=pixels,
                    calls=1,
                    batch=1,
                    nets=0,
                    call_s=time.monotonic() - began,
                    rest_s=0.0,
                    predicted_bytes=0,
                    peak_bytes=runner.gauge.peak(before),
                )
            )

    def upscale(
        self,
        image: Image,
        upscaler_id: str,
        size: Size,
        *,
        index: int = 0,
        pictures: int = 1,
        span: Span = ALONE,
    ) -> Enlarged:
        began = time.monotonic()

        def tell(done: int, steps: int, seconds_left: float | None) -> None:
            self.progress(
                picture=index,
                pictures=pictures,
                step=span.before + done,
                steps=span.before + steps + span.after,
                # what the others will take is not known from here
                seconds_left=seconds_left if span == ALONE and pictures == 1 else None,
            )

        runner = self.runner
        with self._measured(f"upscaler:{upscaler_id}", size[0] * size[1]) as loading:
            enlarged, upscaler = runner.networks.enlarge(
                runner.upscalers.get(upscaler_id),
                image,
                size,
                check=self.check,
                tell=tell,
                loading=loading,
            )
        facts = {
            "upscaler": upscaler,
            "device": runner.manager.device.name,
            "dtype": runner.manager.device.machine.for_pixels.dtype,
            "versions": dict(runner.versions),
            "seconds": round(time.monotonic() - began, 3),
        }
        return Enlarged(image=enlarged, facts=facts)

    def upscale_steps(self, upscaler_id: str, size: Size) -> int:
        return self.runner.networks.steps(self.runner.upscalers.get(upscaler_id), size)

    # What a painter reports to (`painter.Easel`).

    def check(self) -> None:
        self.runner.control.check(self.job)

    @property
    def watched(self) -> bool:
        return self.runner.control.watched

    def progress(
        self, *, picture: int, pictures: int, step: int, steps: int, seconds_left: float | None
    ) -> None:
        self.runner.send(
            {
                "op": "progress",
                "job": self.job,
                "picture": picture,
                "pictures": pictures,
                "step": step,
                "steps": steps,
                "seconds_left": None if seconds_left is None else round(seconds_left, 2),
            }
        )

    def preview(self, picture: int, jpeg: bytes) -> None:
        self.runner.send({"op": "preview", "job": self.job, "picture": picture}, jpeg)

    def _loading(self, what: str) -> None:
        self.runner.send({"op": "loading", "job": self.job, "what": what})


@dataclass(frozen=True, kw_only=True, slots=True)
class Lent:
    """`references.Desk` of one painter: what it borrows goes back with the checkpoint."""

    tools: JobTools
    lease: Lease
    borrowed: ExitStack
    loading: Callable[[str], None]

    def picture(self, ref: str) -> Image:
        return self.tools.picture(ref)

    def image_prompt(self, prompt_id: str) -> Mapping[str, Any]:
        runner = self.tools.runner
        prompt = runner.image_prompts.get(prompt_id, self.lease.checkpoint)
        looker = runner.image_prompts.looker(prompt)
        networks: dict[str, Any] = {}
        for key, label, path, read in (
            (f"ipadapter:{prompt.id}", prompt.label, prompt.path, self._read(prompt)),
            (f"looker:{looker.id}", looker.id, looker.path, partial(load_looker, looker)),
        ):
            lent = runner.manager.use_networks(
                key, label, path, read, self.lease, loading=self.loading
            )
            networks |= self.borrowed.enter_context(lent)
        return networks

    def _read(self, prompt: ImagePrompt) -> Callable[[], Mapping[str, Any]]:
        return partial(load_image_prompt, prompt, self.lease.weights.components.get("unet"))


def _failed(message: str, hint: str) -> dict[str, Any]:
    return {"op": "failed", "message": message, "hint": hint}


def _out_of_memory(request: Mapping[str, Any]) -> dict[str, Any]:
    width, height = request.get("width"), request.get("height")
    what = f"a picture of {width}×{height} px" if width and height else "this picture"
    return _failed(
        f"There is not enough memory for {what}.",
        "Choose a smaller size, or a smaller checkpoint.",
    )
