"""Studio: all that the browser, the API and the command line may ask for.

Every method is thread-safe and answers at once; nothing here waits for the engine. An `owner` is a
string: "local" on one's own machine, "user:…" behind a login, "visitor:…" on a public studio,
"guest:…" for who came by a share link.
What belongs to another owner does not exist.
"""

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio import __version__, samplers
from studio.core import intake
from studio.core.errors import InvalidRequest, Refused, StudioError
from studio.core.events import JobState
from studio.core.geometry import Size
from studio.core.records import ImageRecord, Job, Preset
from studio.core.requests import dump, parse, schema
from studio.costs.memory import Memory
from studio.costs.predict import Costs
from studio.tasks._extras import MOST_NAMED, with_loras_here
from studio.tasks._maps import named as named_preprocessor
from studio.tasks._maps import preprocessors
from studio.tasks._masked import Masked, View
from studio.tasks._masked import view as masked_view
from studio.tasks._poses import SKELETON, Pose, read_pose
from studio.tasks._task import Task
from studio.tasks.style import stylizers

if TYPE_CHECKING:
    from PIL.Image import Image

    from studio.checkpoints.catalog import Catalog, Checkpoint
    from studio.checkpoints.controls import ControlNet, Controls
    from studio.checkpoints.embeddings import Embedding
    from studio.checkpoints.extras import Extras
    from studio.checkpoints.files import File
    from studio.checkpoints.imageprompts import ImagePrompt, ImagePrompts
    from studio.checkpoints.installs import Installs
    from studio.checkpoints.loras import Lora
    from studio.checkpoints.meant import Meant
    from studio.checkpoints.vaes import Vae
    from studio.gallery.inputs import Inputs
    from studio.gallery.store import Gallery, Page, Query
    from studio.jobs.store import JobStore
    from studio.jobs.worker import Worker
    from studio.preprocessors._preprocessor import Preprocessor
    from studio.prompts.foreign import Recovered
    from studio.upscalers._shelf import Shelf
    from studio.upscalers._upscaler import Upscaler

RECENT = 12
"""Ended jobs in a live snapshot."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class StyleFiles:
    """What is to be known of files of styles in words."""

    house: Callable[[], tuple[Preset, ...]]
    """Those that everybody has."""
    checked: Callable[[Preset], Preset]
    read: Callable[[bytes], tuple[Preset, ...]]
    write: Callable[[Sequence[Preset]], bytes]


class Watchers:
    """Who looks at the moment, and what has changed since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[str, int] = {}
        self._everyone = 0
        self._watching: dict[str, int] = {}

    def changed(self, owner: str) -> None:
        """Something of this owner's moved; "" is for everybody."""
        with self._lock:
            if owner:
                self._versions[owner] = self._versions.get(owner, 0) + 1
            else:
                self._everyone += 1

    def version(self, owner: str) -> int:
        with self._lock:
            return self._versions.get(owner, 0) + self._everyone

    def watched(self, owner: str) -> bool:
        return self._watching.get(owner, 0) > 0

    @contextmanager
    def watch(self, owner: str, look: Callable[[], None]) -> Iterator[None]:
        with self._lock:
            self._watching[owner] = self._watching.get(owner, 0) + 1
        look()
        try:
            yield
        finally:
            with self._lock:
                self._watching[owner] -= 1
                if not self._watching[owner]:
                    del self._watching[owner]
            look()


