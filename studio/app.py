"""The composition root: the only place that builds long-lived objects and knows every room."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from studio.checkpoints.beside import beside_in
from studio.checkpoints.catalog import Catalog, Checkpoint, denoiser_file, families
from studio.checkpoints.controls import Controls
from studio.checkpoints.extras import Extras, extras_in
from studio.checkpoints.hashes import Hashes
from studio.checkpoints.header import BadFile
from studio.checkpoints.imageprompts import ImagePrompts
from studio.checkpoints.installs import Installs
from studio.checkpoints.meant import Meant, meant
from studio.checkpoints.starters import offered
from studio.checkpoints.watch import Watch
from studio.core.errors import StorageFailed
from studio.core.layouts import Kind
from studio.core.records import ImageRecord, Picture, Preset
from studio.core.requests import REF_CHARS, parse, uploads_in
from studio.core.sqlite import DatabaseDamaged, set_aside
from studio.costs.history import History, sent
from studio.costs.predict import Costs
from studio.discovery import open_drawer
from studio.gallery.inputs import Inputs, Uses
from studio.gallery.store import Gallery
from studio.jobs.link import EngineProcess
from studio.jobs.store import JobStore
from studio.jobs.worker import Worker
from studio.paths import BUILTIN_CHECKPOINT, CONFIGS, PRESETS
from studio.preprocessors._weights import is_ready, usual
from studio.prompts import foreign, infotext, presets, tokens
from studio.prompts.embeddings import Embedded
from studio.service.recovery import Recovery
from studio.service.shelves import Shelves
from studio.service.studio import LOCAL, Quota, Studio
from studio.service.styles import Styles
from studio.service.watchers import Watchers
from studio.settings import Settings
from studio.tasks._task import Task
from studio.upscalers._shelf import Shelf

LEARNED = 500
"""Measurements that an engine starts with."""


@dataclass(frozen=True, slots=True)
class App:
    """A composed studio. `start` begins to serve the queue; `close` ends everything it started."""

    studio: Studio
    worker: Worker
    jobs: JobStore
    gallery: Gallery
    inputs: Inputs
    history: History
    installs: Installs
    watch: Watch

    def start(self) -> None:
        self.worker.start()
        self.watch.start()
        self.installs.begin()

    def close(self) -> None:
        """A running job becomes interrupted, queued ones stay queued. Takes some seconds at most."""
        self.watch.close()
        self.installs.close()
        self.worker.close()
        self.jobs.close()
        self.history.close()
        self.inputs.close()
        self.gallery.close()


@dataclass(frozen=True, slots=True)
class Album:
    """Saves a picture with everything that made it written into the file, and finds those that a
    request starts from."""

    gallery: Gallery
    inputs: Inputs
    tasks: Mapping[str, Task]

    def files(self, *, owner: str, task: str, request: Mapping[str, Any]) -> dict[str, str]:
        return {ref: str(self.file(owner, ref)) for ref in self.refs(task, request)}

    def file(self, owner: str, ref: str) -> Path:
        """Of an upload or of a picture in the gallery. Raises `NotFound`."""
        if len(ref) == REF_CHARS:
            return self.inputs.file(owner, ref)
        return self.gallery.file(owner, ref)

    def refs(self, task: str, request: Mapping[str, Any]) -> tuple[str, ...]:
        """What a resolved request is made from; nothing for a task that is no longer there."""
        entry = self.tasks.get(task)
        return entry.pictures(parse(entry.request, request)) if entry else ()

    def add(
        self, *, owner: str, job_id: str, task: str, request: dict[str, Any], picture: Picture
    ) -> ImageRecord:
        text = infotext.write(task, request, picture)
        parents = self.refs(task, request)
        return self.gallery.add(owner, job_id, task, request, picture, text, parents)


def compose(settings: Settings) -> App:
    """Builds the studio over the data folder; the caller holds its lock. Starts nothing yet.

    Raises `StorageFailed` where the data folder cannot be used.
    """
    _make_folders(settings.data_dir)
    jobs = _jobs(settings.data_dir / "jobs.db")
    gallery = Gallery(
        settings.data_dir, owner_of=jobs.owner_of, min_free_bytes=settings.min_free_bytes
    )
    inputs = Inputs(
        settings.data_dir,
        quota_bytes=settings.input_quota_bytes,
        uses=lambda owner: _uses(jobs, gallery, owner),
    )
    catalog = Catalog(
        settings.all_dirs(Kind.CHECKPOINTS),
        builtin=BUILTIN_CHECKPOINT,
        beside=beside_in(settings.all_dirs),
    )
    hashes = Hashes(settings.data_dir / "cache")
    controls = Controls(settings.all_dirs(Kind.CONTROLNET))
    extras = extras_in(settings.all_dirs)
    watchers = Watchers()
    tasks = open_drawer("studio.tasks", Task)
    album = Album(gallery, inputs, tasks)
    history = _history(settings.data_dir / "costs.db")
    worker = Worker(
        jobs=jobs,
        album=album,
        changed=watchers.changed,
        watched=watchers.watched,
        start_engine=lambda: EngineProcess(_configuration(settings, history)),
        start_s=settings.engine_start_s,
        silence_s=settings.engine_silence_s,
        costs=history,
    )
    installers = frozenset(f"user:{name}" for name in settings.allow_install)

    def arriving() -> None:
        for owner in (LOCAL, *installers):
            watchers.changed(owner)

    installs = Installs(settings.data_dir, arriving)
    shelves = Shelves(
        catalog=catalog,
        controls=controls,
        image_prompts=ImagePrompts(settings.all_dirs(Kind.IPADAPTER)),
        upscalers=Shelf(settings.all_dirs(Kind.UPSCALERS)),
        extras=extras,
        has_weights=partial(is_ready, places=usual(settings.data_dir)),
    )
    studio = Studio(
        tasks=tasks,
        shelves=shelves,
        jobs=jobs,
        worker=worker,
        gallery=gallery,
        inputs=inputs,
        watchers=watchers,
        file_of=album.file,
        styles=Styles(
            gallery=gallery,
            house=lambda: _house_styles(settings.data_dir),
            checked=presets.checked,
            read_csv=presets.read_csv,
            write_csv=presets.write_csv,
        ),
        recovery=Recovery(
            shelves=shelves,
            recover=foreign.recover,
            meant=lambda name, digest: _meant(catalog, hashes, name, digest),
            meant_lora=lambda name, digest: _meant_lora(extras, hashes, name, digest),
        ),
        count_tokens=lambda checkpoint, text: _count_tokens(extras, checkpoint, text),
        max_waiting=settings.max_waiting,
        max_waiting_local=settings.max_waiting_local,
        guests=Quota(jobs_per_day=settings.guest_jobs, pixels=settings.guest_pixels),
        costs=Costs(history),
        installs=installs,
        installers=installers,
        starters=[asdict(starter) for starter in offered()],
    )
    return App(
        studio=studio,
        worker=worker,
        jobs=jobs,
        gallery=gallery,
        inputs=inputs,
        history=history,
        installs=installs,
        watch=Watch(
            tuple(dict.fromkeys(folder for kind in Kind for folder in settings.all_dirs(kind))),
            studio.shelf_changed,
        ),
    )


def _make_folders(data_dir: Path) -> None:
    """A folder for weights of each kind, so that people see where they go."""
    try:
        for kind in Kind:
            (data_dir / kind.value).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(
            f"The data folder cannot be written to ({error.strerror}).",
            "Make it writable or choose another one with --data-dir.",
        ) from None


def _configuration(settings: Settings, history: History) -> Mapping[str, Any]:
    """What the engine process is told before its first job."""
    places = usual(settings.data_dir)
    return {
        "builtin": str(BUILTIN_CHECKPOINT),
        "folders": [str(folder) for folder in settings.all_dirs(Kind.CHECKPOINTS)],
        "upscaler_folders": [str(folder) for folder in settings.all_dirs(Kind.UPSCALERS)],
        "control_folders": [str(folder) for folder in settings.all_dirs(Kind.CONTROLNET)],
        "image_prompt_folders": [str(folder) for folder in settings.all_dirs(Kind.IPADAPTER)],
        **{
            f"{kind.value}_folders": [str(folder) for folder in settings.all_dirs(kind)]
            for kind in (Kind.LORAS, Kind.EMBEDDINGS, Kind.VAE, Kind.TEXT_ENCODERS)
        },
        "annotator_folders": [str(folder) for folder in places.folders],
        "hub": str(places.hub) if places.hub else None,
        "device": settings.device,
        "dtype": settings.dtype,
        "ram_budget": settings.ram_budget,
        "vram_budget": settings.vram_budget,
        "converted_space": settings.converted_space,
        "cache": str(settings.data_dir / "cache"),
        "pins": list(history.pins()),
        "painted": [sent(row) for row in history.painted()[-LEARNED:]],
    }


def _meant(catalog: Catalog, hashes: Hashes, name: str, digest: str) -> Meant:
    """By name, and by the hashes that the engine has found out: those of what was painted with."""
    checkpoints = catalog.all()
    files: dict[str, Path] = {}
    for checkpoint in checkpoints:
        if not checkpoint.problem:
            with suppress(BadFile, OSError):  # it went away since
                files[checkpoint.id] = denoiser_file(checkpoint)
    known = hashes.remembered(files.values())
    hashed = {checkpoint_id: known[file] for checkpoint_id, file in files.items() if file in known}
    return meant(checkpoints, hashed, name, digest)


def _meant_lora(extras: Extras, hashes: Hashes, name: str, digest: str) -> str | None:
    """By name, and by the hashes that the engine has found out or trainers wrote down."""
    files = [lora.path for lora in extras.loras.all()] if digest else []
    return extras.loras.meant(name, digest, hashes.remembered(files, tensors=True))


def _uses(jobs: JobStore, gallery: Gallery, owner: str) -> Uses:
    """What of an owner's needs uploads."""
    return Uses(
        pictures=gallery.parents(owner),
        jobs=uploads_in([dict(job.request) for job in jobs.active(owner)]),
        drafts=uploads_in(gallery.drafts(owner)),
    )


def _jobs(path: Path) -> JobStore:
    """The job store; a damaged one is set aside, since pictures do not depend on it."""
    try:
        return JobStore(path)
    except DatabaseDamaged:
        set_aside(path)
        return JobStore(path)


def _history(path: Path) -> History:
    """What jobs took; a damaged one is set aside and learned anew."""
    try:
        return History(path)
    except DatabaseDamaged:
        set_aside(path)
        return History(path)


def _house_styles(data_dir: Path) -> tuple[Preset, ...]:
    """Those of a `styles.csv` in the data folder, then those that come with the studio."""
    return (*presets.of_file(data_dir / "styles.csv"), *presets.builtin(PRESETS))


def _count_tokens(extras: Extras, checkpoint: Checkpoint, text: str) -> dict[str, int]:
    """Counts with the checkpoint's own tokenizer, or its family's where it is a single file."""
    home = checkpoint.path
    if checkpoint.layout == "file":
        home = CONFIGS / families()[checkpoint.family].configs
    sizes = {name: embedding.vectors for name, embedding in extras.words(checkpoint).items()}
    return tokens.count(home / "tokenizer", text, Embedded(sizes))
