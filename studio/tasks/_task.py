"""The contract between what is asked (a task) and what does it (the engine)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from studio.checkpoints.catalog import Checkpoint
from studio.core.records import NOTHING, Picture
from studio.families._family import Role


class Facts(Protocol):
    """What `resolve` may look at: the checkpoints that there are now."""

    def checkpoint(self, checkpoint_id: str | None) -> Checkpoint:
        """The checkpoint of that id; None is the default one. Raises `InvalidRequest`."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Brush:
    """One picture's worth of sampling, in the words of the request."""

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    sampler: str
    seed: int
    clip_skip: int = 1


class Painter(Protocol):
    """A pipeline on loan; each `paint` has a fresh scheduler and a generator of its own."""

    def paint(
        self,
        brush: Brush,
        *,
        index: int,
        pictures: int,
        extra: Mapping[str, Any] = NOTHING,
    ) -> Picture:
        """Makes one picture, reporting each step. `extra` goes to the pipeline's call as it is.

        Raises the engine's cancel signal at the next step once the job was cancelled.
        """
        ...


class Tools(Protocol):
    """What a task may ask of the engine, made per job."""

    def pipeline(self, checkpoint_id: str, role: Role) -> AbstractContextManager[Painter]:
        """Use it, then it is gone; weights are as before, also when the body raises."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """A request with everything decided, and what had to be changed to get there."""

    request: Any
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """An entry of the drawer `tasks/`."""

    id: str
    label: str
    request: type
    """A frozen pydantic dataclass (`core.requests.STRICT`); every field has a docstring."""
    resolve: Callable[[Any, Facts], Resolved]
    """Pure but for a random seed; resolving its own result changes nothing."""
    run: Callable[[Any, Tools], Iterator[Picture]]
    """Makes the pictures of a resolved request one by one, in the engine process."""