@dataclass(frozen=True, slots=True)
class Seen:
    """`tasks.Facts` for one owner: what is not theirs is not there."""

    catalog: "Catalog"
    controls: "Controls"
    image_prompts: "ImagePrompts"
    upscalers: "Shelf"
    extras: "Extras"
    owner: str
    file_of: Callable[[str, str], Path]
    preset_of: Callable[[str, str], Preset]

    def checkpoint(self, checkpoint_id: str | None) -> "Checkpoint":
        return self.catalog.get(checkpoint_id)

    def size(self, ref: str) -> Size:
        return intake.upright_size(self.file_of(self.owner, ref))

    def picture(self, ref: str) -> "Image":
        return intake.load(self.file_of(self.owner, ref))

    def controlnet(
        self, control_id: str | None, kind: str, checkpoint: "Checkpoint"
    ) -> "ControlNet":
        if control_id is not None:
            found = self.controls.get(control_id)
            found.require_fits(checkpoint.label, checkpoint.encoder)
            return found
        for control in self.controls.fitting(checkpoint.encoder):
            if kind in control.kinds:
                return control
        raise InvalidRequest(
            f"There is no ControlNet for {kind} that fits '{checkpoint.label}'.",
            "Put one into the folder 'controlnet' of the data folder, or choose another checkpoint.",
            field="units",
        )

    def lora(self, name: str, checkpoint: "Checkpoint") -> "Lora":
        return self.extras.loras.find(name, checkpoint)

    def image_prompt(self, prompt_id: str | None, checkpoint: "Checkpoint") -> "ImagePrompt":
        found = self.image_prompts.get(prompt_id, checkpoint)
        self.image_prompts.looker(found)
        return found

    def embeddings(self, checkpoint: "Checkpoint") -> Mapping[str, "Embedding"]:
        return self.extras.words(checkpoint)

    def vae(self, name: str, checkpoint: "Checkpoint") -> "Vae":
        return self.extras.vaes.find(name, checkpoint)

    def preset(self, name: str) -> Preset:
        return self.preset_of(self.owner, name)

    def upscaler(self, upscaler_id: str | None) -> "Upscaler":
        return self.upscalers.get(upscaler_id)


