"""Jobs and their feeds in SQLite. What is written here survives kill -9."""

import json
import math
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.core.errors import Busy, InvalidRequest, NotFound
from studio.core.events import (
    Cancelled,
    Event,
    Failed,
    Finished,
    Interrupted,
    JobState,
    Noted,
    Queued,
    Started,
)
from studio.core.records import Job, new_id
from studio.core.sqlite import Database
from studio.jobs.turns import in_turn


def m001_jobs(db: sqlite3.Connection) -> None:
    db.execute(
        """CREATE TABLE jobs (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            task TEXT NOT NULL,
            request TEXT NOT NULL,
            notes TEXT NOT NULL,
            state TEXT NOT NULL,
            rank INTEGER NOT NULL,
            turn INTEGER,
            created REAL NOT NULL,
            started REAL,
            ended REAL,
            error TEXT
        )"""
    )
    db.execute("CREATE INDEX jobs_waiting ON jobs (rank) WHERE state = 'queued'")
    db.execute("CREATE INDEX jobs_owner ON jobs (owner, seq)")
    db.execute("CREATE INDEX jobs_turn ON jobs (owner, turn)")
    db.execute(
        """CREATE TABLE events (
            job TEXT NOT NULL REFERENCES jobs (id),
            n INTEGER NOT NULL,
            data TEXT NOT NULL,
            PRIMARY KEY (job, n)
        ) WITHOUT ROWID"""
    )


def m002_many_jobs(db: sqlite3.Connection) -> None:
    """What is asked several times a second must not grow with the years."""
    db.execute(
        "CREATE INDEX jobs_active ON jobs (owner, state) WHERE state IN ('queued', 'running')"
    )
    db.execute("CREATE INDEX jobs_last_turn ON jobs (turn)")


MIGRATIONS = (m001_jobs, m002_many_jobs)
DAY_S = 86_400

_ENDINGS: Mapping[type[Event], JobState] = {
    Finished: JobState.FINISHED,
    Failed: JobState.FAILED,
    Cancelled: JobState.CANCELLED,
    Interrupted: JobState.INTERRUPTED,
}


