"""Makes the n-th touch of the disk fail or kill the process: the calls of a save, one by one."""

import errno
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

CALLS = ("open", "write", "fsync", "replace", "unlink", "mkdir")
STATEMENTS = ("BEGIN", "COMMIT", "ROLLBACK", "INSERT", "UPDATE", "DELETE")


@dataclass
class Faults:
    """Counts touches from 1; touch `at` goes wrong, and with `lasting` all those after it."""

    at: int
    error: int = errno.ENOSPC
    lasting: bool = False
    kill: bool = False
    touches: int = 0
    names: list[str] = field(default_factory=list)
    """What was touched, in order."""

    @property
    def fired(self) -> bool:
        return self.touches >= self.at

    def touch(self, name: str, wrong: Callable[[], Exception]) -> None:
        self.touches += 1
        self.names.append(name)
        if self.touches == self.at or (self.lasting and self.touches > self.at):
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise wrong()


@contextmanager
def injected(faults: Faults) -> Iterator[None]:
    """Inside, every touch counts: calls of `os`, and SQL that changes something."""
    real = {name: getattr(os, name) for name in CALLS}

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            faults.touch(name, lambda: OSError(faults.error, os.strerror(faults.error)))
            return real[name](*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, wrapped(name))
    Watched.faults = faults
    try:
        yield
    finally:
        Watched.faults = None
        for name, call in real.items():
            setattr(os, name, call)


class Watched(sqlite3.Connection):
    """A connection whose changes count as touches while faults are injected."""

    faults: Faults | None = None

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self._touch(sql)
        return super().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self._touch(sql)
        return super().executemany(sql, *args)

    def _touch(self, sql: str) -> None:
        if Watched.faults is not None and sql.startswith(STATEMENTS):
            Watched.faults.touch(sql.split()[0], _full)


def _full() -> Exception:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@contextmanager
def watched_databases() -> Iterator[None]:
    """Databases opened inside are `Watched`."""
    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **kwargs: connect(*args, factory=Watched, **kwargs)
    try:
        yield
    finally:
        sqlite3.connect = connect