class Studio:
    """The one door to everything. Built by `studio.app`, and nowhere else."""

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task],
        catalog: "Catalog",
        controls: "Controls",
        image_prompts: "ImagePrompts",
        upscalers: "Shelf",
        extras: "Extras",
        has_weights: "Callable[[Preprocessor], bool]",
        jobs: "JobStore",
        worker: "Worker",
        gallery: "Gallery",
        inputs: "Inputs",
        watchers: Watchers,
        file_of: Callable[[str, str], Path],
        style_files: StyleFiles,
        recover: "Callable[[bytes], Recovered]",
        meant: "Callable[[str, str], Meant]",
        meant_lora: "Callable[[str, str], str | None]",
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
        self._catalog = catalog
        self._controls = controls
        self._image_prompts = image_prompts
        self._upscalers = upscalers
        self._extras = extras
        self._has_weights = has_weights
        self._jobs = jobs
        self._worker = worker
        self._gallery = gallery
        self._inputs = inputs
        self._watchers = watchers
        self._file_of = file_of
        self._style_files = style_files
        self._recover = recover
        self._meant = meant
        self._meant_lora = meant_lora
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

        Raises `InvalidRequest`, `Busy` or `StorageFailed`; then nothing was queued.
        """
        entry = self._task(task)
        resolved = entry.resolve(parse(entry.request, fields), self.seen_by(owner))
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

    def _task(self, task: str) -> Task:
        if task not in self._tasks:
            raise InvalidRequest(
                f"There is no task called '{task[:60]}'.",
                f"The tasks are {', '.join(self._tasks)}.",
                field="task",
            )
        return self._tasks[task]

    def seen_by(self, owner: str) -> "Seen":
        """What a request of this owner may name."""
        return Seen(
            catalog=self._catalog,
            controls=self._controls,
            image_prompts=self._image_prompts,
            upscalers=self._upscalers,
            extras=self._extras,
            owner=owner,
            file_of=self._file_of,
            preset_of=self.preset,
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
        return {
            "version": version,
            "warm": engine.state == "ready",
            "engine": {"state": engine.state, "device": engine.device, "reason": engine.reason},
            "jobs": [{**self.job_json(job), **self._moving(job.id)} for job in active],
            "ahead": min(waiting) - 1 if waiting and not running else 0,
            "recent": [self.job_json(job) for job in self._jobs.ended(owner, RECENT)],
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
        queued, and its prompt may still be empty. Raises `InvalidRequest`."""
        entry = self._task(task)
        if "prompt" in fields and not str(fields["prompt"]).strip():
            fields = {**fields, "prompt": "anything"}
        resolved = entry.resolve(parse(entry.request, fields), self.seen_by(owner))
        work = resolved.work or entry.work(resolved.request)
        size = [getattr(resolved.request, side, None) for side in ("width", "height")]
        checkpoint = self._catalog.get(work.checkpoint) if work else None
        if work is None or checkpoint is None or checkpoint.anatomy is None:
            return {**self._costs.unknown(), "size": size}
        nets = {name: self._controls.get(name).parameters for name in work.controls}
        refiner = self._catalog.get(work.refiner).anatomy if work.refiner else None
        told = self._costs.of(work, checkpoint.anatomy, nets, self._memory(), refiner)
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
            **_memory_json(memory),
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
                for one in self._catalog.all()
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
            "before": _memory_json(before),
            "after": _memory_json(after) if done else None,
        }

    def pin(self, owner: str, checkpoint_id: str, pinned: bool) -> None:
        """Whether a checkpoint stays in memory once it is there. Raises `Refused` and
        `InvalidRequest`."""
        _require_trusted(owner)
        self._catalog.get(checkpoint_id)
        self._costs.pin(checkpoint_id, pinned)
        self._worker.wish("pin", checkpoint=checkpoint_id, pinned=pinned)

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
        """Deletes for good what is in the trash."""
        self._gallery.empty_trash(owner)
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
        """The settings inside a picture made here or by another program.

        The checkpoint is among them if the one of that hash or name is here; if not, or if it is
        another one of that name, a note says so. The upscaler of a second pass goes by its name,
        LoRAs by name or hash; tags of those that are not here are taken out. A sampler becomes its
        namesake that fits the checkpoint.
        """
        return self._with_sampler(
            self._with_refiner(
                self._with_checkpoint(self._with_extras(self._with_upscaler(self._recover(data))))
            )
        )

    def _with_sampler(self, found: "Recovered") -> "Recovered":
        """The name "Euler, Simple" means one way with a diffusion checkpoint and another with a flow."""
        name = found.fields.get("sampler")
        if name is None:
            return found
        with suppress(StudioError):  # a checkpoint or a sampler that is not here was told already
            checkpoint = self._catalog.get(found.fields.get("checkpoint"))
            if row := samplers.fitting(name, checkpoint.samplers):
                return replace(found, fields={**found.fields, "sampler": row.id})
        return found

    def _with_checkpoint(self, found: "Recovered") -> "Recovered":
        """By hash or name."""
        if not found.checkpoint_name and not found.checkpoint_hash:
            return found
        meant = self._meant(found.checkpoint_name or "", found.checkpoint_hash or "")
        fields = {"checkpoint": meant.checkpoint_id} if meant.checkpoint_id else {}
        notes = (meant.note,) if meant.note else ()
        return replace(found, fields={**found.fields, **fields}, notes=(*found.notes, *notes))

    def _with_refiner(self, found: "Recovered") -> "Recovered":
        """By hash or name too, if it is one for the checkpoint."""
        without = {k: v for k, v in found.fields.items() if k != "refiner_after"}
        if not found.refiner_name and not found.refiner_hash:
            return replace(found, fields=without)
        meant = self._meant(found.refiner_name or "", found.refiner_hash or "")
        with suppress(StudioError):
            refiner = self._catalog.get(meant.checkpoint_id or "")
            if refiner.family in self._catalog.get(found.fields.get("checkpoint")).refiners:
                return replace(found, fields={**found.fields, "refiner": refiner.id})
        name = found.refiner_name or found.refiner_hash
        note = f"The refiner '{name}' is not here, or none for this checkpoint; it is left out."
        return replace(found, fields=without, notes=(*found.notes, note))

    def _with_extras(self, found: "Recovered") -> "Recovered":
        """VAE and embeddings go by name, too."""
        fields, notes = dict(found.fields), list(found.notes)
        if name := found.vae_name:
            if vae := self._extras.vaes.meant(name):
                fields["vae"] = vae
            else:
                notes.append(f"The VAE '{name}' is not here; the checkpoint's own is used.")
        notes += [
            f"The embedding '{name}' is not here: it is read as a word."
            for name in found.embeddings[:MOST_NAMED]
            if self._extras.embeddings.meant(name) is None
        ]
        return self._with_loras(replace(found, fields=fields, notes=tuple(notes)))

    def _with_loras(self, found: "Recovered") -> "Recovered":
        prompt, notes = with_loras_here(
            found.prompt, lambda name: self._meant_lora(name, found.lora_hashes.get(name, ""))
        )
        if prompt == found.prompt:
            return found
        fields = {**found.fields, "prompt": prompt}
        return replace(found, prompt=prompt, fields=fields, notes=(*found.notes, *notes))

    def _with_upscaler(self, found: "Recovered") -> "Recovered":
        hires = dict(found.fields.get("hires") or {})
        name = hires.pop("upscaler", None)
        if name is None:
            return found
        if upscaler := self._upscalers.named(name):
            hires["upscaler"] = upscaler.id
            return replace(found, fields={**found.fields, "hires": hires})
        missing = f"The upscaler '{name}' is not here; the studio's own is used."
        return replace(
            found, fields={**found.fields, "hires": hires}, notes=(*found.notes, missing)
        )

    # The page

    def tokens(self, checkpoint_id: str | None, text: str) -> dict[str, int]:
        """`used` tokens of a prompt, the encoder's `window`, and how many `chunks` that makes."""
        return self._count_tokens(self._catalog.get(checkpoint_id), text)

    def draft(self, owner: str, tab: str) -> dict[str, Any]:
        """The form of a tab as this owner left it; empty if never touched."""
        return self._gallery.draft(owner, tab)

    def save_draft(self, owner: str, tab: str, values: Mapping[str, Any]) -> None:
        self._gallery.save_draft(owner, tab, dict(values))

    def presets(self, owner: str) -> list[dict[str, Any]]:
        """Styles in words: one's own, then the house's, each name once."""
        own = self._gallery.presets(owner)
        listed: dict[str, dict[str, Any]] = {}
        for preset, mine in (*((p, True) for p in own), *((p, False) for p in self._house())):
            listed.setdefault(preset.name, {**asdict(preset), "own": mine})
        return list(listed.values())

    def preset(self, owner: str, name: str) -> Preset:
        """Raises `InvalidRequest`."""
        for preset in (*self._gallery.presets(owner), *self._house()):
            if preset.name == name:
                return preset
        raise InvalidRequest(
            f"There is no style '{name[:60]}'.",
            "Choose another one, or write one of that name.",
            field="styles",
        )

    def save_preset(self, owner: str, preset: Preset) -> dict[str, Any]:
        """Keeps a style of one's own. Raises `InvalidRequest`, `TooLarge`."""
        kept = self._style_files.checked(preset)
        self._gallery.save_presets(owner, [kept])
        return {**asdict(kept), "own": True}

    def remove_preset(self, owner: str, name: str) -> None:
        self._gallery.remove_preset(owner, name)

    def export_presets(self, owner: str) -> bytes:
        """One's own styles as A1111's `styles.csv`."""
        return self._style_files.write(self._gallery.presets(owner))

    def import_presets(self, owner: str, data: bytes) -> list[dict[str, Any]]:
        """Makes the styles of such a file one's own. Raises `InvalidRequest`, `TooLarge`."""
        self._gallery.save_presets(owner, self._style_files.read(data))
        return self.presets(owner)

    def _house(self) -> tuple[Preset, ...]:
        return self._style_files.house()

    def choices(self) -> dict[str, Any]:
        """What a request may name, with each task's JSON schema."""
        checkpoints, upscalers = self._catalog.all(), self._upscalers.all()
        usable = [checkpoint for checkpoint in checkpoints if not checkpoint.problem]

        def fits(file: "File") -> list[str]:
            return [] if file.problem else [one.id for one in usable if file.fits(one)]

        return {
            "checkpoints": [_checkpoint_json(checkpoint) for checkpoint in checkpoints],
            "controlnets": [
                {
                    "id": control.id,
                    "label": control.label,
                    "kinds": list(control.kinds),
                    "size_bytes": control.size_bytes,
                    "fits": [c.id for c in usable if control.fits(c.encoder)],
                    "problem": control.problem,
                }
                for control in self._controls.all()
            ],
            "image_prompts": [
                {
                    "id": prompt.id,
                    "label": prompt.label,
                    "size_bytes": prompt.size_bytes,
                    "fits": [c.id for c in usable if prompt.fits(c)],
                    "problem": prompt.problem,
                }
                for prompt in self._image_prompts.all()
            ],
            "loras": [
                {**_file_json(file), "alias": file.alias, "fits": fits(file)}
                for file in self._extras.loras.all()
            ],
            "embeddings": [
                {**_file_json(file), "vectors": file.vectors, "fits": fits(file)}
                for file in self._extras.embeddings.all()
            ],
            "vaes": [{**_file_json(file), "fits": fits(file)} for file in self._extras.vaes.all()],
            "refiners": [
                {
                    "id": one.id,
                    "label": one.label,
                    "fits": [c.id for c in usable if one.family in c.refiners],
                }
                for one in usable
                if any(one.family in c.refiners for c in usable)
            ],
            "stylizers": [
                {
                    "id": entry.id,
                    "label": entry.label,
                    "about": entry.about,
                    "paints": entry.repaint is not None,
                    "schema": schema(entry.params),
                }
                for entry in stylizers().values()
            ],
            "preprocessors": [
                {
                    "id": entry.id,
                    "label": entry.label,
                    "about": entry.about,
                    "kind": entry.kind.value,
                    "ready": self._has_weights(entry),
                    "needs": asdict(entry.needs) if entry.needs else None,
                    "schema": schema(entry.params),
                }
                for entry in preprocessors().values()
            ],
            "skeleton": dict(SKELETON),
            "samplers": [{"id": row.id, "label": row.label} for row in samplers.ROWS],
            "upscalers": [_upscaler_json(upscaler) for upscaler in upscalers],
            "tasks": [
                {"id": task.id, "label": task.label, "schema": schema(task.request)}
                for task in self._tasks.values()
            ],
            "default_checkpoint": usable[0].id if usable else None,
            "default_upscaler": self._upscalers.get(None).id,
        }

    def health(self) -> dict[str, Any]:
        engine = self._worker.engine
        return {
            "status": "ok",
            "version": __version__,
            "engine": {"state": engine.state, "device": engine.device},
        }

    def job_json(self, job: Job) -> dict[str, Any]:
        """A job as front ends see it, with the pictures that it has so far."""
        return {
            "id": job.id,
            "task": job.task,
            "state": job.state.value,
            "request": dict(job.request),
            "notes": list(job.notes),
            "images": [
                {"id": record.id, "seed": record.seed, "index": record.index}
                for record in self._gallery.job_images(job.id)
            ],
            "error": dict(job.error) if job.error else None,
            "position": job.position,
            "created": job.created,
            "started": job.started,
            "ended": job.ended,
        }


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