class JobStore:
    """Every job ever asked for. Safe to call from any thread."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Opens or makes the database; jobs left running by a dead server become interrupted.

        `clock` tells seconds since 1970.
        """
        self._db = Database(path, MIGRATIONS)
        self._clock = clock
        self._interrupt_running()

    def close(self) -> None:
        self._db.close()

    def add(
        self,
        owner: str,
        task: str,
        request: Mapping[str, Any],
        *,
        notes: tuple[str, ...] = (),
        limit: int,
        per_day: int | None = None,
    ) -> Job:
        """Queues a job behind its owner's others.

        Raises `Busy` when `limit` of them wait already, or `per_day` were asked for in the last 24
        hours, whatever has become of them.
        """
        job_id = new_id()
        with self._db.write() as db:
            if per_day is not None:
                _require_day(db, owner, per_day, self._clock())
            waiting = db.execute(
                "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND owner = ?", (owner,)
            ).fetchone()[0]
            if waiting >= limit:
                raise Busy(
                    f"You already have {waiting} jobs waiting.",
                    "Wait until one is done, or cancel one.",
                )
            rank = db.execute("SELECT COALESCE(MAX(seq), 0) + 1 FROM jobs").fetchone()[0]
            db.execute(
                "INSERT INTO jobs (id, owner, task, request, notes, state, rank, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    owner,
                    task,
                    json.dumps(dict(request)),
                    json.dumps(notes),
                    JobState.QUEUED,
                    rank,
                    self._clock(),
                ),
            )
            _append(db, job_id, Queued(notes=notes))
        return self.get(job_id)

    def get(self, job_id: str, owner: str | None = None) -> Job:
        """A job; with `owner`, only if it is theirs. Raises `NotFound`."""
        rows = self._db.read("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if not rows or (owner is not None and rows[0]["owner"] != owner):
            raise NotFound("There is no such job.", "It may have been somebody else's.")
        job = _job(rows[0])
        return self._placed((job,))[0] if job.state is JobState.QUEUED else job

    def owner_of(self, job_id: str) -> str | None:
        """Who asked for a job; None if it is not known here."""
        rows = self._db.read("SELECT owner FROM jobs WHERE id = ?", (job_id,))
        return rows[0]["owner"] if rows else None

    def of(self, owner: str, limit: int = 50) -> tuple[Job, ...]:
        """The owner's jobs: running and queued in the order they run, then the ended, newest first."""
        return (*self.active(owner), *self.ended(owner, limit))[:limit]

    def active(self, owner: str) -> tuple[Job, ...]:
        rows = self._db.read(
            "SELECT * FROM jobs WHERE owner = ? AND state IN ('queued', 'running')", (owner,)
        )
        jobs = self._placed(tuple(_job(row) for row in rows))
        return tuple(sorted(jobs, key=lambda job: job.position or 0))

    def busy_owners(self) -> tuple[str, ...]:
        """Everybody who has a job running or queued."""
        rows = self._db.read("SELECT DISTINCT owner FROM jobs WHERE state IN ('queued', 'running')")
        return tuple(row["owner"] for row in rows)

    def ended(self, owner: str, limit: int, *, but: str = "") -> tuple[Job, ...]:
        """The owner's ended jobs, newest first, without those of the task `but`."""
        rows = self._db.read(
            "SELECT * FROM jobs WHERE owner = ? AND state NOT IN ('queued', 'running')"
            " AND task != ? ORDER BY seq DESC LIMIT ?",
            (owner, but, limit),
        )
        return tuple(_job(row) for row in rows)

    def order(self) -> tuple[str, ...]:
        """Ids of all queued jobs in the order they will run."""
        waiting = self._db.read("SELECT id, owner FROM jobs WHERE state = 'queued' ORDER BY rank")
        turns = self._db.read(
            "SELECT owner, (SELECT MAX(turn) FROM jobs WHERE jobs.owner = line.owner) AS turn"
            " FROM (SELECT DISTINCT owner FROM jobs WHERE state = 'queued') AS line"
        )
        return in_turn(
            [(row["id"], row["owner"]) for row in waiting],
            {row["owner"]: row["turn"] or 0 for row in turns},
        )

    def take(self) -> Job | None:
        """The next job, now running; None if nothing waits. Only the worker calls this."""
        order = self.order()
        if not order:
            return None
        with self._db.write() as db:
            turn = db.execute("SELECT COALESCE(MAX(turn), 0) + 1 FROM jobs").fetchone()[0]
            taken = db.execute(
                "UPDATE jobs SET state = 'running', started = ?, turn = ?"
                " WHERE id = ? AND state = 'queued'",
                (time.time(), turn, order[0]),
            )
            if taken.rowcount == 0:  # cancelled in between
                return None
            _append(db, order[0], Started())
        return self.get(order[0])

    def append(self, job_id: str, event: Event) -> None:
        """Adds to the feed; an ending also ends the job. Events after the ending change no state."""
        with self._db.write() as db:
            _append(db, job_id, event)
            if ending := _ENDINGS.get(type(event)):
                error = (
                    json.dumps({"message": event.message, "hint": event.hint})
                    if isinstance(event, Failed | Interrupted)
                    else None
                )
                db.execute(
                    "UPDATE jobs SET state = ?, ended = ?, error = ?"
                    " WHERE id = ? AND state IN ('queued', 'running')",
                    (ending, time.time(), error, job_id),
                )
                _thin(db, job_id)

    def note(self, job_id: str, note: str) -> None:
        """Adds a sentence to a job's notes, and to its feed; one that is there is not said again."""
        with self._db.write() as db:
            row = db.execute("SELECT notes FROM jobs WHERE id = ?", (job_id,)).fetchone()
            notes = json.loads(row["notes"]) if row else [note]
            if note in notes:
                return
            db.execute(
                "UPDATE jobs SET notes = ? WHERE id = ?", (json.dumps([*notes, note]), job_id)
            )
            _append(db, job_id, Noted(note=note))

    def cancel_queued(self, job_id: str) -> bool:
        """Cancels a job that has not begun; False if it has, and nothing changes."""
        with self._db.write() as db:
            done = db.execute(
                "UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND state = 'queued'",
                (time.time(), job_id),
            )
            if done.rowcount:
                _append(db, job_id, Cancelled())
        return bool(done.rowcount)

    def move(self, owner: str, job_id: str, before: str | None) -> None:
        """Puts a queued job before another of the same owner, or last. Raises `NotFound`."""
        with self._db.write() as db:
            rows = db.execute(
                "SELECT id, rank FROM jobs WHERE owner = ? AND state = 'queued' ORDER BY rank",
                (owner,),
            ).fetchall()
            ids = [row["id"] for row in rows]
            if job_id not in ids or (before is not None and before not in ids):
                raise NotFound(
                    "There is no such job in your queue.", "It may have begun in the meantime."
                )
            if before == job_id:
                raise InvalidRequest("A job cannot go before itself.", "Name another one.")
            ids.remove(job_id)
            ids.insert(ids.index(before) if before else len(ids), job_id)
            db.executemany(
                "UPDATE jobs SET rank = ? WHERE id = ?",
                [(row["rank"], moved) for row, moved in zip(rows, ids, strict=True)],
            )

    def events(self, job_id: str, after: int = 0) -> tuple[tuple[int, dict[str, Any]], ...]:
        """The feed from entry `after` + 1 on, numbered from 1."""
        rows = self._db.read(
            "SELECT n, data FROM events WHERE job = ? AND n > ? ORDER BY n", (job_id, after)
        )
        return tuple((row["n"], json.loads(row["data"])) for row in rows)

    def _placed(self, jobs: tuple[Job, ...]) -> tuple[Job, ...]:
        if not any(job.state is JobState.QUEUED for job in jobs):
            return jobs
        places = {job_id: place for place, job_id in enumerate(self.order(), 1)}
        return tuple(replace(job, position=places.get(job.id)) for job in jobs)

    def _interrupt_running(self) -> None:
        for row in self._db.read("SELECT id FROM jobs WHERE state = 'running'"):
            self.append(
                row["id"],
                Interrupted(
                    message="The studio was closed while this was being painted.",
                    hint="Run it again: the same settings give the same picture.",
                ),
            )


def _require_day(db: sqlite3.Connection, owner: str, most: int, now: float) -> None:
    """Raises `Busy` if the owner asked for that many jobs in the last 24 hours."""
    # the one whose day must be over before there is room again
    blocking = db.execute(
        "SELECT created FROM jobs WHERE owner = ? AND created > ? ORDER BY seq DESC LIMIT 1 OFFSET ?",
        (owner, now - DAY_S, most - 1),
    ).fetchone()
    if blocking:
        wait_s = blocking["created"] + DAY_S - now
        raise Busy(
            f"You may ask for {most} jobs a day, and you have.",
            f"Come back in {_spoken(wait_s)}.",
            wait_s=wait_s,
        )


def _spoken(seconds: float) -> str:
    """Rounded up, as people say it: "40 minutes", "3 hours 20 minutes"."""
    hours, minutes = divmod(max(1, math.ceil(seconds / 60)), 60)
    parts = [
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((hours, "hour"), (minutes, "minute"))
        if count
    ]
    return " ".join(parts)


def _append(db: sqlite3.Connection, job_id: str, event: Event) -> None:
    db.execute(
        "INSERT INTO events (job, n, data)"
        " SELECT ?1, COALESCE(MAX(n), 0) + 1, ?2 FROM events WHERE job = ?1",
        (job_id, json.dumps(event.data())),
    )


def _thin(db: sqlite3.Connection, job_id: str) -> None:
    """Of an ended job's progress, the last of each picture is enough; numbers stay as they are."""
    db.execute(
        "DELETE FROM events WHERE job = ?1 AND data ->> 'kind' = 'progress' AND n NOT IN"
        " (SELECT MAX(n) FROM events WHERE job = ?1 AND data ->> 'kind' = 'progress'"
        " GROUP BY data ->> 'picture')",
        (job_id,),
    )


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        owner=row["owner"],
        task=row["task"],
        request=json.loads(row["request"]),
        state=JobState(row["state"]),
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        notes=tuple(json.loads(row["notes"])),
        error=json.loads(row["error"]) if row["error"] else None,
    )
