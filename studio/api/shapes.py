"""What the API answers with, for its documentation. Answers are plain JSON and not filtered by it."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorWords:
    message: str
    hint: str
    field: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    error: ErrorWords


@dataclass(frozen=True, kw_only=True, slots=True)
class JobImage:
    id: str
    seed: int
    index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class JobShape:
    id: str
    task: str
    state: Literal["queued", "running", "finished", "failed", "cancelled", "interrupted"]
    request: dict[str, Any]
    notes: list[str]
    images: list[JobImage]
    error: dict[str, str] | None
    position: int | None
    created: float
    started: float | None
    ended: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobList:
    jobs: list[JobShape]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageShape:
    id: str
    job: str
    index: int
    task: str
    request: dict[str, Any]
    seed: int
    width: int
    height: int
    prompt: str
    negative_prompt: str
    checkpoint: str | None
    infotext: str
    facts: dict[str, Any]
    created: float
    starred: bool
    trashed: bool
    parents: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePage:
    images: list[ImageShape]
    next: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ref:
    ref: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkShape:
    url: str
    until: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SharingShape:
    link: LinkShape | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveredShape:
    source: str
    prompt: str
    negative_prompt: str
    fields: dict[str, Any]
    notes: list[str]
    over: dict[str, Any]
    checkpoint_name: str | None
    checkpoint_hash: str | None
    task: str | None
    request: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PresetShape:
    name: str
    prompt: str
    negative_prompt: str
    own: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PresetList:
    presets: list[PresetShape]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokensShape:
    used: int
    window: int
    chunks: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthShape:
    status: str
    version: str | None = None
    engine: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PoseShape:
    ref: str
    width: int
    height: int
    pose: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class EstimateShape:
    seconds: float | None
    swap_seconds: float | None
    peak_bytes: int
    measured: bool
    words: str
    changes: list[str]
    refused: dict[str, str] | None
    size: list[int | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldShape:
    id: str
    name: str
    owners: list[str]
    bytes: int
    tier: Literal["device", "ram", "disk"]
    mapped: bool
    leases: int
    pinned: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotShape:
    device: str
    dtype: str
    exact: str
    budget: int
    total: int
    free: int
    anonymous: int
    file: int
    allocated: int
    reserved: int
    converted: int
    means: list[str]
    components: list[HeldShape]
    weights: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedShape:
    id: str
    label: str
    family: str
    size_bytes: int
    where: Literal["device", "ram", "disk"]
    held_bytes: int
    swap_seconds: float | None
    pinned: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryShape(SnapshotShape):
    engine: str
    checkpoints: list[PlacedShape]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnloadedShape:
    done: bool
    before: SnapshotShape
    after: SnapshotShape | None


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallPlan:
    source: str
    name: str
    size_bytes: int
    files: int
    licence: str
    free_bytes: int
    there: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallShape:
    id: str
    source: str
    name: str
    size_bytes: int
    licence: str
    state: Literal["waiting", "running", "stopped", "failed", "done"]
    done_bytes: int
    bytes_per_s: int
    error: dict[str, str] | None
    note: str
    created: float
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StarterShape:
    source: str
    label: str
    about: str
    kind: str
    size_gb: float
    licence: str
    needs: str
    gated: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallList:
    may_install: bool
    installs: list[InstallShape]
    starters: list[StarterShape]
    free_bytes: int
