"""What a checkpoint is to everybody else, and the list of those that there are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.families._family import Defaults, Supports


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """Weights on disk that a user picks. A broken or unknown one is listed with its `problem`."""

    id: str
    """Name below the checkpoint folder without its ending; unique, never a path to follow."""
    label: str
    family: str
    """Id of the family; empty if no family knows its keys."""
    path: Path
    """Where it lies. Never leaves the server."""
    layout: Literal["folder", "file"]
    size_bytes: int
    native_px: int
    multiple_px: int
    defaults: Defaults
    supports: Supports
    problem: str = ""
    """Why it cannot be used, as a sentence; empty when it can."""
    advice: str = ""
    """What to do about the problem."""
