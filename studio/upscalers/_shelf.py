"""Which upscalers there are: those of the drawer, and the files in the upscaler folders."""

import threading
import zipfile
from dataclasses import replace
from pathlib import Path

from studio.checkpoints.enlargers import enlarges
from studio.checkpoints.header import MAX_HEADER_BYTES, BadFile, read_header, readable
from studio.checkpoints.ids import free_id
from studio.checkpoints.scan import Found, Stamp, scan
from studio.core.errors import InvalidRequest
from studio.discovery import open_drawer
from studio.upscalers._upscaler import Upscaler, missing

MAX_BYTES = 2 << 30
"""The largest that spandrel knows has 0.6 GB."""
MAX_PARTS = 20_000
"""Entries of a .pth, which is a zip: one for each tensor."""

SAFE, PICKLED = ".safetensors", ".pth"
_OLD_FORM = b"\x80\x02"


class Shelf:
    """The upscalers that there are at this moment. May be used from any thread.

    Names, sizes and times are read each time, contents only of what is new.
    """

    def __init__(self, folders: tuple[Path, ...] = ()) -> None:
        """`folders` need not exist. The first one that has a name keeps it; what has it too goes by
        its folder's name as well."""
        self._folders = folders
        self._drawer = sorted(
            open_drawer("studio.upscalers", Upscaler).values(),
            key=lambda entry: (entry.place, entry.id),
        )
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, Stamp], Upscaler] = {}

    def all(self) -> tuple[Upscaler, ...]:
        """The drawer's in their order, then the files by name; those that cannot be used too."""
        return (*map(_judged, self._drawer), *self._files())

    def get(self, upscaler_id: str | None) -> Upscaler:
        """The upscaler of that id; None is the first usable one.

        The id is only ever compared with ids, never made into a path. Raises `InvalidRequest` if
        there is none or if it cannot be used.
        """
        listed = self.all()
        usable = [entry for entry in listed if not entry.problem]
        if upscaler_id is None:
            return usable[0]  # one of the drawer needs no weights
        for entry in listed:
            if entry.id == upscaler_id:
                if entry.problem:
                    raise InvalidRequest(entry.problem, entry.advice, field="upscaler")
                return entry
        printable = "".join(letter for letter in upscaler_id if letter.isprintable())
        raise InvalidRequest(
            f"There is no upscaler '{printable[:60]}'.",
            f"Choose one of {', '.join(entry.id for entry in usable[:8])}.",
            field="upscaler",
        )

    def named(self, name: str) -> Upscaler | None:
        """The usable upscaler of that id, label or other program's name, in any case."""
        asked = name.strip().casefold()
        for entry in self.all():
            names = (entry.id, entry.label, *entry.aliases)
            if not entry.problem and asked in map(str.casefold, names):
                return entry
        return None

    def _files(self) -> tuple[Upscaler, ...]:
        with self._lock:
            seen: dict[tuple[str, Stamp], Upscaler] = {}
            listed: dict[str, Upscaler] = {}
            taken, places = dict[str, Path](), set[Path]()
            for folder in self._folders:
                for found in scan(folder):
                    if found.layout != "file" or found.path in places:
                        continue
                    key = (str(found.path), found.stamp)
                    entry = self._seen[key] if key in self._seen else inspect(found)
                    seen[key] = entry
                    # nobody meant those among things of every other kind as anything
                    if found.loose and entry.problem:
                        continue
                    own = free_id(found.path, folder, taken, entry.id)
                    taken[own] = found.path
                    places.add(found.path)
                    listed[own] = entry if own == entry.id else _renamed(entry, own)
            self._seen = seen
            return tuple(listed.values())


def _renamed(entry: Upscaler, own: str) -> Upscaler:
    """The same, beside another one of its name."""
    return replace(entry, id=own, label=own.removesuffix(Path(own).suffix))


def _judged(entry: Upscaler) -> Upscaler:
    if entry.bundled is None or entry.bundled.path() is not None:
        return entry
    lost = missing(entry, entry.bundled)
    return replace(entry, problem=lost.message, advice=lost.hint)


def inspect(found: Found) -> Upscaler:
    """What a file is, from its size and header alone; nothing in it is loaded."""
    file = found.path
    size = next((size for name, size, _ in found.stamp if name.endswith(file.name)), 0)
    entry = Upscaler(
        id=f"{found.id}{file.suffix}",
        label=file.stem,
        about="From the upscaler folder.",
        file=file,
        size_bytes=size,
    )
    try:
        check(file)
        if found.loose and file.suffix.lower() == SAFE and not enlarges(read_header(file).shapes):
            raise BadFile("This is no upscaler of a kind that is told by its keys.")
    except BadFile as problem:
        return replace(entry, problem=str(problem), advice=_ADVICE)
    except OSError:
        return replace(
            entry, problem="This upscaler cannot be read.", advice="Check the file's permissions."
        )
    return entry


_ADVICE = "Copy or download it again, or take its .safetensors version."


def check(file: Path) -> None:
    """Whether a file can be one that is read. Raises `BadFile` with a sentence, or `OSError`."""
    if file.stat().st_size > MAX_BYTES:
        raise BadFile(f"An upscaler may have at most {readable(MAX_BYTES)}; this file is larger.")
    kind = file.suffix.lower()
    if kind == SAFE:
        read_header(file)
    elif kind == PICKLED:
        _check_pth(file)
    else:
        raise BadFile(
            f"Only .safetensors and .pth upscalers are read ({file.name} was not loaded)."
        )


def _check_pth(file: Path) -> None:
    """A zip whose parts are stored as they are, so that none can be a bomb; or torch's form before
    1.6, a row of pickles. Either is opened as weights alone, which runs no code."""
    with file.open("rb") as opened:
        if opened.read(2) == _OLD_FORM:
            return
    try:
        with zipfile.ZipFile(file) as parts:
            entries = parts.infolist()
    except (zipfile.BadZipFile, ValueError):
        raise BadFile("The upscaler's file is damaged, or nothing that PyTorch saves.") from None
    pickles = [entry for entry in entries if entry.filename.endswith(".pkl")]
    if len(entries) > MAX_PARTS or any(entry.file_size > MAX_HEADER_BYTES for entry in pickles):
        raise BadFile("The upscaler's file announces more than an upscaler can hold.")
    if not pickles or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise BadFile("The upscaler's file is damaged, or nothing that PyTorch saves.")
