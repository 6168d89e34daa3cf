"""Files that change what a checkpoint paints: which there are, and which one a name means."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import prod
from pathlib import Path
from typing import Generic, TypeVar

from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.header import BadFile, Header, NotSafetensors, as_named, read_header
from studio.checkpoints.ids import free_id
from studio.checkpoints.scan import GENERIC, PICKLED, Found, Stamp, scan, sidecar_of
from studio.checkpoints.sidecar import read_sidecar
from studio.core.errors import InvalidRequest
from studio.core.records import NOTHING


@dataclass(frozen=True, kw_only=True, slots=True)
class File(ABC):
    """A file in one of these folders. One that cannot be used is listed with its `problem`."""

    id: str
    """Its path below the folder without its ending; unique, never a path to follow."""
    label: str
    path: Path
    """Where it lies. Never leaves the server."""
    size_bytes: int
    stamp: Stamp
    alias: str = ""
    """What the trainer called it, if that is something else."""
    parameters: int = 0
    """Of all its tensors; 0 for one that cannot be used."""
    written_hash: str = ""
    """Hash of its tensors as its trainer wrote it into the file: hex digits, or nothing."""
    problem: str = ""
    """Why it cannot be used, as a sentence; empty when it can."""
    advice: str = ""
    twins: tuple[str, ...] = ()
    """Of one that was found by name, ids of others of that name that fit as well; none where its
    folder or its trainer's name says which one is meant."""

    @property
    def name(self) -> str:
        """Its id without folders: what prompts call it."""
        return self.id.rpartition("/")[2]

    @abstractmethod
    def fits(self, checkpoint: Checkpoint) -> bool:
        """Whether it was made for checkpoints of that shape."""


class Pickled(BadFile):
    """Opening it could run code."""


class Foreign(BadFile):
    """It is healthy, and nothing of this kind."""


class Untold(BadFile):
    """It is healthy, and leaves out what one must know to use it."""


SHORT = 10
"""Digits of a hash that are enough to know a file by."""

F = TypeVar("F", bound=File)


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """What people call a kind of files."""

    kind: str
    """LoRA, embedding, VAE: as it stands in "There is no … 'x'"."""
    folder: str
    """In the data folder."""
    field: str
    """Of a request."""


