"""Uploads, stored once by the SHA-256 of their bytes, seen only by those who uploaded them."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from studio.core.errors import InUse, NotFound, StorageFailed, StudioError, Unsupported
from studio.core.intake import MAX_BYTES, Intake, inspect
from studio.core.sqlite import Database, DatabaseDamaged, set_aside
from studio.gallery import files
from studio.gallery.migrations import INPUTS
from studio.gallery.store import NOBODY

QUOTA_BYTES = 2_000_000_000
KEPT_S = 86_400
"""An upload that nothing needs is safe for this long: somebody may still be at work with it."""

_REF = re.compile("[0-9a-f]{64}")
_TYPES = {
    "", "application/octet-stream", "image/png", "image/x-png", "image/apng", "image/jpeg",
    "image/jpg", "image/pjpeg", "image/webp",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Uses:
    """The refs that things of one owner's name; an upload among them is needed."""

    pictures: Set[str] = frozenset()
    """What pictures were made from, those in the trash too."""
    jobs: Set[str] = frozenset()
    """What running and waiting jobs start from."""
    drafts: Set[str] = frozenset()
    """What forms hold."""

    def __contains__(self, ref: str) -> bool:
        return ref in self.pictures or ref in self.jobs or ref in self.drafts


class Inputs:
    """Everything below `data_dir`/inputs. Safe to call from any thread."""

    def __init__(
        self,
        data_dir: Path,
        *,
        quota_bytes: int = QUOTA_BYTES,
        uses: Callable[[str], Uses] = lambda owner: Uses(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Opens or makes the store. If its database is damaged, the files go to `NOBODY`.

        `uses` tells what of an owner's needs uploads; it is only asked before one is removed.
        `clock` tells seconds since 1970. Raises `StorageFailed` if the folder cannot be written.
        """
        self._folder = data_dir / "inputs"
        self._quota_bytes = quota_bytes
        self._uses = uses
        self._clock = clock
        self._turn = threading.Lock()
        """One upload is decoded at a time, so memory stays that of one."""
        files.make_folder(self._folder)
        files.sweep(self._folder)
        path = data_dir / "inputs.db"
        try:
            self._db = Database(path, INPUTS)
            if not self._db.integrity():
                self._db.close()
                raise DatabaseDamaged("The records of uploads are damaged.", "Start again.")
        except DatabaseDamaged:
            set_aside(path)
            self._db = Database(path, INPUTS)
            self._adopt()

    def close(self) -> None:
        self._db.close()

    def add(self, owner: str, data: bytes, content_type: str | None = None) -> str:
        """Stores a picture and returns its ref; the same bytes again cost nothing.

        Where the owner's space is full, the oldest uploads that nothing needs make room. Judged by
        content; `content_type` can only refuse. Raises as `intake.inspect` does, and
        `StorageFailed` when the owner's space or the disk is full; nothing was stored or removed
        then.
        """
        _require_picture_type(content_type)
        ref = hashlib.sha256(data).hexdigest()
        with self._turn:
            if self._has(owner, ref) and self._path(ref).is_file():
                self._touch(owner, ref)
                return ref
            intake = inspect(data)
            in_the_way = self._in_the_way(owner, len(data))
            path = self._path(ref)
            try:
                self._write(path, data, ref)
                with self._db.write() as db:
                    db.executemany(
                        "DELETE FROM inputs WHERE owner = ? AND ref = ?",
                        [(owner, old) for old in in_the_way],
                    )
                    db.execute(
                        "INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?, ?)",
                        (owner, ref, len(data), json.dumps(asdict(intake)), self._clock()),
                    )
            except BaseException:
                self._drop_unowned(ref)
                raise
            for old in in_the_way:
                self._drop_unowned(old)
        return ref

    def file(self, owner: str, ref: str) -> Path:
        """The bytes as they came in. Raises `NotFound`."""
        path = self._path(ref) if self._has(owner, ref) else None
        if path is None or not path.is_file():
            raise _unknown_input()
        return path

    def info(self, owner: str, ref: str) -> Intake:
        """What the upload is, with `notes` on what of it is not used. Raises `NotFound`."""
        rows = (
            self._db.read("SELECT intake FROM inputs WHERE owner = ? AND ref = ?", (owner, ref))
            if _REF.fullmatch(ref)
            else []
        )
        if not rows:
            raise _unknown_input()
        return Intake(**json.loads(rows[0]["intake"]))

    def used_bytes(self, owner: str) -> int:
        """What the owner's uploads count against the quota."""
        rows = self._db.read("SELECT SUM(bytes) AS total FROM inputs WHERE owner = ?", (owner,))
        return rows[0]["total"] or 0

    def remove(self, owner: str, ref: str) -> None:
        """Forgets an upload; the file goes when it was its last owner's.

        Raises `NotFound`, and `InUse` while a picture or a waiting job was made from it.
        """
        with self._turn:
            if not self._has(owner, ref):
                raise _unknown_input()
            _require_unused(ref, self._uses(owner))
            with self._db.write() as db:
                db.execute("DELETE FROM inputs WHERE owner = ? AND ref = ?", (owner, ref))
            self._drop_unowned(ref)

    def _has(self, owner: str, ref: str) -> bool:
        return bool(
            _REF.fullmatch(ref)
            and self._db.read("SELECT 1 FROM inputs WHERE owner = ? AND ref = ?", (owner, ref))
        )

    def _path(self, ref: str) -> Path:
        return self._folder / ref[:2] / ref

    def _touch(self, owner: str, ref: str) -> None:
        """Somebody works with it again. Where that cannot be written, it only looks older."""
        with suppress(StorageFailed), self._db.write() as db:
            db.execute(
                "UPDATE inputs SET created = ? WHERE owner = ? AND ref = ?",
                (self._clock(), owner, ref),
            )

    def _in_the_way(self, owner: str, size: int) -> list[str]:
        """What must go so that `size` bytes more have room: the oldest that nothing needs.

        Raises `StorageFailed` if even all of those were not enough.
        """
        used = self.used_bytes(owner)
        missing = used + size - self._quota_bytes
        chosen: list[str] = []
        if missing <= 0:
            return chosen
        uses = self._uses(owner)
        old = self._db.read(
            "SELECT ref, bytes FROM inputs WHERE owner = ? AND created < ? ORDER BY created",
            (owner, self._clock() - KEPT_S),
        )
        for row in old:
            if row["ref"] not in uses:
                chosen.append(row["ref"])
                missing -= row["bytes"]
                if missing <= 0:
                    return chosen
        raise StorageFailed(
            f"Your space is full ({used / 1e9:.1f} GB of {self._quota_bytes / 1e9:.1f} GB).",
            "Delete pictures that were made from uploads and empty the trash; an upload that nothing"
            " needs makes room after a day.",
        )

    def _write(self, path: Path, data: bytes, ref: str) -> None:
        with suppress(OSError):
            if hashlib.sha256(path.read_bytes()).hexdigest() == ref:
                return
        files.make_folder(path.parent)
        files.write_whole(path, data, mode=0o600, replace=True)

    def _drop_unowned(self, ref: str) -> None:
        if not self._db.read("SELECT 1 FROM inputs WHERE ref = ?", (ref,)):
            with suppress(OSError):
                self._path(ref).unlink(missing_ok=True)

    def _adopt(self) -> None:
        """Rows for the files of a lost database; files whose bytes changed stay without one."""
        for path in sorted(self._folder.glob("??/*")):
            if not _REF.fullmatch(path.name) or path.stat().st_size > MAX_BYTES:
                continue
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != path.name:
                continue
            with suppress(StudioError):
                self._row(path.name, data)

    def _row(self, ref: str, data: bytes) -> None:
        intake = json.dumps(asdict(inspect(data)))
        with self._db.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?, ?)",
                (NOBODY, ref, len(data), intake, self._clock()),
            )


def _require_picture_type(content_type: str | None) -> None:
    declared = (content_type or "").partition(";")[0].strip().lower()
    if declared not in _TYPES:
        raise Unsupported("Files of this type cannot be uploaded.", "Use a PNG, JPEG or WebP file.")


def _require_unused(ref: str, uses: Uses) -> None:
    if ref in uses.jobs:
        raise InUse(
            "A job in the queue starts from this upload.", "Cancel it, or wait until it is done."
        )
    if ref in uses.pictures:
        raise InUse(
            "A picture in the gallery or the trash was made from this upload.",
            "Delete the picture and empty the trash first.",
        )


def _unknown_input() -> NotFound:
    return NotFound("There is no such upload.", "Upload the picture again.")
