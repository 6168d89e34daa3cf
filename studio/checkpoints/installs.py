"""Installs: long work that outlives pages and restarts. One at a time, in the order of asking."""

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from studio.checkpoints import install as plans
from studio.checkpoints.fetch import USUAL, Changed, Manners, Stopped, fetch, forget
from studio.checkpoints.hashes import Hashes
from studio.checkpoints.install import File, Plan
from studio.checkpoints.streams import put, require_free
from studio.core.errors import Busy, InvalidRequest, NotFound, StorageFailed, StudioError
from studio.core.layouts import Kind
from studio.core.locks import alone
from studio.core.records import new_id

log = logging.getLogger("studio.checkpoints")

TELL_S = 0.25
"""Between two tellings of how far it is."""
MOST = 50
"""Installs that may be unfinished at once."""
HOME = ".installs"
"""Below the checkpoint folder, so that what has arrived is on the disk where it is to be."""

CHANGED = "The file on the server had changed, so it was begun anew."

State = Literal["waiting", "running", "stopped", "failed", "done"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Install:
    """One install as it stands."""

    id: str
    plan: Plan
    state: State = "waiting"
    done_bytes: int = 0
    bytes_per_s: float = 0.0
    error: Mapping[str, str] | None = None
    """What went wrong: `message` and `hint`."""
    note: str = ""
    """A sentence on what went otherwise than was to be expected; empty where nothing did."""
    created: float = 0.0
    path: str = ""
    """Where it lies once it is done, below the data folder."""
    sums: Mapping[str, str] = field(default_factory=dict[str, str])
    """SHA-256 by file, as they arrived."""
    dismissed: bool = False
    inside: bool = True
    """Whether it may come from this machine or its network."""

    @property
    def over(self) -> bool:
        return self.state in {"stopped", "failed", "done"}

    def takes(self, plan: Plan) -> bool:
        """Whether this plan is gone on with here: it wants the same files, or the same source while
        nobody is at it."""
        if self.state == "done":
            return False
        wanted = self.plan.source, self.plan.place
        return self.plan.files == plan.files or (self.over and wanted == (plan.source, plan.place))

    def turned_to(self, plan: Plan) -> "Install":
        """With another plan, and what has arrived that is of it too."""
        before = {file.path: file for file in self.plan.files}
        same = {
            file.path: file
            for file in plan.files
            if file.path in before and file.is_same(before[file.path])
        }
        sums = {
            path: digest
            for path, digest in self.sums.items()
            if path in same and same[path].sha256 in {"", digest}
        }
        changed = len(same) < len(before) and self.done_bytes
        return replace(self, plan=plan, sums=sums, note=CHANGED if changed else self.note)

    def shown(self) -> dict[str, Any]:
        """As front ends see it."""
        return {
            "id": self.id,
            "source": self.plan.source,
            "name": self.plan.name,
            "size_bytes": self.plan.size_bytes,
            "licence": self.plan.licence,
            "state": self.state,
            "done_bytes": self.done_bytes,
            "bytes_per_s": round(self.bytes_per_s),
            "error": dict(self.error) if self.error else None,
            "note": self.note,
            "created": self.created,
            "kind": self.path.partition("/")[0],
        }


class Installs:
    """May be asked from any thread. Starts a thread of its own with the first install."""

    def __init__(
        self,
        data_dir: Path,
        changed: Callable[[], None] = lambda: None,
        manners: Manners = USUAL,
    ) -> None:
        self._data_dir = data_dir
        self._home = data_dir / Kind.CHECKPOINTS.value / HOME
        self._changed = changed
        self._manners = manners
        self._hashes = Hashes(data_dir / "cache")
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._all = {entry.id: entry for entry in _stored(self._home)}
        self._asked_to_stop: set[str] = set()
        self._closing = False
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Goes on with what was running when the studio ended."""
        with self._lock:
            if any(not entry.over for entry in self._all.values()):
                self._ensure_thread()

    def close(self) -> None:
        """Ends the thread; what has arrived is kept, and gone on with at the next `begin`."""
        with self._lock:
            self._closing = True
            self._wake.notify_all()
            thread = self._thread
        if thread:
            thread.join(2.0)

    def look(
        self, source: str, name: str = "", sha256: str = "", *, inside: bool = True
    ) -> dict[str, Any]:
        """What an install would fetch, before it is asked for; `inside` lets it come from this
        machine or its network. Raises `StudioError`."""
        found = plans.plan(source, name, sha256, self._manners_of(inside=inside))
        return {
            "source": found.source,
            "name": found.name,
            "size_bytes": found.size_bytes,
            "files": len(found.files),
            "licence": found.licence,
            "free_bytes": self.free_bytes(),
            "there": self.there(found),
        }

    def there(self, plan: Plan) -> str:
        """Where the same lies that was installed before, below the data folder; empty if nowhere."""
        with self._lock:
            done = [entry for entry in self._all.values() if entry.state == "done"]
        for entry in done:
            if entry.plan.is_same(plan) and (self._data_dir / entry.path).exists():
                return entry.path
        return ""

    def free_bytes(self) -> int:
        """On the disk where it would go."""
        place = self._home
        while not place.exists() and place != place.parent:
            place = place.parent
        return shutil.disk_usage(place).free

    def add(self, source: str, name: str = "", sha256: str = "", *, inside: bool = True) -> Install:
        """Plans an install; an unfinished one of the same is taken up instead. `inside` as for `look`.
        Raises `StudioError`; then nothing was begun."""
        found = plans.plan(source, name, sha256, self._manners_of(inside=inside))
        return self._added(found, inside=inside)

    def _manners_of(self, *, inside: bool) -> Manners:
        return replace(self._manners, private=self._manners.private and inside)

    def add_files(self, repo: str, names: tuple[str, ...], place: str, label: str) -> Install:
        """As `add`, for these very files of a repository; see `install.of_files`."""
        return self._added(plans.of_files(repo, names, place, label))

    def _added(self, plan: Plan, *, inside: bool = True) -> Install:
        with self._lock:
            for entry in self._all.values():
                if entry.takes(plan):
                    if entry.over and entry.plan != plan:
                        self._keep(entry.turned_to(plan))
                    return self._all[entry.id]
            if sum(entry.state != "done" for entry in self._all.values()) >= MOST:
                raise InvalidRequest(
                    f"{MOST} installs are unfinished.", "Finish or remove some of them first."
                )
            require_free(self._home, plan.size_bytes)
            entry = Install(
                id=new_id(), plan=plan, state="stopped", created=time.time(), inside=inside
            )
            self._keep(entry)
            return entry

    def start(self, install_id: str) -> Install:
        """Goes on with one that does not run. Raises `NotFound`."""
        with self._lock:
            entry = self.get(install_id)
            if entry.state in {"stopped", "failed"}:
                self._asked_to_stop.discard(install_id)
                self._keep(replace(entry, state="waiting", error=None))
                self._ensure_thread()
                self._wake.notify_all()
            return self.get(install_id)

    def stop(self, install_id: str) -> Install:
        """Stops it at once; what has arrived is kept. Raises `NotFound`."""
        with self._lock:
            entry = self.get(install_id)
            if not entry.over:
                self._asked_to_stop.add(install_id)
                arrived = _arrived(self._home / install_id / "files")
                self._keep(replace(entry, state="stopped", done_bytes=arrived, bytes_per_s=0.0))
            return self.get(install_id)

    def remove(self, install_id: str) -> None:
        """Takes it from the list, with what has arrived of an unfinished one. What was installed
        stays. Raises `NotFound`."""
        with self._lock:
            entry = self.stop(install_id)
            if entry.state == "done":
                self._keep(replace(entry, dismissed=True))
                return
            del self._all[install_id]
            shutil.rmtree(self._home / install_id, ignore_errors=True)
        self._changed()

    def get(self, install_id: str) -> Install:
        """Raises `NotFound`. The id is only ever compared with ids."""
        with self._lock:
            entry = self._all.get(install_id)
            if entry is None or entry.dismissed:
                raise NotFound("There is no such install.", "Reload the page.")
            return entry

    def all(self) -> tuple[Install, ...]:
        """The newest first."""
        with self._lock:
            listed = [entry for entry in self._all.values() if not entry.dismissed]
        return tuple(sorted(listed, key=lambda entry: -entry.created))

    def sums(self) -> dict[Path, str]:
        """SHA-256 of what was installed, by file, as it lies without links."""
        with self._lock:
            done = [entry for entry in self._all.values() if entry.state == "done"]
        found: dict[Path, str] = {}
        for entry in done:
            place = (self._data_dir / entry.path).resolve()
            found |= {
                place / name if name else place: digest for name, digest in entry.sums.items()
            }
        return found

    def run(
        self, install_id: str, progress: Callable[[int], None], stopped: Callable[[], bool]
    ) -> Install:
        """Does it, here and now. Raises `Stopped` or `StudioError`; what has arrived is kept as
        far as it may be gone on with. One that another program of the studio is at, or has finished,
        is not begun a second time."""
        self.get(install_id)
        with alone(self._home / install_id / "lock") as mine:
            if not mine:
                raise Busy(
                    f"'{self.get(install_id).plan.name}' is being installed already, from the page or "
                    "the command line.",
                    "Wait for it, or stop it there.",
                )
            kept = _read(self._home / install_id / "install.json")
            if kept is not None and kept.state == "done":
                with self._lock:
                    self._all[install_id] = kept
                self._changed()
                return kept
            return self._run(install_id, progress, stopped)

    def _run(
        self, install_id: str, progress: Callable[[int], None], stopped: Callable[[], bool]
    ) -> Install:
        entry = self.get(install_id)
        folder = self._home / install_id / "files"
        _remove_others(folder, entry)
        self._require_room(entry)
        before = 0
        for index in range(len(entry.plan.files)):
            entry = self._with_file(
                install_id, index, lambda done, before=before: progress(before + done), stopped
            )
            before += entry.plan.files[index].size_bytes
            progress(before)
        sums = dict(entry.sums)
        try:
            # two that want one name must not both find it free
            with alone(self._home / "settling", wait=True):
                path = plans.settle(folder, entry.plan, self._data_dir)
        except InvalidRequest:
            shutil.rmtree(folder, ignore_errors=True)
            self._keep(replace(entry, sums={}))
            raise
        except OSError as error:
            raise _full(error) from error
        named = sums if entry.plan.is_folder else {"": next(iter(sums.values()))}
        place = path.relative_to(self._data_dir).as_posix()
        done = replace(
            entry, state="done", path=place, sums=named, done_bytes=before, bytes_per_s=0.0, error=None
        )  # fmt: skip
        self._keep(done)
        shutil.rmtree(folder, ignore_errors=True)
        if not entry.plan.is_folder:
            self._hashes.remember(path, named[""])
        return done

    def _require_room(self, entry: Install) -> None:
        """Raises `StorageFailed` if the disk cannot take what has not arrived of it."""
        left = entry.plan.size_bytes - _arrived(self._home / entry.id / "files")
        require_free(self._home, max(left, 0))

    def _with_file(
        self,
        install_id: str,
        index: int,
        progress: Callable[[int], None],
        stopped: Callable[[], bool],
    ) -> Install:
        """It with one more of its files. Where the server has another one by now, that is fetched
        from its beginning, once."""
        entry = self.get(install_id)
        file = entry.plan.files[index]
        target = self._home / install_id / "files" / file.path
        if target.is_file() and file.path in entry.sums:
            return entry
        manners = self._manners_of(inside=entry.inside)
        try:
            digest = self._fetch(target, file, progress, stopped, manners)
        except Changed:
            plan = plans.again(entry.plan, file, manners)
            entry = replace(self.get(install_id), plan=plan, note=CHANGED)
            self._keep(entry)
            self._require_room(entry)
            digest = self._fetch(target, plan.files[index], progress, stopped, manners)
        entry = self.get(install_id)
        entry = replace(entry, sums={**entry.sums, file.path: digest})
        self._keep(entry)
        return entry

    def _fetch(
        self,
        target: Path,
        file: File,
        progress: Callable[[int], None],
        stopped: Callable[[], bool],
        manners: Manners,
    ) -> str:
        part = target.with_name(f"{target.name}.part")
        digest = fetch(
            file.remote,
            part,
            sha256=file.sha256,
            headers=plans.headers_for(file.url),
            progress=progress,
            stopped=stopped,
            manners=manners,
        )
        part.replace(target)
        forget(part)
        return digest

    def _keep(self, entry: Install) -> None:
        """Remembers it, on the disk too, and tells who looks. Raises `StorageFailed`."""
        with self._lock:
            self._all[entry.id] = entry
            try:
                put(self._home / entry.id / "install.json", json.dumps(asdict(entry)).encode())
            except OSError as error:
                raise _full(error) from error
        self._changed()

    def _ensure_thread(self) -> None:
        if self._thread is None and not self._closing:
            self._thread = threading.Thread(target=self._work, name="installs", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (entry := self._awaited()) is not None:
            self._one(entry)

    def _awaited(self) -> Install | None:
        """The next one, once there is one; None when the studio ends."""
        with self._lock:
            while not self._closing and self._next() is None:
                self._wake.wait()
            return None if self._closing else self._next()

    def _next(self) -> Install | None:
        waiting = [entry for entry in self._all.values() if not entry.over]
        return min(waiting, key=lambda entry: entry.created, default=None)

    def _one(self, entry: Install) -> None:
        try:
            self._keep(replace(entry, state="running"))
            self.run(entry.id, _Teller(self, entry.id).tell, lambda: self._is_stopped(entry.id))
        except Stopped:
            return  # who asked for it has said so; a closing studio leaves it running
        except NotFound:
            return  # removed meanwhile
        except StudioError as error:
            self._fail(entry.id, error)
        except Exception:
            log.exception("install %s", entry.id)
            self._fail(
                entry.id, StudioError("Something went wrong.", "The studio's log says more.")
            )

    def _fail(self, install_id: str, error: StudioError) -> None:
        with self._lock:
            entry = self._all.get(install_id)
            if entry is None or entry.state == "stopped":
                return
            said = {"message": error.message, "hint": error.hint}
            failed = replace(
                entry,
                state="failed",
                error=said,
                done_bytes=_arrived(self._home / install_id / "files"),
                bytes_per_s=0.0,
            )
            try:
                self._keep(failed)
            except StorageFailed:
                self._all[install_id] = failed
        self._changed()

    def _is_stopped(self, install_id: str) -> bool:
        return self._closing or install_id in self._asked_to_stop or install_id not in self._all

    def told(self, install_id: str, done_bytes: int, bytes_per_s: float) -> None:
        """How far it is; not kept on the disk, where the parts say it."""
        with self._lock:
            entry = self._all.get(install_id)
            if entry and entry.state == "running":
                self._all[install_id] = replace(
                    entry, done_bytes=done_bytes, bytes_per_s=bytes_per_s
                )
        self._changed()


class _Teller:
    """Tells now and then how far an install is, and how quick."""

    def __init__(self, installs: Installs, install_id: str) -> None:
        self._installs, self._id = installs, install_id
        self._last = time.monotonic()
        self._done: int | None = None
        self._speed = 0.0

    def tell(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last < TELL_S:
            return
        if self._done is not None:
            speed = max(0, done - self._done) / (now - self._last)
            self._speed = speed if not self._speed else 0.8 * self._speed + 0.2 * speed
        self._last, self._done = now, done
        self._installs.told(self._id, done, self._speed)


def _full(error: OSError) -> StorageFailed:
    return StorageFailed(
        f"The data folder cannot be written to ({error.strerror}).",
        "Free some space and try again.",
    )


def _remove_others(folder: Path, entry: Install) -> None:
    """What has arrived for another plan than the one it has now."""
    kept = {folder / path for path in entry.sums}
    for file in entry.plan.files:
        if file.path not in entry.sums:
            part = folder / f"{file.path}.part"
            kept |= {part, part.with_name(f"{part.name}.json")}
    for path in folder.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink(missing_ok=True)


def _arrived(folder: Path) -> int:
    files = (file for file in folder.rglob("*") if not file.name.endswith(".part.json"))
    return sum(file.stat().st_size for file in files if file.is_file())


def _read(file: Path) -> Install | None:
    """None where there is none, or nothing to be understood."""
    try:
        told: dict[str, Any] = json.loads(file.read_bytes())
        told["plan"] = plans.of_json(told["plan"])
        return Install(**told)
    except (OSError, ValueError, TypeError, KeyError, StudioError):
        return None


def _stored(home: Path) -> list[Install]:
    found: list[Install] = []
    for file in sorted(home.glob("*/install.json")):
        entry = _read(file)
        if entry is not None and entry.id == file.parent.name:
            arrived = _arrived(file.parent / "files") if entry.state != "done" else entry.done_bytes
            found.append(replace(entry, done_bytes=arrived, bytes_per_s=0.0))
    return found
