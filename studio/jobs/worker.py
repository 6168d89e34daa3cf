"""The thread that takes jobs in turn, has the engine do them, and saves what comes out."""

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from studio.core.errors import StorageFailed, StudioError
from studio.core.events import (
    Cancelled,
    Event,
    Failed,
    Finished,
    Interrupted,
    Loading,
    Progress,
    Saved,
)
from studio.core.records import ImageRecord, Job, Picture
from studio.costs.history import History, measured
from studio.costs.memory import Memory, memory_of
from studio.jobs.link import Died, EngineProcess, Frame
from studio.jobs.store import JobStore

log = logging.getLogger("pochade.worker")

PROGRESS_EVERY_S = 0.25
"""Progress is stored at most four times a second; the last step of a picture always is."""
HUNG_AFTER_S = 30.0
"""An engine that has not answered Stop for so long is killed. One step of the largest picture on a
slow processor takes less."""
MAX_UNSAVED = 64
"""Pictures kept in memory while the disk is full; two of the largest jobs."""
CALM_CRASHES = 3
"""Crashes in a row after which a new engine is started later and later."""
HOPELESS_STARTS = 3
"""Engines in a row that never became ready, after which waiting jobs fail with the reason."""


class Album(Protocol):
    """Where pictures go and come from: the gallery and the uploads, seen from here."""

    def files(self, *, owner: str, task: str, request: Mapping[str, Any]) -> dict[str, str]:
        """Paths of the pictures that a request names, by ref. Raises `StudioError` if one is
        gone."""
        ...

    def add(
        self, *, owner: str, job_id: str, task: str, request: dict[str, Any], picture: Picture
    ) -> ImageRecord: ...


@dataclass(slots=True)
class Live:
    """What is known about the running job and is not worth storing."""

    job: Job
    progress: Progress | None = None
    loading: str | None = None
    preview: bytes | None = None
    previews: int = 0
    stored_at: float = 0.0
    image_ids: list[str] = field(default_factory=list[str])
    unsaved: str = ""
    """What the disk said when it refused a picture; empty while all are saved."""
    cancelled_at: float | None = None
    heard_at: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class EngineState:
    """The engine as people see it."""

    state: str = "starting"
    """`starting`, `ready` or `down`."""
    device: str = ""
    dtype: str = ""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    reason: str = ""
    memory: Memory | None = None
    """As it last said; None while there is no engine."""


class Answer:
    """What an engine says to a wish that is no job, once it comes to it."""

    def __init__(self) -> None:
        self.data: Mapping[str, Any] | None = None
        self._there = threading.Event()

    def give(self, data: Mapping[str, Any] | None) -> None:
        self.data = data
        self._there.set()

    def wait(self, timeout_s: float) -> bool:
        """False if there is none yet."""
        return self._there.wait(timeout_s)