def _memory_json(memory: Memory | None) -> dict[str, Any]:
    """A snapshot as front ends see it; all zeros where there is no engine."""
    found = memory or Memory(device="", dtype="")
    return {**found.data(), "weights": found.weights}


def record_json(record: ImageRecord) -> dict[str, Any]:
    """A picture as front ends see it: everything but its owner and where its file lies."""
    return {
        "id": record.id,
        "job": record.job_id,
        "index": record.index,
        "task": record.task,
        "request": dict(record.request),
        "seed": record.seed,
        "width": record.width,
        "height": record.height,
        "prompt": record.request.get("prompt", ""),
        "negative_prompt": record.request.get("negative_prompt", ""),
        "checkpoint": record.request.get("checkpoint"),
        "infotext": record.infotext,
        "facts": dict(record.facts),
        "created": record.created,
        "starred": record.starred,
        "trashed": record.trashed,
        "parents": list(record.parents),
    }


def _checkpoint_json(checkpoint: "Checkpoint") -> dict[str, Any]:
    return {
        "id": checkpoint.id,
        "label": checkpoint.label,
        "family": checkpoint.family,
        "family_label": checkpoint.family_label,
        "native_px": checkpoint.native_px,
        "multiple_px": checkpoint.multiple_px,
        "size_bytes": checkpoint.size_bytes,
        "defaults": asdict(checkpoint.defaults),
        "supports": asdict(checkpoint.supports),
        "guidance": checkpoint.guidance.value,
        "samplers": list(checkpoint.samplers),
        "roles": sorted(checkpoint.roles),
        "strengthless": sorted(checkpoint.strengthless),
        "problem": checkpoint.problem,
        "advice": checkpoint.advice,
    }


def _file_json(file: "File") -> dict[str, Any]:
    return {
        "id": file.id,
        "name": file.name,
        "label": file.label,
        "size_bytes": file.size_bytes,
        "problem": file.problem,
        "advice": file.advice,
    }


def _upscaler_json(upscaler: "Upscaler") -> dict[str, Any]:
    return {
        "id": upscaler.id,
        "label": upscaler.label,
        "about": upscaler.about,
        "scale": upscaler.scale,
        "needs": upscaler.needs,
        "problem": upscaler.problem,
        "advice": upscaler.advice,
    }
