"""Who uses a data folder: one process at a time, and how the others find it.

`<data>/.lock` is locked by the operating system for as long as its process lives, so a lock left by
a killed one is free at once. `<data>/.server.json` tells the command line where the server answers
and the secret that proves it may ask as the local owner; only its owner can read it.
"""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import StorageFailed, StudioError
from studio.core.locks import take

LOCK = ".lock"
SERVER = ".server.json"
PATIENCE_S = 0.4


class DataDirInUse(StudioError):
    """Another process holds the data folder. Nothing in it was touched."""

    status = 409

    def __init__(self, holder: "Holder") -> None:
        by = f"process {holder.pid}" if holder.pid else "another process"
        super().__init__(
            f"The data folder is already used by {by}.",
            "Use the studio that runs there, stop it, or choose another folder with --data-dir.",
        )
        self.holder = holder


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """The process that holds a data folder, as it wrote itself down."""

    pid: int = 0
    """0 where it could not be read."""
    command: str = ""
    """`serve`, which answers others, or `generate`, which soon ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """Where a running server answers the command line of the same person."""

    url: str
    token: str
    """Sent as `X-Pochade-Local`; its bearer is the owner "local"."""
    pid: int


@contextmanager
def claim(data_dir: Path, command: str) -> Iterator[None]:
    """Holds the data folder, making it first where it is missing.

    Raises `DataDirInUse` if a living process has it, `StorageFailed` if it cannot be written to.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageFailed(
            f"The data folder cannot be used ({error.strerror}).",
            "Make it writable or choose another one with --data-dir.",
        ) from None
    try:
        if not _lock_soon(lock):
            raise DataDirInUse(_holder(data_dir))
        try:
            (data_dir / SERVER).unlink(missing_ok=True)
            _write_private(
                data_dir / f"{LOCK}.pid", asdict(Holder(pid=os.getpid(), command=command))
            )
        except OSError as error:
            raise StorageFailed(
                f"The data folder cannot be written to ({error.strerror}).",
                "Free some space or choose another folder with --data-dir.",
            ) from None
        try:
            yield
        finally:
            for name in (SERVER, f"{LOCK}.pid"):
                (data_dir / name).unlink(missing_ok=True)
    finally:
        os.close(lock)


def holder(data_dir: Path) -> Holder | None:
    """Who holds the folder now; None if nobody does or it does not exist."""
    try:
        lock = os.open(data_dir / LOCK, os.O_RDWR)
    except OSError:
        return None
    try:
        return None if take(lock) else _holder(data_dir)
    finally:
        os.close(lock)


def announce(data_dir: Path, url: str, token: str) -> None:
    """Tells the command line where this process answers; call it while holding the folder."""
    _write_private(data_dir / SERVER, asdict(Server(url=url, token=token, pid=os.getpid())))


def server(data_dir: Path) -> Server | None:
    """The server that the folder's holder announced; None while it has not."""
    found = holder(data_dir)
    data = _read(data_dir / SERVER)
    if found is None or data.get("pid") != found.pid:
        return None
    try:
        return Server(url=str(data["url"]), token=str(data["token"]), pid=found.pid)
    except KeyError:
        return None


def new_token() -> str:
    return secrets.token_urlsafe(32)


def _lock_soon(descriptor: int) -> bool:
    """`_lock`, tried again for a moment: `holder` of another process has it for an instant."""
    end = time.monotonic() + PATIENCE_S
    while not (locked := take(descriptor)) and time.monotonic() < end:
        time.sleep(0.02)
    return locked


def _holder(data_dir: Path) -> Holder:
    data = _read(data_dir / f"{LOCK}.pid")
    pid = data.get("pid")
    return Holder(pid=pid if isinstance(pid, int) else 0, command=str(data.get("command", "")))


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write_private(file: Path, data: dict[str, Any]) -> None:
    """Writes so that readers see the old or the new file, and nobody else can read either."""
    fresh = file.with_name(f".tmp-{file.name.lstrip('.')}-{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as out:
        json.dump(data, out)
    os.replace(fresh, file)