class Worker:
    """One worker drives one engine process. Everything public may be called from any thread."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        album: Album,
        changed: Callable[[str], None],
        watched: Callable[[str], bool],
        start_engine: Callable[[], EngineProcess],
        start_s: float,
        silence_s: float,
        costs: History,
    ) -> None:
        """`changed(owner)` is called whenever something of that owner's moved; `watched(owner)`
        tells whether somebody looks, since previews cost time. An engine that is not ready after
        `start_s` seconds, or says nothing for `silence_s` while painting, is killed."""
        self._jobs = jobs
        self._album = album
        self._changed = changed
        self._watched = watched
        self._start_engine = start_engine
        self._start_s = start_s
        self._silence_s = silence_s
        self._costs = costs
        self._wishes: dict[str, Answer] = {}
        self._engine: EngineProcess | None = None
        self._live: Live | None = None
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._stops: set[str] = set()
        self._endings: deque[tuple[str, Event]] = deque()
        self._unsaved: deque[tuple[Job, Picture]] = deque()
        self._crashes = 0
        self._failed_starts = 0
        self._advice = "The log of the server says more."
        self._not_before = 0.0
        self._started_at = 0.0
        self.engine = EngineState()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Starts the engine and begins to serve the queue."""
        self._thread.start()

    def close(self, timeout_s: float = 8.0) -> None:
        """Ends the engine; the job that was running becomes interrupted, queued ones stay queued."""
        self._closing.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def live(self, job_id: str) -> Live | None:
        """The running job's progress and preview, if it is this one."""
        live = self._live
        return live if live and live.job.id == job_id else None

    def stop(self, job_id: str) -> None:
        """Asks for a job to stop at its next step, also if it was taken but not yet begun."""
        with self._lock:
            self._stops.add(job_id)
            live, engine = self._live, self._engine
            if live is None or live.job.id != job_id or engine is None:
                return
            live.cancelled_at = live.cancelled_at or time.monotonic()
            engine.send({"op": "cancel", "job": job_id})

    def look(self) -> None:
        """Somebody began or ceased to watch: tells the engine whether previews are wanted."""
        live, engine = self._live, self._engine
        if engine is not None and live is not None:
            engine.send({"op": "watch", "on": self._watched(live.job.owner)})

    def wish(self, op: str, **details: Any) -> Answer:
        """Asks the engine for something that is no job. It comes to it when no job runs; an engine
        that is not there, or goes away, answers nothing."""
        name, answer = secrets.token_hex(8), Answer()
        with self._lock:
            engine = self._engine if self.engine.state == "ready" else None
            if engine is not None:
                self._wishes[name] = answer
        if engine is None:
            answer.give(None)
        else:
            engine.send({"op": op, "wish": name, **details})
        return answer

    # The rest runs in the worker's own thread.

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._serve()
            except Exception:
                log.exception("the worker stumbled and goes on")
                self._closing.wait(1.0)
        if self._engine is not None:
            self._engine.end()

    def _serve(self) -> None:
        if not self._engine_ready():
            return
        self._save_left_over()
        self._write_endings()
        self._wake.clear()
        job = self._jobs.take()
        if job is None:
            self._idle()
            return
        self._do(job)

    def _idle(self) -> None:
        """Waits for work, and notices an engine that dies while nothing is asked of it."""
        if self._wake.wait(0.2) or self._engine is None:
            return
        message = self._engine.receive(timeout=0.0)
        if isinstance(message, Died):
            self._lost(message.reason)
        elif message is not None:
            self._account(message)

    def _account(self, message: Frame) -> None:
        """What an engine says about itself: its memory, what jobs took, answers to wishes."""
        if message.op != "account":
            return
        header = message.header
        try:
            self.engine.memory = memory_of(header["memory"])
            self._costs.add(measured(row) for row in header.get("measured", ()))
        except (KeyError, ValueError, StorageFailed) as error:
            log.warning("what the engine said about itself is lost: %s", error)
        if answer := self._wishes.pop(str(header.get("wish", "")), None):
            answer.give(header)
        self._changed("")

    def _engine_ready(self) -> bool:
        if self._engine is None:
            if self._closing.wait(min(0.2, max(0.0, self._not_before - time.monotonic()))):
                return False
            if time.monotonic() < self._not_before:
                return False
            self.engine = EngineState(state="starting")
            self._engine = self._start_engine()
            self._started_at = time.monotonic()
        if self.engine.state == "ready":
            return True
        message = self._engine.receive(timeout=0.2)
        if isinstance(message, Died):
            self._lost(self.engine.reason or message.reason)
            self._failed_starts += 1
            if self._failed_starts >= HOPELESS_STARTS:
                self._give_up_waiting()
        elif message is None and time.monotonic() - self._started_at > self._start_s:
            self._engine.kill(f"it was not ready after {self._start_s:g} seconds")
        elif message is not None and message.op == "broken":
            self.engine = EngineState(state="down", reason=str(message.header["message"]))
            self._advice = str(message.header["hint"])
        elif message is not None and message.op == "ready":
            self._failed_starts = 0
            header = message.header
            self.engine = EngineState(
                state="ready",
                device=header["device"],
                dtype=str(header.get("dtype", "")),
                versions=dict(header["versions"]),
            )
            self._changed("")
        return self.engine.state == "ready"

    def _give_up_waiting(self) -> None:
        """Fails every queued job: whoever waits for them learns why. New ones are tried anew."""
        self._failed_starts = 0
        for job_id in self._jobs.order():
            job = self._jobs.get(job_id)
            reason = self.engine.reason.rstrip(".")
            self._jobs.append(
                job_id,
                Failed(message=f"The engine does not start ({reason}).", hint=self._advice),
            )
            self._changed(job.owner)

    def _lost(self, reason: str) -> None:
        """The engine died: a new one is started, later and later if that keeps happening."""
        log.error("the engine ended: %s", reason)
        self._engine = None
        self._crashes += 1
        self.engine = EngineState(state="down", reason=reason)
        with self._lock:
            wishes, self._wishes = self._wishes, {}
        for answer in wishes.values():
            answer.give(None)
        self._changed("")
        if self._crashes > CALM_CRASHES:
            self._not_before = time.monotonic() + min(60.0, 2.0 ** (self._crashes - CALM_CRASHES))

    def _do(self, job: Job) -> None:
        engine = self._engine
        if engine is None:
            raise RuntimeError("a job was taken without an engine")
        try:
            files = self._album.files(owner=job.owner, task=job.task, request=job.request)
        except StudioError as error:
            self._endings.append((job.id, Failed(message=error.message, hint=error.hint)))
            self._write_endings()
            self._changed(job.owner)
            return
        live = Live(job=job)
        engine.send({"op": "watch", "on": self._watched(job.owner)})
        with self._lock:  # a cancel must not overtake its job
            self._live = live
            engine.send(
                {
                    "op": "run",
                    "job": job.id,
                    "task": job.task,
                    "request": dict(job.request),
                    "files": files,
                }
            )
            if job.id in self._stops:
                live.cancelled_at = time.monotonic()
                engine.send({"op": "cancel", "job": job.id})
        self._changed(job.owner)
        self._hint(engine, job)
        ending = self._followed(engine, live)
        if isinstance(ending, Finished | Failed | Cancelled) and self._engine is engine:
            self._crashes = 0
        with self._lock:
            self._live = None
            self._stops.discard(job.id)
        self._endings.append((job.id, ending))
        self._write_endings()
        self._changed(job.owner)

    def _hint(self, engine: EngineProcess, job: Job) -> None:
        """Tells the engine which checkpoint it will need next, if that is another one."""
        order = self._jobs.order()
        if not order:
            return
        with suppress(StudioError):  # it was taken back in between
            wanted = self._jobs.get(order[0]).request.get("checkpoint")
            if wanted and wanted != job.request.get("checkpoint"):
                engine.send({"op": "ahead", "checkpoint": wanted})

    def _followed(self, engine: EngineProcess, live: Live) -> Event:
        """Handles messages until the job is over; its last event."""
        try:
            while (ending := self._next(engine, live)) is None:
                pass
        except Exception:
            incident = secrets.token_hex(4)
            log.exception("incident %s while following job %s", incident, live.job.id)
            engine.send({"op": "cancel", "job": live.job.id})
            return Failed(
                message=f"Something went wrong (id {incident}).",
                hint="The log of the server says more under this id.",
            )
        return ending

    def _write_endings(self) -> None:
        """Writes what became of jobs; what a full disk refuses is tried again before the next job."""
        while self._endings:
            try:
                self._jobs.append(*self._endings[0])
            except StorageFailed as error:
                log.warning("a job's ending could not be written yet: %s", error)
                return
            self._endings.popleft()

    def _note(self, live: Live, event: Event) -> None:
        """Adds to the feed what is nice to know: a full disk does not stop a picture."""
        try:
            self._jobs.append(live.job.id, event)
        except StorageFailed as error:
            log.warning("an event could not be written: %s", error)

    def _next(self, engine: EngineProcess, live: Live) -> Event | None:
        """Handles one message; the job's last event once there is one."""
        if self._closing.is_set():
            engine.send({"op": "cancel", "job": live.job.id})
            return Interrupted(
                message="The studio was closed while this was being painted.",
                hint="Run it again: the same settings give the same picture.",
            )
        if self._wake.is_set():  # the queue is another one
            self._wake.clear()
            self._hint(engine, live.job)
        message = engine.receive(timeout=0.2)
        if isinstance(message, Died):
            self._lost(message.reason)
            if live.cancelled_at is not None:
                return Cancelled()
            return Failed(
                message=f"The engine stopped while painting this ({message.reason}).",
                hint=f"It has been started again; {message.advice}.",
            )
        if message is None:
            if reason := self._hung(live):
                engine.kill(reason)
            return None
        live.heard_at = time.monotonic()
        if message.header.get("job") != live.job.id:
            self._account(message)
            return None
        return self._handle(message, live)

    def _hung(self, live: Live) -> str:
        """Why the engine is to be killed; empty while it is not."""
        now = time.monotonic()
        stopping = live.cancelled_at is not None and live.loading is None
        if stopping and now - (live.cancelled_at or now) > HUNG_AFTER_S:
            return (
                "a job was stopped, and what ran could not be interrupted within "
                f"{HUNG_AFTER_S:g} seconds"
            )
        if now - live.heard_at > self._silence_s:
            return f"it said nothing for {self._silence_s:g} seconds"
        return ""

    def _handle(self, message: Frame, live: Live) -> Event | None:
        header = message.header
        match message.op:
            case "loading":
                live.loading = str(header["what"])
                self._note(live, Loading(what=live.loading))
            case "progress":
                self._progress(header, live)
            case "preview":
                live.preview = message.blob
                live.previews += 1
            case "picture":
                self._save(message, live)
            case "note":
                self._tell(str(header["note"]), live)
            case "done":
                return self._done(header, live)
            case "cancelled":
                return Cancelled()
            case "failed":
                return Failed(message=str(header["message"]), hint=str(header["hint"]))
            case _:
                return None
        self._changed(live.job.owner)
        return None

    def _progress(self, header: Mapping[str, Any], live: Live) -> None:
        live.loading = None
        live.progress = Progress(
            picture=header["picture"],
            pictures=header["pictures"],
            step=header["step"],
            steps=header["steps"],
            seconds_left=header.get("seconds_left"),
        )
        now = time.monotonic()
        last = live.progress.step == live.progress.steps
        if last or now - live.stored_at >= PROGRESS_EVERY_S:
            live.stored_at = now
            self._note(live, live.progress)

    def _tell(self, note: str, live: Live) -> None:
        """What was changed about a running job, so that it could go on."""
        try:
            self._jobs.note(live.job.id, note)
        except StorageFailed as error:
            log.warning("a note could not be written: %s", error)

    def _done(self, header: Mapping[str, Any], live: Live) -> Event:
        if live.unsaved:
            return Failed(
                message=f"The picture could not be saved yet. {live.unsaved}",
                hint="Keep the studio running: it is kept in memory and saved as soon as the disk "
                "takes it.",
            )
        return Finished(image_ids=tuple(live.image_ids), seconds=float(header["seconds"]))

    def _save(self, message: Frame, live: Live) -> None:
        header = message.header
        picture = Picture(
            index=header["index"],
            seed=header["seed"],
            width=header["width"],
            height=header["height"],
            pixels=message.blob,
            alpha=bool(header.get("alpha")),
            facts=header["facts"],
        )
        try:
            self._keep(live.job, picture, live.image_ids)
        except StorageFailed as error:
            log.warning("a picture could not be saved yet: %s", error)
            live.unsaved = error.message
            self._unsaved.append((live.job, picture))
            while len(self._unsaved) > MAX_UNSAVED:
                self._unsaved.popleft()

    def _keep(self, job: Job, picture: Picture, image_ids: list[str]) -> None:
        record = self._album.add(
            owner=job.owner,
            job_id=job.id,
            task=job.task,
            request=dict(job.request),
            picture=picture,
        )
        image_ids.append(record.id)
        saved = Saved(image_id=record.id, index=picture.index, seed=picture.seed)
        try:
            self._jobs.append(job.id, saved)
        except StorageFailed as error:  # the gallery has it, and tells whoever asks for the job
            log.warning("an event could not be written: %s", error)

    def _save_left_over(self) -> None:
        """Tries again to save what the full disk refused."""
        if not self._unsaved:
            return
        job, picture = self._unsaved[0]
        try:
            self._keep(job, picture, [])
        except StudioError:
            return
        except Exception:  # it would fail for ever, and hold up everybody behind it
            log.exception("a picture of job %s cannot be saved", job.id)
        self._unsaved.popleft()
        self._changed(job.owner)
