"""One SQLite database for many threads, whose commits survive kill -9 and power loss.

Readers never wait for the writer (WAL); writers take turns. What SQLite says about a full or
unwritable disk leaves this file as `StorageFailed`.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from studio.core.errors import StorageFailed

Migration = Callable[[sqlite3.Connection], None]
"""A step from one schema to the next, called `m001_name`. Never changed once released."""

Parameters = Sequence[Any] | Mapping[str, Any]

BUSY_SECONDS = 10.0
"""How long a writer waits for another process before it gives up."""

IDLE_READERS = 8
"""Connections kept open between reads; more are opened when more threads read at once."""


class DatabaseDamaged(StorageFailed):
    """The file is not a database, or its pages contradict each other. It was not changed."""


class Database:
    """A database at `path`, brought to the newest schema. Safe to call from any thread.

    Makes the file (mode 0600) and its folder (0700) if they are missing. Before migrations touch
    a database that holds something, a copy is left beside it. Raises `DatabaseDamaged` if the file
    cannot be read as a database, `StorageFailed` if it cannot be opened or a newer studio wrote it;
    nothing is changed then.
    """

    def __init__(self, path: Path, migrations: Sequence[Migration]) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        self._closed = False
        _create(path)
        with _told():
            self._writer = connect(path)
        try:
            self._migrate(migrations)
        except BaseException:
            self._writer.close()
            raise

    @property
    def path(self) -> Path:
        return self._path

    def read(self, sql: str, params: Parameters = ()) -> list[sqlite3.Row]:
        """All rows of a query, as of the last commit. Raises `StorageFailed`."""
        with _told(), self._reader() as db:
            return db.execute(sql, params).fetchall()

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """A connection inside one transaction: committed at the end, undone if anything raises.

        Blocks while another thread or process writes; entering it twice in a thread deadlocks.
        When it returns, the change is on disk. Raises `StorageFailed`, and nothing has changed.
        """
        with self._turn, _told():
            self._require_open()
            db = self._writer
            _undo(db)
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # then the next write undoes it before it begins
                    _undo(db)
                raise

    def integrity(self) -> bool:
        """Whether every page, index and reference is sound; reads the whole file."""
        try:
            with self._reader() as db:
                pages = db.execute("PRAGMA integrity_check(1)").fetchall()
                references = db.execute("PRAGMA foreign_key_check").fetchone()
        except sqlite3.DatabaseError:
            return False
        return [row[0] for row in pages] == ["ok"] and references is None

    def close(self) -> None:
        """Waits for a write in progress; afterwards every call raises `StorageFailed`."""
        with self._turn, self._guard:
            self._closed = True
            for reader in self._readers:
                reader.close()
            self._readers.clear()
            self._writer.close()

    def _require_open(self) -> None:
        if self._closed:
            raise StorageFailed("The studio is closing.", "Start it again.")

    @contextmanager
    def _reader(self) -> Generator[sqlite3.Connection]:
        with self._guard:
            self._require_open()
            db = self._readers.pop() if self._readers else None
        db = db or connect(self._path)
        try:
            yield db
        finally:
            with self._guard:
                keep = not self._closed and len(self._readers) < IDLE_READERS
                if keep:
                    self._readers.append(db)
            if not keep:
                db.close()

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        names = [migration.__name__ for migration in migrations]
        with _told():
            done = _applied(self._writer)
            if done != names[: len(done)]:
                raise StorageFailed(
                    "The studio's records were written by a newer version.",
                    "Update the studio, or choose another data folder.",
                )
            if done and len(done) < len(names):
                self._copy(f".before-{names[len(done)]}")
        if len(done) == len(names):
            return
        with self.write() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied REAL)"
            )
            done = _applied(db)  # another process may have been faster
            for migration in migrations[len(done) :]:
                migration(db)
                db.execute(
                    "INSERT INTO migrations VALUES (?, ?)", (migration.__name__, time.time())
                )

    def _copy(self, ending: str) -> None:
        target = self._path.with_name(self._path.name + ending)
        target.unlink(missing_ok=True)
        _create(target)
        with closing(sqlite3.connect(target)) as copy:
            self._writer.backup(copy)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that may wander between threads, one at a time. Raises `sqlite3.Error`."""
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.text_factory = _text  # a byte changed on the disk must not hide a whole page of rows
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # NORMAL may lose the last commits at power loss
        db.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        db.close()
        raise
    return db


def set_aside(path: Path) -> Path:
    """Renames a damaged database with its WAL, so that a new one can be made. Returns its new path.

    Raises `StorageFailed`; the database itself then still lies where it was.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    target, attempt = path.with_name(f"{path.name}.damaged-{stamp}"), 1
    while target.exists():
        attempt += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{attempt}")
    try:
        # the database goes last: a WAL left behind would be played into the next one
        for ending in ("-shm", "-wal", ""):
            part = path.with_name(path.name + ending)
            if part.exists():
                os.replace(part, target.with_name(target.name + ending))
    except OSError:
        raise _cannot_be_written() from None
    return target


def _undo(db: sqlite3.Connection) -> None:
    if db.in_transaction:  # SQLite has undone it by itself after some disk errors
        db.execute("ROLLBACK")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _applied(db: sqlite3.Connection) -> list[str]:
    known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone()
    rows = db.execute("SELECT name FROM migrations ORDER BY name") if known else ()
    return [row[0] for row in rows]


def _create(path: Path) -> None:
    """An empty file that only its owner may read; SQLite gives the WAL the same mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600))
    except OSError:
        raise _cannot_be_written() from None


_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_STORAGE = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}
_WAITED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


@contextmanager
def _told() -> Generator[None]:
    """What SQLite says about the disk, as `StorageFailed`; its other errors pass unchanged."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # extended codes carry more bits
        if code == sqlite3.SQLITE_FULL:
            raise StorageFailed("The disk is full.", "Free some space and try again.") from error
        if code in _DAMAGED:
            raise DatabaseDamaged(
                "The studio's records are damaged.",
                "Start the studio again: it sets them aside and begins anew.",
            ) from error
        if code in _STORAGE:
            raise _cannot_be_written() from error
        if code in _WAITED:
            raise StorageFailed(
                "The studio's records are in use by another program.", "Try again in a moment."
            ) from error
        raise


def _cannot_be_written() -> StorageFailed:
    return StorageFailed(
        "The data folder cannot be written.", "Check its permissions and its disk, then try again."
    )
