"""The contract of a preprocessor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol

from annotated_types import Ge, Le
from PIL.Image import Image
from pydantic.dataclasses import dataclass as request_part

from studio.core.errors import InvalidRequest
from studio.core.geometry import Size
from studio.core.requests import STRICT
from studio.preprocessors._people import Person, draw
from studio.preprocessors._stopping import Check

ANNOTATORS = "annotators"
"""The folder of the data folder for weights that preprocessors want."""
DetailPx = Annotated[int, Ge(64), Le(2048)]


class Kind(StrEnum):
    """What a map shows, and so which ControlNets understand it."""

    EDGES = "edges"
    DEPTH = "depth"
    """White is near, black is far."""
    POSE = "pose"
    NORMALS = "normals"
    """Red, green and blue say where a surface looks."""
    SEGMENTS = "segments"
    """A flat colour for each thing."""
    TILE = "tile"
    """The picture itself, less sharp."""
    SHUFFLE = "shuffle"
    """Its colours, out of place."""


@request_part(frozen=True, kw_only=True, config=STRICT)
class Nothing:
    """Settings of a preprocessor that has none."""


@request_part(frozen=True, kw_only=True, config=STRICT)
class Detail:
    """Settings of a preprocessor that can look at a smaller picture."""

    detail_px: DetailPx = 512
    """Pixels of the shorter side that the map is made at: less leaves fine things out. The map has
    the size of the picture all the same, and a smaller picture is looked at as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Files that somebody else trained, and that do not come with the studio."""

    label: str
    """As it is called by those who made it."""
    repo: str
    """Where it is on Hugging Face: "owner/name"."""
    files: tuple[str, ...]
    """Paths in that repository; all of them are needed."""
    size_bytes: int
    """Of all files together, about."""
    licence: str
    instead: str
    """Id of the preprocessor that stands in while they are absent; it needs none."""

    @property
    def place(self) -> str:
        """The folder of the data folder that they are put into."""
        return f"{ANNOTATORS}/{self.repo.rpartition('/')[2]}"


@dataclass(frozen=True, slots=True)
class Map:
    """What a preprocessor makes of a picture."""

    image: Image
    """RGB, in the size of the picture."""
    people: tuple[Person, ...] = ()
    """Whom a map of kind POSE shows; empty for every other kind."""


def skeletons(people: Sequence[Person], size: Size) -> Map:
    """The map of people. Raises `InvalidRequest` if there is nobody: an empty map would be taken
    for a pose."""
    seen = tuple(person for person in people if person.confidence > 0)
    if not seen:
        raise InvalidRequest(
            "No person was found in this picture.",
            "Choose a picture that shows somebody larger, or let it be less sure.",
            field="image",
        )
    return Map(draw(seen, size), seen)


class Run(Protocol):
    """`image` is RGB, `params` of the preprocessor's own class. The same picture and params give the
    same bytes. Raises `StudioError` where there is nothing to show, and whatever `check` raises."""

    def __call__(self, image: Image, params: Any, check: Check = ...) -> Map: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessor:
    """An entry of the drawer `preprocessors/`: it has `run`, or it `needs` weights and has `load`."""

    id: str
    label: str
    about: str
    """A sentence for people: what the map shows and what it is good for."""
    kind: Kind
    params: type
    """A frozen pydantic dataclass (`core.requests.STRICT`); every field has bounds, a default and a
    docstring."""
    soft: bool = False
    """Whether its edges are soft, or as loose as a scribble: some ControlNets tell them from exact
    lines."""
    run: Run | None = None
    needs: Weights | None = None
    load: Callable[[Path], Run] | None = None
    """From the folder in which the weights lie. Takes seconds; what it gives may be kept."""
