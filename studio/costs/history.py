"""What jobs took on this machine, in SQLite; what is predicted is learned from here."""

import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from studio.core.sqlite import Database

KEPT = 2000
"""Rows of a table; older ones make room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Painted:
    """One pass over one picture, as it was measured."""

    checkpoint: str
    """Or what else did it, as `upscaler:lanczos`, which has no parameters."""
    device: str
    dtype: str
    pixels: int
    calls: int
    batch: int
    """Pictures in a call: 2 with guidance."""
    nets: int
    """ControlNets that were heard."""
    call_s: float
    """Seconds a call of the denoiser took."""
    rest_s: float
    """Seconds of everything else: prompt, encoding, decoding."""
    predicted_bytes: int
    """Activations as they were predicted, without correction."""
    peak_bytes: int
    """Activations as they were; 0 if that could not be measured."""
    plan: str = ""
    """`Plan.name` of how it was painted."""
    parameters: int = 0
    """Of the denoiser."""
    seen: int = 0
    """`Work.seen` of the pass; 0 where it was not kept, and was all `pixels`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A checkpoint brought in, as it was measured."""

    checkpoint: str
    device: str
    dtype: str
    bytes: int
    seconds: float


def m001_costs(db: sqlite3.Connection) -> None:
    db.execute(
        """CREATE TABLE painted (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            checkpoint TEXT NOT NULL,
            device TEXT NOT NULL,
            dtype TEXT NOT NULL,
            pixels INTEGER NOT NULL,
            calls INTEGER NOT NULL,
            batch INTEGER NOT NULL,
            nets INTEGER NOT NULL,
            call_s REAL NOT NULL,
            rest_s REAL NOT NULL,
            predicted_bytes INTEGER NOT NULL,
            peak_bytes INTEGER NOT NULL,
            plan TEXT NOT NULL,
            parameters INTEGER NOT NULL
        )"""
    )
    db.execute(
        """CREATE TABLE loaded (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            checkpoint TEXT NOT NULL,
            device TEXT NOT NULL,
            dtype TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            seconds REAL NOT NULL
        )"""
    )
    db.execute("CREATE TABLE pins (checkpoint TEXT PRIMARY KEY) WITHOUT ROWID")


def m002_seen(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE painted ADD COLUMN seen INTEGER NOT NULL DEFAULT 0")


MIGRATIONS = (m001_costs, m002_seen)

_TABLES: Mapping[type[Any], str] = {Painted: "painted", Loaded: "loaded"}
Measured = Painted | Loaded


class History:
    """The rows of both tables, newest last. Safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the database. Raises `StorageFailed`."""
        self._db = Database(path, MIGRATIONS)

    def close(self) -> None:
        self._db.close()

    def add(self, rows: Iterable[Measured]) -> None:
        """Raises `StorageFailed`; then nothing was kept."""
        listed = list(rows)
        if not listed:
            return
        with self._db.write() as db:
            for row in listed:
                table, values = _TABLES[type(row)], asdict(row)
                names = ", ".join(values)
                marks = ", ".join(f":{name}" for name in values)
                db.execute(
                    f"INSERT INTO {table} (at, {names}) VALUES (:at, {marks})",
                    {"at": time.time(), **values},
                )
            for table in _TABLES.values():
                db.execute(
                    f"DELETE FROM {table} WHERE seq <= (SELECT MAX(seq) FROM {table}) - {KEPT}"
                )

    def painted(self) -> tuple[Painted, ...]:
        return tuple(_row(Painted, row) for row in self._rows("painted"))

    def loaded(self) -> tuple[Loaded, ...]:
        return tuple(_row(Loaded, row) for row in self._rows("loaded"))

    def pins(self) -> tuple[str, ...]:
        """Ids of the checkpoints that should stay in memory."""
        rows = self._db.read("SELECT checkpoint FROM pins ORDER BY checkpoint")
        return tuple(row["checkpoint"] for row in rows)

    def pin(self, checkpoint: str, pinned: bool) -> None:
        """Raises `StorageFailed`."""
        with self._db.write() as db:
            if pinned:
                db.execute("INSERT OR IGNORE INTO pins VALUES (?)", (checkpoint,))
            else:
                db.execute("DELETE FROM pins WHERE checkpoint = ?", (checkpoint,))

    def unpin_all(self) -> None:
        """Raises `StorageFailed`."""
        with self._db.write() as db:
            db.execute("DELETE FROM pins")

    def _rows(self, table: str) -> list[sqlite3.Row]:
        return self._db.read(f"SELECT * FROM {table} ORDER BY seq")


def _row(kind: type[Any], row: sqlite3.Row) -> Any:
    return kind(**{field.name: row[field.name] for field in fields(kind)})


def measured(data: Mapping[str, Any]) -> Measured:
    """A row as the engine sent it: `{"kind": "painted", …}`. Raises `ValueError`."""
    given = {name: value for name, value in data.items() if name != "kind"}
    kinds = {table: kind for kind, table in _TABLES.items()}
    try:
        return kinds[str(data.get("kind"))](**given)
    except (KeyError, TypeError):
        raise ValueError("no measurement") from None


def sent(row: Measured) -> dict[str, Any]:
    """The other way."""
    return {"kind": _TABLES[type(row)], **asdict(row)}
