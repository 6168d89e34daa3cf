"""`generate`: pictures from the command line, through the same queue, engine and gallery.

Where a studio already runs on the data folder the job is its job, as if it came from the browser;
otherwise the studio is composed here for as long as the job takes.
"""

import json
import os
import sys
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

from studio.client import Beside, Door, Inside
from studio.commands.exit_codes import NOT_PAINTED, OK, STOPPED
from studio.core.errors import InvalidRequest, StorageFailed
from studio.core.events import JobState
from studio.core.requests import texts
from studio.datadir import DataDirInUse, claim, holder, server
from studio.discovery import open_drawer
from studio.settings import Settings, load
from studio.tasks._task import Task

TASK = "txt2img"
POLL_S = 0.1
SERVER_START_S = 30.0
"""How long a server that holds the folder may take until it says where it answers."""
STOP_S = 15.0
"""How long a cancelled job may take to end; it stops at its next step."""

WHOLE = ("count", "seed", "steps")
RENAMED = {
    "negative_prompt": "negative",
    "checkpoint": "checkpoint",
    "sampler": "sampler",
    "weights": "weights",
}
"""Fields of the request by the flag that sets them."""
FILE = "@"
"""Before the path of a picture in a value of `--set`."""
FLAGS = ("data_dir", "checkpoint_dirs", "upscaler_dirs", "models_dirs", "device", "dtype")


def generate(options: Mapping[str, Any]) -> int:
    """Makes the pictures and copies them to `--out`. Raises `StudioError`."""
    fields, added = request_fields(options), set_fields(options)
    if options["task"] == TASK and "prompt" not in fields | added:
        raise InvalidRequest(
            "The following arguments are required: prompt.", "See pochade generate --help."
        )
    files = {path: _picture(path) for path in named_files(added)}
    folder = _folder(options["out"])
    settings = load({name: options[name] for name in FLAGS})
    with door(settings) as studio:
        refs = {path: studio.add_input(data) for path, data in files.items()}
        run = _Run(studio, folder, as_json=options["json"])
        return run.paint(options["task"], fields | with_refs(added, refs))


def request_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The flags as a request's fields; what was not given is left to the studio to decide. Raises
    `InvalidRequest`."""
    fields: dict[str, Any] = {}
    if options["prompt"] is not None:
        fields["prompt"] = options["prompt"]
    for name in WHOLE:
        if options[name] is not None:
            fields[name] = _number(name, options[name], int)
    if options["guidance"] is not None:
        fields["guidance"] = _number("guidance", options["guidance"], float)
    if options["size"] is not None:
        fields["width"], fields["height"] = size(options["size"])
    for name, flag in RENAMED.items():
        if options[flag] is not None:
            fields[name] = options[flag]
    return fields


def set_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """What `--set` says, as a request's fields. Raises `InvalidRequest`."""
    texts = _texts(options["task"]) if options["set"] else frozenset()
    fields = dict(_setting(text, texts) for text in options["set"])
    if "task" in fields:
        raise InvalidRequest(
            "The task is no field of a request.", "Choose it with --task.", field="set"
        )
    return fields


def _texts(task: str) -> frozenset[str]:
    """Fields of a task that hold text; nothing of a task that there is not, which is said later."""
    entry = open_drawer("studio.tasks", Task).get(task)
    return texts(entry.request) if entry else frozenset()


def _setting(text: str, texts: Container[str]) -> tuple[str, Any]:
    """ "strength=0.5" as name and value: JSON, or text where it is none, or where nothing else than
    text can be meant. Raises `InvalidRequest`."""
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise InvalidRequest(
            f"--set must be of the form name=value (got {text[:40]!r}).",
            "Write it like --set strength=0.5.",
            field="set",
        )
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return name, value
    return name, found if name not in texts or found is None or isinstance(found, str) else value


