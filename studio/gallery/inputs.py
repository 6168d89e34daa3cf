"""Uploads, stored once by the SHA-256 of their bytes, seen only by those who uploaded them."""

import hashlib
import json
import re
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from studio.core.errors import NotFound, StorageFailed, StudioError, Unsupported
from studio.core.intake import MAX_BYTES, Intake, inspect
from studio.core.sqlite import Database, DatabaseDamaged, set_aside
from studio.gallery import files
from studio.gallery.migrations import INPUTS
from studio.gallery.store import NOBODY

QUOTA_BYTES = 2_000_000_000

_REF = re.compile("[0-9a-f]{64}")
_TYPES = {
    "", "application/octet-stream", "image/png", "image/x-png", "image/apng", "image/jpeg",
    "image/jpg", "image/pjpeg", "image/webp",
}  # fmt: skip


class Inputs:
    """Everything below `data_dir`/inputs. Safe to call from any thread."""

    def __init__(self, data_dir: Path, *, quota_bytes: int = QUOTA_BYTES) -> None:
        """Opens or makes the store. If its database is damaged, the files go to `NOBODY`.

        Raises `StorageFailed` if the folder cannot be written.
        """
        self._folder = data_dir / "inputs"
        self._quota_bytes = quota_bytes
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

        Judged by content; `content_type` can only refuse. Raises as `intake.inspect` does, and
        `StorageFailed` when the owner's space or the disk is full; nothing was stored then.
        """
        _require_picture_type(content_type)
        ref = hashlib.sha256(data).hexdigest()
        with self._turn:
            if self._has(owner, ref) and self._path(ref).is_file():
                return ref
            intake = inspect(data)
            self._require_room(owner, len(data))
            path = self._path(ref)
            try:
                self._write(path, data, ref)
                with self._db.write() as db:
                    db.execute(
                        "INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?, ?)",
                        (owner, ref, len(data), json.dumps(asdict(intake)), time.time()),
                    )
            except BaseException:
                self._drop_unowned(ref)
                raise
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
        """Forgets an upload; the file goes when it was its last owner's. Raises `NotFound`."""
        with self._turn:
            if not self._has(owner, ref):
                raise _unknown_input()
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

    def _require_room(self, owner: str, size: int) -> None:
        used = self.used_bytes(owner)
        if used + size > self._quota_bytes:
            raise StorageFailed(
                f"Your space is full ({used / 1e9:.1f} GB of {self._quota_bytes / 1e9:.1f} GB).",
                "Remove uploads that you no longer need.",
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
                (NOBODY, ref, len(data), intake, time.time()),
            )


def _require_picture_type(content_type: str | None) -> None:
    declared = (content_type or "").partition(";")[0].strip().lower()
    if declared not in _TYPES:
        raise Unsupported("Files of this type cannot be uploaded.", "Use a PNG, JPEG or WebP file.")


def _unknown_input() -> NotFound:
    return NotFound("There is no such upload.", "Upload the picture again.")
