"""Studio: all that the browser, the API and the command line may ask for.

Every method is thread-safe and answers at once; nothing here waits for the engine. An `owner` is a
string: "local" on one's own machine, "user:…" behind a login, "visitor:…" on a public studio,
"guest:…" for who came by a share link.
What belongs to another owner does not exist.
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio import __version__
from studio.core.errors import InvalidRequest, NotFound, Refused
from studio.core.events import JobState
from studio.core.geometry import Size
from studio.core.records import ImageRecord, Job, Preset
from studio.core.requests import dump, field_naming, parse, pictures_in
from studio.costs.memory import Memory
from studio.costs.predict import Costs, machine_of
from studio.service.recovery import Recovery
from studio.service.seen import Seen
from studio.service.shelves import Shelves
from studio.service.styles import Styles
from studio.service.views import choices, job_json, memory_json, offers
from studio.service.watchers import Watchers
from studio.tasks._beside import beside
from studio.tasks._maps import named as named_preprocessor
from studio.tasks._masked import Masked, View
from studio.tasks._masked import view as masked_view
from studio.tasks._poses import Pose, read_pose
from studio.tasks._task import Task

if TYPE_CHECKING:
    from studio.checkpoints.catalog import Checkpoint
    from studio.checkpoints.installs import Installs
    from studio.gallery.inputs import Inputs
    from studio.gallery.store import Gallery, Page, Query
    from studio.jobs.store import JobStore
    from studio.jobs.worker import Worker
    from studio.prompts.foreign import Recovered

RECENT = 12
"""Ended jobs in a live snapshot, not counting maps."""
MAPS = "preprocess"
"""The task whose jobs are previews of a form, as many as somebody tries settings."""
LOCAL = "local"
"""The person at this machine."""
STRANGERS_WAITING = 4
"""Jobs that somebody without a name may have waiting: a visitor, or the guest of a link."""
UNLOAD_S = 10.0
"""How long unloading is waited for; behind a job it takes as long as that."""
GUEST = "guest:"
"""How the owner of somebody starts who came by a share link."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """What the machine's owner lends of it to each guest of a share link."""

    jobs_per_day: int
    pixels: int
    """Width × height of the largest picture."""


