"""A job's feed: what happened to it, in order, as plain data.

Events are append-only and numbered from 1 within a job. All but `Preview` are stored; a preview is
only worth something while somebody looks.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """It was running when the server ended; it can be run again, it never restarts by itself."""

    @property
    def over(self) -> bool:
        return self not in {JobState.QUEUED, JobState.RUNNING}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened to a job; `kind` names it on the wire."""

    @property
    def kind(self) -> str:
        return type(self).__name__.lower()

    def data(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued(Event):
    notes: tuple[str, ...] = ()
    """What `resolve` changed, a sentence each ("Width 513 became 512 …")."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Started(Event):
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Loading(Event):
    """Weights are being read before the first step."""

    what: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted(Event):
    """Something about the job was changed while it ran."""

    note: str
    """A sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress(Event):
    picture: int
    """Which picture of the job, from 0."""
    pictures: int
    step: int
    """Steps done of this picture, 1 … steps."""
    steps: int
    seconds_left: float | None = None
    """For the whole job; None until one step has been measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview(Event):
    """A small JPEG of how the picture looks now. Not stored."""

    picture: int
    jpeg: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved(Event):
    """A picture is on disk and in the gallery."""

    image_id: str
    index: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished(Event):
    image_ids: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed(Event):
    message: str
    hint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancelled(Event):
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Interrupted(Event):
    message: str
    hint: str