class Files(Generic[F]):
    """The files below some folders, as they are at this moment. For any thread.

    Names, sizes and times are read each time, contents only of what is new.
    """

    def __init__(
        self,
        words: Words,
        kind: type[F],
        known: Callable[[F, Header], F],
        folders: tuple[Path, ...] = (),
    ) -> None:
        """`known` fills in what the header says; it raises `BadFile` for one that cannot be used.
        `folders` need not exist; the first one that has an id keeps it, and what has it too goes by its
        folder's name as well."""
        self.words = words
        self._kind = kind
        self._known = known
        self._folders = folders
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, Stamp], F] = {}

    def all(self) -> tuple[F, ...]:
        """All of them, broken ones too."""
        with self._lock:
            seen: dict[tuple[str, Stamp], F] = {}
            listed: dict[str, F] = {}
            taken, places = dict[str, Path](), set[Path]()
            for folder in self._folders:
                for found in scan(folder):
                    if found.layout != "file" or found.path in places:
                        continue
                    key = (str(found.path), found.stamp)
                    file = self._seen[key] if key in self._seen else self._inspected(found)
                    seen[key] = file
                    # nobody meant those of Hugging Face's cache as anything
                    if found.loose and file.problem:
                        continue
                    own = free_id(found.path, folder, taken, file.id, found.id)
                    taken[own] = found.path
                    places.add(found.path)
                    listed[own] = file if own == file.id else replace(file, id=own)
            self._seen = seen
            return tuple(listed.values())

    def _inspected(self, found: Found) -> F:
        own = _id(found)
        blank = self._kind(
            id=own,
            label=read_sidecar(sidecar_of(found.path)).label or own.rpartition("/")[2],
            path=found.path,
            size_bytes=found.stamp[0][1],
            stamp=found.stamp,
        )
        try:
            if found.path.suffix.lower() in PICKLED:
                raise Pickled(
                    f"Only .safetensors files can be used ({found.path.name} was not loaded)."
                )
            with as_named(found.path):
                header = read_header(found.path)
                counted = replace(blank, parameters=sum(map(prod, header.shapes.values())))
                return self._known(counted, header)
        except BadFile as problem:
            return replace(blank, problem=str(problem), advice=_advice(problem))
        except OSError:
            return replace(
                blank, problem="It cannot be read.", advice="Check the permissions of the file."
            )

    def get(self, file_id: str) -> F:
        """Raises `InvalidRequest`."""
        for file in self.all():
            if file.id == file_id:
                return self._usable(file)
        raise self._missing(file_id, ())

    def find(self, name: str, checkpoint: Checkpoint) -> F:
        """The file that a person means by that name, for that checkpoint.

        By id, by file name, by the name that its trainer gave it; upper and lower case matter only
        where they must. Where several have the name, the one that fits the checkpoint is meant. Raises
        `InvalidRequest` if there is none or more than one, if it cannot be used or does not fit.
        """
        files = self.all()
        fit = tuple(file for file in files if fitting(file, checkpoint))
        if meant := _named(fit, name):
            if meant[1:]:
                raise self._shared(name, meant)
            return with_twins(meant[0], _asked(name), fit)
        named = _named(files, name)
        if not named:
            raise self._missing(name, fit)
        file = self._usable(named[0])
        raise InvalidRequest(
            f"The {self.words.kind} '{file.label}' is not made for '{checkpoint.label}'.",
            f"Choose another {self.words.kind}, or a checkpoint that it is made for.",
            field=self.words.field,
        )

    def meant(self, name: str, digest: str = "", known: Mapping[Path, str] = NOTHING) -> str | None:
        """What to call the file that somebody's picture was made with: `name` if one here has it, but
        for another of that name that has the hash, of those `known`; else the id of any with that
        hash. None if it is not here."""
        usable = tuple(file for file in self.all() if not file.problem)
        named = _named(usable, name)
        same = [file for file in usable if _has_hash(file, digest, known)]
        if not named:
            return same[0].id if same else None
        alike = [file for file in same if file in named or file.name == named[0].name]
        means_it = not alike or (named[0] in alike and not named[1:])
        return name if means_it else alike[0].id

    def _usable(self, file: F) -> F:
        if file.problem:
            raise InvalidRequest(
                f"The {self.words.kind} '{file.label}' cannot be used. {file.problem}",
                file.advice,
                field=self.words.field,
            )
        return file

    def _shared(self, name: str, fit: list[F]) -> InvalidRequest:
        words = self.words
        count = "Two" if len(fit) == 2 else str(len(fit))
        ids = [f"'{file.id}'" for file in fit]
        return InvalidRequest(
            f"{count} {words.kind}s are called '{_shown(name)}': "
            f"{', '.join(ids[:-1])} and {ids[-1]}.",
            f"Write which one with its folder, as {ids[0]}, or rename one.",
            field=words.field,
        )

    def _missing(self, name: str, fit: Iterable[F]) -> InvalidRequest:
        words = self.words
        place = f"the folder '{words.folder}' of the data folder"
        if len(self._folders) > 1:
            place += " and the folders that were added to it"
        known = {file.name.casefold(): file.name for file in fit}
        near = [known[one] for one in get_close_matches(_shown(name).casefold(), known, 3, 0.5)]
        hint = f"Did you mean {_either(near)}?" if near else "Put it there, or leave it out."
        return InvalidRequest(
            f"There is no {words.kind} '{_shown(name)}' in {place}.", hint, field=words.field
        )


def fitting(file: File, checkpoint: Checkpoint) -> bool:
    """Whether it can be used with that checkpoint."""
    return not file.problem and file.fits(checkpoint)


def _has_hash(file: File, digest: str, known: Mapping[Path, str]) -> bool:
    hashes = (known.get(file.path, ""), file.written_hash)
    return len(digest) >= SHORT and any(one.startswith(digest) for one in hashes)


def with_twins(file: F, name: str, others: Iterable[F]) -> F:
    """The file that a name means, and which of the others have that name too."""
    same = name.casefold()
    twins = (one.id for one in others if one.id != file.id and one.name.casefold() == same)
    return replace(file, twins=tuple(twins))


def _id(found: Found) -> str:
    folder, _, name = found.id.rpartition("/")
    return folder if folder and name.startswith(GENERIC) else found.id


def _advice(problem: BadFile) -> str:
    if isinstance(problem, Pickled):
        return "Such files can run code when they are opened; get it as .safetensors."
    if isinstance(problem, NotSafetensors):
        return "Get the .safetensors version of it, however the file is called."
    if isinstance(problem, Untold):
        return "Get another version of it, one whose trainer wrote that into the file."
    if isinstance(problem, Foreign):
        return "Put it into the folder where files of its kind belong."
    return "Copy or download it again."


def _asked(name: str) -> str:
    return name.strip().removesuffix(".safetensors").replace("\\", "/")


def _named(files: tuple[F, ...], name: str) -> list[F]:
    asked = _asked(name)
    ways: tuple[Callable[[F], str], ...] = (
        lambda file: file.id,
        lambda file: file.name,
        lambda file: file.alias,
    )
    for same in (str, str.casefold):
        for called in ways:
            if found := [file for file in files if same(called(file)) == same(asked)]:
                return found
    return []


def _shown(name: str) -> str:
    printable = "".join(letter for letter in name if letter.isprintable())
    return printable if len(printable) <= 60 else printable[:59] + "…"


def _either(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)