class Studio:
    """The one door to everything. Built by `studio.app`, and nowhere else."""

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        shelves: Shelves,
        jobs: "JobStore",
        worker: "Worker",
        gallery: "Gallery",
        inputs: "Inputs",
        watchers: Watchers,
        file_of: Callable[[str, str], Path],
        styles: Styles,
        recovery: Recovery,
        count_tokens: "Callable[[Checkpoint, str], dict[str, int]]",
        max_waiting: int,
        max_waiting_local: int,
        guests: Quota,
        costs: Costs,
        installs: "Installs",
        installers: frozenset[str],
        starters: Sequence[Mapping[str, Any]],
    ) -> None:
        self._tasks = tasks
        self._shelves = shelves
        self._jobs = jobs
        self._worker = worker
        self._gallery = gallery
        self._inputs = inputs
        self._watchers = watchers
        self._file_of = file_of
        self._styles = styles
        self._recovery = recovery
        self._count_tokens = count_tokens
        self._max_waiting = max_waiting
        self._max_waiting_local = max_waiting_local
        self._guests = guests
        self._costs = costs
        self._installs = installs
        self._installers = installers
        self._starters = starters
        self._shelf = 0

    # Jobs

    def submit(self, owner: str, task: str, fields: Mapping[str, Any]) -> Job:
        """Decides everything the request left open and queues it.

        Raises `InvalidRequest`, `NotFound`, `Busy` or `StorageFailed`; then nothing was queued.
        """
        entry = self._task(task)
        request = parse(entry.request, fields)
        self._require_pictures(owner, request, entry.pictures(request))
        resolved = entry.resolve(request, self.seen_by(owner))
        guest = owner.startswith(GUEST)
        if guest:
            _require_small(resolved.pixels, self._guests.pixels)
        self._gallery.require_space()
        job = self._jobs.add(
            owner,
            task,
            dump(resolved.request),
            notes=resolved.notes,
            limit=self._may_wait(owner),
            per_day=self._guests.jobs_per_day if guest else None,
        )
        self._worker.wake()
        self._watchers.changed(owner)
        return job

    def _require_pictures(self, owner: str, request: object, refs: Iterable[str]) -> None:
        """Raises `NotFound` for the first that is not there, with the field that names it."""
        for ref in refs:
            try:
                self._file_of(owner, ref)
            except NotFound as error:
                field = field_naming(request, ref)
                raise NotFound(error.message, error.hint, field=field) from None

    def _task(self, task: str) -> Task:
        if task not in self._tasks:
            raise InvalidRequest(
                f"There is no task called '{task[:60]}'.",
                f"The tasks are {', '.join(self._tasks)}.",
                field="task",
            )
        return self._tasks[task]

    def seen_by(self, owner: str) -> Seen:
        """What a request of this owner may name."""
        return Seen(
            shelves=self._shelves,
            owner=owner,
            file_of=self._file_of,
            preset_of=self._styles.get,
            machine=machine_of(self._memory()),
        )

    def mask(self, owner: str, fields: Mapping[str, Any]) -> "View":
        """The mask that an inpainting request with these fields would use.

        `fields` are those of `tasks._masked.Masked`. Raises `StudioError`.
        """
        return masked_view(parse(Masked, fields), self.seen_by(owner))

    def pose(
        self, owner: str, data: Mapping[str, Any], size: Size | None = None
    ) -> tuple[str, Pose]:
        """The people that `data` tells of, as `tasks._poses.read_pose` has it, and the ref of their
        map, which is stored as an upload."""
        pose = read_pose(data, size)
        file = io.BytesIO()
        pose.image.save(file, "PNG", compress_level=1)
        return self.add_input(owner, file.getvalue(), "image/png"), pose

    def _may_wait(self, owner: str) -> int:
        if owner == LOCAL:
            return self._max_waiting_local
        named = owner.startswith("user:")
        return self._max_waiting if named else min(STRANGERS_WAITING, self._max_waiting)

    def dismiss_guests(self) -> None:
        """Sharing is over: what guests are waiting for is not painted any more."""
        for owner in self._jobs.busy_owners():
            if owner.startswith(GUEST):
                for job in self._jobs.active(owner):
                    self.cancel(owner, job.id)

    def job(self, owner: str, job_id: str) -> Job:
        return self._jobs.get(job_id, owner)

    def jobs(self, owner: str, limit: int = 50, *, active_only: bool = False) -> tuple[Job, ...]:
        """Running and queued jobs in the order they run, then the ended ones, newest first."""
        return self._jobs.active(owner) if active_only else self._jobs.of(owner, limit)

    def cancel(self, owner: str, job_id: str) -> Job:
        """Takes a job from the queue, or stops it at its next step; an ended job stays as it is."""
        job = self._jobs.get(job_id, owner)
        if job.state is JobState.QUEUED and self._jobs.cancel_queued(job_id):
            self._watchers.changed(owner)
        elif not job.state.over:
            self._worker.stop(job_id)
        return self._jobs.get(job_id, owner)

    def move(self, owner: str, job_id: str, before: str | None) -> None:
        """Puts a queued job before another of one's own, or last. Raises `NotFound`."""
        self._jobs.move(owner, job_id, before)
        self._watchers.changed(owner)

    def rerun(self, owner: str, job_id: str) -> Job:
        """Queues the same resolved request again: the same pixels, as a new job."""
        job = self._jobs.get(job_id, owner)
        return self.submit(owner, job.task, job.request)

    def events(
        self, owner: str, job_id: str, after: int = 0
    ) -> tuple[tuple[int, dict[str, Any]], ...]:
        """The stored feed of a job from entry `after` + 1 on, numbered from 1."""
        self._jobs.get(job_id, owner)
        return self._jobs.events(job_id, after)

    def preview(self, owner: str, job_id: str) -> bytes | None:
        """How the picture looks now, as a JPEG; None if there is nothing to see."""
        self._jobs.get(job_id, owner)
        live = self._worker.live(job_id)
        return live.preview if live else None

    def watch(self, owner: str) -> Any:
        """A context: previews are made for this owner's jobs while somebody is inside."""
        return self._watchers.watch(owner, self._worker.look)

    def version(self, owner: str) -> int:
        """Grows whenever a job or picture of this owner changes. Cheap."""
        return self._watchers.version(owner)

    def live(self, owner: str) -> dict[str, Any]:
        """Everything a page shows that moves, in one snapshot."""
        version = self.version(owner)
        engine = self._worker.engine
        active = self._jobs.active(owner)
        waiting = [job.position for job in active if job.position is not None]
        running = any(job.state is JobState.RUNNING for job in active)
        newest, painted = self._jobs.ended(owner, 1), self._jobs.ended(owner, RECENT, but=MAPS)
        recent = {job.id: job for job in (*newest, *painted)}
        return {
            "version": version,
            "warm": engine.state == "ready",
            "engine": {"state": engine.state, "device": engine.device, "reason": engine.reason},
            "jobs": [{**self.job_json(job), **self._moving(job.id)} for job in active],
            "ahead": min(waiting) - 1 if waiting and not running else 0,
            "recent": [self.job_json(job) for job in recent.values()],
            "shelf": self._shelf,
            "installs": self._installs_json() if self.may_install(owner) else [],
        }

    def _moving(self, job_id: str) -> dict[str, Any]:
        live = self._worker.live(job_id)
        return {
            "progress": asdict(live.progress) if live and live.progress else None,
            "loading": live.loading if live else None,
            "preview": live.previews if live else 0,
        }

    # What it takes

    def estimate(self, owner: str, task: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What a request with these fields would take, as far as that can be told; nothing is
        queued, its prompt may still be empty, and what its preprocessors want may be missing. Raises
        `InvalidRequest`."""
        entry = self._task(task)
        if "prompt" in fields and not str(fields["prompt"]).strip():
            fields = {**fields, "prompt": "anything"}
        seen = replace(self.seen_by(owner), supposing=True)
        resolved = entry.resolve(parse(entry.request, fields), seen)
        work = resolved.work or entry.work(resolved.request)
        if work is None and resolved.by:
            told = self._costs.without_checkpoint(resolved.by, resolved.pixels, self._memory())
            return {**told, "size": [None, None]}
        size = [getattr(resolved.request, side, None) for side in ("width", "height")]
        checkpoint = self._shelves.catalog.get(work.checkpoint) if work else None
        if work is None or checkpoint is None or checkpoint.anatomy is None:
            return {**self._costs.unknown(), "size": size}
        shelves = self._shelves
        besides = beside(work, checkpoint, shelves.controls, shelves.extras, shelves.image_prompts)
        refiner = self._shelves.catalog.get(work.refiner).anatomy if work.refiner else None
        told = self._costs.of(work, checkpoint.anatomy, besides, self._memory(), refiner)
        return {**told, "size": size}

    def _memory(self) -> Memory | None:
        return self._worker.engine.memory

    def memory(self, owner: str) -> dict[str, Any]:
        """What is in the engine's memory, and how far away each checkpoint is. Raises `Refused`."""
        _require_trusted(owner)
        memory = self._memory()
        pins = self._costs.pins()
        return {
            "engine": self._worker.engine.state,
            **memory_json(memory),
            "checkpoints": [
                {
                    "id": one.id,
                    "label": one.label,
                    "family": one.family_label,
                    "size_bytes": one.size_bytes,
                    "where": memory.where(one.id) if memory else "disk",
                    "held_bytes": sum(held.bytes for held in memory.of(one.id)) if memory else 0,
                    "swap_seconds": self._costs.swap(one.id, one.anatomy, memory),
                    "pinned": one.id in pins,
                }
                for one in self._shelves.catalog.all()
                if one.anatomy and not one.problem
            ],
        }

    def unload(self, owner: str) -> dict[str, Any]:
        """Takes all weights out of the memory, and forgets what was pinned. A running job keeps its own, and what it leaves is
        taken out behind it: then `done` is false, and `after` not known yet. Waits for the engine,
        but not for a job. Raises `Refused`."""
        _require_trusted(owner)
        self._costs.unpin_all()
        before = self._memory()
        answer = self._worker.wish("unload")
        done = answer.wait(UNLOAD_S)
        after = self._memory() if done else None
        return {
            "done": done,
            "before": memory_json(before),
            "after": memory_json(after) if done else None,
        }

    def pin(self, owner: str, checkpoint_id: str, pinned: bool) -> None:
        """Whether a checkpoint stays in memory once it is there. Raises `Refused` and
        `InvalidRequest`."""
        _require_trusted(owner)
        found = self._shelves.catalog.get(checkpoint_id)
        self._costs.pin(found.id, pinned)
        self._worker.wish("pin", checkpoint=found.id, pinned=pinned)

    # Where weights come from

    def shelf_changed(self) -> None:
        """Files of weights came, changed or went: pages look anew at what there is."""
        self._shelf += 1
        self._watchers.changed("")

    def installs(self, owner: str) -> dict[str, Any]:
        """What is being installed and what could be; nothing for those who may not install."""
        own = self.may_install(owner)
        return {
            "may_install": own,
            "installs": self._installs_json() if own else [],
            "starters": [dict(starter) for starter in self._starters] if own else [],
            "free_bytes": self._installs.free_bytes() if own else 0,
        }

    def may_install(self, owner: str) -> bool:
        """The person at this machine, and whom `--allow-install` names."""
        return owner == LOCAL or owner in self._installers

    def _require_installer(self, owner: str) -> None:
        if not self.may_install(owner):
            named = owner.startswith("user:")
            raise Refused(
                "Only the person at this machine can install checkpoints.",
                "Ask them; the flag --allow-install lets you do it too." if named else "Ask them.",
            )

    def look_at_source(self, owner: str, source: str, name: str, sha256: str) -> dict[str, Any]:
        """What installing it would fetch. Asks the network; raises `StudioError`."""
        self._require_installer(owner)
        return self._installs.look(source, name, sha256, inside=owner == LOCAL)

    def install(self, owner: str, source: str, name: str, sha256: str) -> dict[str, Any]:
        """Begins to install it. Asks the network; raises `StudioError`, then nothing was begun."""
        self._require_installer(owner)
        entry = self._installs.add(source, name, sha256, inside=owner == LOCAL)
        return self._installs.start(entry.id).shown()

    def install_weights(self, owner: str, preprocessor_id: str) -> dict[str, Any]:
        """Begins to install what a preprocessor wants; as `install`."""
        self._require_installer(owner)
        found = named_preprocessor(preprocessor_id, "preprocessor")
        needs = found.needs
        if needs is None:
            raise InvalidRequest(f"'{found.label}' needs no weights.", "Use it.")
        entry = self._installs.add_files(needs.repo, needs.files, needs.place, needs.label)
        return self._installs.start(entry.id).shown()

    def stop_install(self, owner: str, install_id: str) -> dict[str, Any]:
        self._require_installer(owner)
        return self._installs.stop(install_id).shown()

    def resume_install(self, owner: str, install_id: str) -> dict[str, Any]:
        self._require_installer(owner)
        return self._installs.start(install_id).shown()

    def remove_install(self, owner: str, install_id: str) -> None:
        """Forgets it. What was installed stays. Raises `NotFound`."""
        self._require_installer(owner)
        self._installs.remove(install_id)

    def _installs_json(self) -> list[dict[str, Any]]:
        return [entry.shown() for entry in self._installs.all()]

    # Pictures

    def records(self, owner: str, query: "Query") -> "Page":
        return self._gallery.records(owner, query)

    def record(self, owner: str, image_id: str) -> ImageRecord:
        return self._gallery.record(owner, image_id)

    def star(self, owner: str, image_id: str, starred: bool) -> ImageRecord:
        self._gallery.star(owner, image_id, starred)
        self._watchers.changed(owner)
        return self._gallery.record(owner, image_id)

    def trash(self, owner: str, image_ids: Sequence[str]) -> None:
        """Puts pictures into the trash, from which `restore` takes them back."""
        self._gallery.trash(owner, image_ids)
        self._watchers.changed(owner)

    def restore(self, owner: str, image_ids: Sequence[str]) -> None:
        self._gallery.restore(owner, image_ids)
        self._watchers.changed(owner)

    def empty_trash(self, owner: str) -> None:
        """Deletes for good what is in the trash, but for pictures that running and waiting jobs start
        from."""
        needed = pictures_in([dict(job.request) for job in self._jobs.active(owner)])
        self._gallery.empty_trash(owner, needed)
        self._watchers.changed(owner)

    def file(self, owner: str, image_id: str) -> Path:
        """The PNG as it was saved."""
        return self._gallery.file(owner, image_id)

    def thumb(self, owner: str, image_id: str) -> Path:
        """A WebP of at most 384 px."""
        return self._gallery.thumb(owner, image_id)

    def add_input(self, owner: str, data: bytes, content_type: str | None = None) -> str:
        """Stores an upload by its content; the ref is its SHA-256."""
        return self._inputs.add(owner, data, content_type)

    def remove_input(self, owner: str, ref: str) -> None:
        """Raises `NotFound`, and `InUse` while a picture or a waiting job was made from it."""
        self._inputs.remove(owner, ref)

    def picture_file(self, owner: str, ref: str) -> Path:
        """Of an upload, as it came in, or of a picture in the gallery. Raises `NotFound`."""
        return self._file_of(owner, ref)

    def read_settings(self, data: bytes) -> "Recovered":
        """The settings inside a picture made here or by another program, matched to what is here."""
        return self._recovery.read(data)

    # The page

    def tokens(self, checkpoint_id: str | None, text: str) -> dict[str, int]:
        """`used` tokens of a prompt, the encoder's `window`, and how many `chunks` that makes."""
        return self._count_tokens(self._shelves.catalog.get(checkpoint_id), text)

    def draft(self, owner: str, tab: str) -> dict[str, Any]:
        """The form of a tab as this owner left it; empty if never touched."""
        return self._gallery.draft(owner, tab)

    def save_draft(self, owner: str, tab: str, values: Mapping[str, Any]) -> None:
        self._gallery.save_draft(owner, tab, dict(values))

    def presets(self, owner: str) -> list[dict[str, Any]]:
        """Styles in words: one's own, then the house's, each name once."""
        return self._styles.shown(owner)

    def save_preset(self, owner: str, preset: Preset) -> dict[str, Any]:
        """Keeps a style of one's own. Raises `InvalidRequest`, `TooLarge`."""
        return self._styles.save(owner, preset)

    def remove_preset(self, owner: str, name: str) -> None:
        self._styles.remove(owner, name)

    def export_presets(self, owner: str) -> bytes:
        """One's own styles as A1111's `styles.csv`."""
        return self._styles.exported(owner)

    def import_presets(self, owner: str, data: bytes) -> list[dict[str, Any]]:
        """Makes the styles of such a file one's own. Raises `InvalidRequest`, `TooLarge`."""
        return self._styles.take_in(owner, data)

    def offers(self) -> dict[str, Any]:
        """What a form lets people choose from: `choices` without what only a request's author asks
        for, which takes longer than drawing the page."""
        return offers(self._shelves, machine_of(self._memory()))

    def choices(self) -> dict[str, Any]:
        """What a request may name, with each task's JSON schema."""
        return choices(self._shelves, self._tasks, machine_of(self._memory()))

    def health(self) -> dict[str, Any]:
        engine = self._worker.engine
        return {
            "status": "ok",
            "version": __version__,
            "engine": {"state": engine.state, "device": engine.device},
        }

    def job_json(self, job: Job) -> dict[str, Any]:
        """A job as front ends see it, with the pictures that it has so far."""
        return job_json(job, self._gallery.job_images(job.id))


def _require_small(pixels: int, most: int) -> None:
    if pixels > most:
        raise InvalidRequest(
            f"A guest's picture may have {most / 1e6:.2g} MP at most (got {pixels / 1e6:.2g} MP).",
            "Choose a smaller size.",
            field="width",
        )


def _require_trusted(owner: str) -> None:
    """The machine is that of the person at it, and of those with a name."""
    if owner != LOCAL and not owner.startswith("user:"):
        raise Refused("The memory is for those whose machine this is.", "Ask them.")
