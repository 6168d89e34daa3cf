"""What came out (`Picture`) and what is kept (`ImageRecord`, `Job`)."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from studio.core.events import JobState

NOTHING: Mapping[Any, Any] = MappingProxyType({})


def new_id() -> str:
    """128 random bits as 32 hex digits: ids cannot be guessed."""
    return secrets.token_hex(16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A finished picture as it leaves the engine: pixels, and how it was made."""

    index: int
    """Position in the job, from 0."""
    seed: int
    """The seed of this very picture; the job's seed + index."""
    width: int
    height: int
    pixels: bytes
    """RGB, 8 bit, row by row: width × height × 3 bytes; × 4 with `alpha`."""
    alpha: bool = False
    """RGBA: some of it may be transparent."""
    facts: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """How it was really made: checkpoint hashes, library versions, device, dtype, seconds, tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRecord:
    """A picture in the gallery. The file it names is complete and carries the same request."""

    id: str
    owner: str
    job_id: str
    index: int
    task: str
    request: Mapping[str, Any]
    """The resolved request of the job, as JSON data; running it again gives the same pixels."""
    seed: int
    width: int
    height: int
    infotext: str
    """A1111's `parameters` text."""
    facts: Mapping[str, Any]
    file: str
    """Path below the data folder, with forward slashes. Never shown to a person."""
    created: float
    """Seconds since 1970, UTC."""
    starred: bool = False
    trashed: bool = False
    parents: tuple[str, ...] = ()
    """ImageRefs this picture was made from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A style in words, that prompts can be written with."""

    name: str
    prompt: str
    """`{prompt}` in it stands for the prompt; without it, it is written behind one."""
    negative_prompt: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A wish and its life on the server."""

    id: str
    owner: str
    task: str
    request: Mapping[str, Any]
    """Resolved, as JSON data."""
    state: JobState
    created: float
    started: float | None = None
    ended: float | None = None
    notes: tuple[str, ...] = ()
    error: Mapping[str, str] | None = None
    """`message` and `hint` of a failed or interrupted job."""
    image_ids: tuple[str, ...] = ()
    position: int | None = None
    """Place in the queue as its owner will see it served, from 1; None unless queued."""