def named_files(value: Any) -> list[str]:
    """Paths of the pictures that fields of a request name as files."""
    if isinstance(value, Mapping):
        value = list(cast("Mapping[str, Any]", value).values())
    if isinstance(value, list):
        return [path for one in cast("list[Any]", value) for path in named_files(one)]
    named = isinstance(value, str) and value.startswith(FILE)
    return [value.removeprefix(FILE)] if named else []


def with_refs(value: Any, refs: Mapping[str, str]) -> Any:
    """Fields of a request with `refs` in the place of the files they are of."""
    if isinstance(value, Mapping):
        found = cast("Mapping[str, Any]", value)
        return {name: with_refs(one, refs) for name, one in found.items()}
    if isinstance(value, list):
        return [with_refs(one, refs) for one in cast("list[Any]", value)]
    return refs[value.removeprefix(FILE)] if named_files(value) else value


def _picture(path: str) -> bytes:
    try:
        return own_path(path).read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"The picture '{path[:80]}' cannot be read ({error.strerror}).",
            "Name another file after the @.",
            field="set",
        ) from None


def own_path(text: str) -> Path:
    """A path as a person writes it: `~` is their home, `~ann` that of ann. Raises
    `InvalidRequest`."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InvalidRequest(
            f"There is no home folder for '{text.partition('/')[0][:40]}'.", "Write the whole path."
        ) from None


def size(text: str) -> tuple[int, int]:
    """ "512x768" as width and height. Raises `InvalidRequest`."""
    sides = text.lower().replace("×", "x").split("x")
    try:
        width, height = (int(side) for side in sides)
    except ValueError:
        raise InvalidRequest(
            f"Size must be width and height in pixels (got {text[:40]!r}).",
            "Write it like --size 512x768.",
            field="size",
        ) from None
    return width, height


def _number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text)
    except ValueError:
        noun = "a whole number" if kind is int else "a number"
        raise InvalidRequest(
            f"{name.capitalize()} must be {noun} (got {text[:40]!r}).",
            f"Change --{name} and try again.",
            field=name,
        ) from None


def _folder(out: str) -> Path:
    folder = own_path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(
            f"The folder for the pictures cannot be made ({error.strerror}).",
            "Name another one with --out.",
            field="out",
        ) from None
    return folder


@contextmanager
def door(settings: Settings) -> Iterator[Door]:
    """The running studio of this data folder, or one of our own. Raises `StudioError`."""
    with ExitStack() as held:
        while (beside := _running(settings.data_dir)) is None:
            try:
                held.enter_context(claim(settings.data_dir, "generate"))
            except DataDirInUse:
                time.sleep(POLL_S)  # somebody came first: ask them
            else:
                break
        yield beside or held.enter_context(_inside(settings))


@contextmanager
def _inside(settings: Settings) -> Iterator[Door]:
    from studio.app import compose  # every room; not needed where a studio already runs

    app = compose(settings)
    try:
        app.start()
        yield Inside(app.studio)
    finally:
        app.close()


def _running(data_dir: Path) -> Door | None:
    """The server on this folder once it answers; None when nobody serves it.

    Raises `DataDirInUse` when it does not come up.
    """
    end = time.monotonic() + SERVER_START_S
    said = False
    while (found := holder(data_dir)) is not None:
        if found.command == "generate":
            if not said:
                print("Another generate is at work; waiting for it.", file=sys.stderr)
                said = True
        elif announced := server(data_dir):
            return Beside(announced)
        elif time.monotonic() > end:
            raise DataDirInUse(found)
        time.sleep(POLL_S)
    return None


@dataclass
class _Run:
    """One job from submit to its last file."""

    studio: Door
    folder: Path
    as_json: bool
    saved: dict[str, dict[str, Any]] = field(default_factory=dict)

    def paint(self, task: str, fields: Mapping[str, Any]) -> int:
        job = self.studio.submit(task, fields)
        for note in job["notes"]:
            print(note, file=sys.stderr)
        status = Status(sys.stderr)
        try:
            job = self._follow(job["id"], status)
        except KeyboardInterrupt:
            status.clear()
            job = self._cancel(job["id"])
        finally:
            status.clear()
        return self._conclude(job)

    def _follow(self, job_id: str, status: "Status") -> dict[str, Any]:
        while True:
            job = self.studio.job(job_id)
            self._save_new(job, status)
            if JobState(job["state"]).over:
                return job
            if status.shown:
                status.show(_words(job, self.studio.live()))
            time.sleep(POLL_S)

    def _cancel(self, job_id: str) -> dict[str, Any]:
        """Stops the job at its next step; what was finished until then is kept."""
        self.studio.cancel(job_id)
        end = time.monotonic() + STOP_S
        job = self.studio.job(job_id)
        while not JobState(job["state"]).over and time.monotonic() < end:
            time.sleep(POLL_S)
            job = self.studio.job(job_id)
        self._save_new(job, Status(sys.stderr))
        return job

    def _save_new(self, job: Mapping[str, Any], status: "Status") -> None:
        for image in job["images"]:
            if image["id"] in self.saved:
                continue
            name, data = self.studio.picture(image["id"])
            file = save(self.folder, name, data)
            seconds = self.studio.record(image["id"])["facts"].get("seconds")
            self.saved[image["id"]] = {
                "id": image["id"],
                "file": str(file),
                "seed": image["seed"],
                "seconds": seconds,
            }
            if not self.as_json:
                status.clear()
                took = "" if seconds is None else f"  {seconds:.1f} s"
                drawn = job["request"].get("seed") is not None
                seed = f"  seed {image['seed']}" if drawn else ""
                print(f"{file}{seed}{took}", flush=True)

    def _conclude(self, job: Mapping[str, Any]) -> int:
        state = JobState(job["state"])
        if self.as_json:
            print(
                json.dumps(
                    {
                        "job": job["id"],
                        "state": state.value,
                        "request": job["request"],
                        "notes": job["notes"],
                        "images": list(self.saved.values()),
                        "error": job["error"],
                    },
                    ensure_ascii=False,
                )
            )
        elif job["error"]:
            print(f"{job['error']['message']}\n{job['error']['hint']}", file=sys.stderr)
        elif state is not JobState.FINISHED:
            print("Stopped.", file=sys.stderr)
        if state is JobState.FINISHED:
            return OK
        return STOPPED if state is JobState.CANCELLED or not state.over else NOT_PAINTED


def save(folder: Path, name: str, data: bytes) -> Path:
    """Writes a file so that its name only ever holds the whole of it. Raises `StorageFailed`."""
    fresh = folder / f".tmp-{os.getpid()}-{name}"
    try:
        with fresh.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(folder / name)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StorageFailed(
            f"The picture could not be copied ({error.strerror}).",
            "It is safe in the gallery; choose another folder with --out.",
        ) from None
    return folder / name


class Status:
    """A line on a terminal that says how far it is; nothing anywhere else."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.shown = out.isatty()

    def show(self, text: str) -> None:
        print(f"\r\x1b[K{text}", end="", file=self._out, flush=True)

    def clear(self) -> None:
        if self.shown:
            self.show("")


def _words(job: Mapping[str, Any], live: Mapping[str, Any]) -> str:
    nothing: dict[str, Any] = {}
    active = next((entry for entry in live["jobs"] if entry["id"] == job["id"]), nothing)
    if progress := active.get("progress"):
        left = progress["seconds_left"]
        tail = "" if left is None else f", {left:.0f} s left"
        picture = f"picture {progress['picture'] + 1} of {progress['pictures']}"
        return f"{picture}, step {progress['step']} of {progress['steps']}{tail}"
    if loading := active.get("loading"):
        return f"loading {loading}"
    if position := active.get("position"):
        return f"number {position} in the queue" if live["warm"] else "warming up"
    return "starting"
