"""Weights that had to be converted, kept on disk in the numbers that are computed with.

A processor computes with a file as it lies there where its numbers are the right ones, which takes
milliseconds; all of them are converted else, which takes as long as memory does. So what had to be
converted is written down while nobody waits.
"""

import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import diffusers
import torch
import transformers

from studio.checkpoints.header import BadFile, Header, read_header
from studio.checkpoints.streams import Wanted, replacing, require_free, write
from studio.core.errors import StorageFailed
from studio.engine.leisure import Leisure, wait_until_idle
from studio.engine.reading import DTYPES
from studio.engine.slabs import Mapped, Place, Window
from studio.engine.store import Entry, Store

log = logging.getLogger("pochade.engine")

SHARE = 0.2
"""Of the free disk that is used where nobody says how much."""
BLOCK = 4 << 20
"""Bytes that are written before looking whether somebody needs the machine."""
FRESH_S = 24 * 3600.0
"""What was used within that time makes no room: a disk is not written to at every swap."""


class Converted:
    """Files by what they hold, so that checkpoints that share a network share its file. Beside each
    lies one with the paths that its numbers are from, which is touched at each use. The least recently
    used go where room is needed, and those whose checkpoint is gone. For any thread.
    """

    def __init__(self, folder: Path | None, most_bytes: int | None, leisure: Leisure) -> None:
        """`most_bytes` may be taken of the disk; None is a share of what is free, 0 drops what is
        kept. Without a folder nothing is kept."""
        self._folder = folder
        self._most = most_bytes
        self._leisure = leisure
        self._ended = threading.Event()
        self._writing = threading.Lock()
        for _, _, file in self._files() if most_bytes == 0 else ():
            _remove(file)
        self._drop_orphans()

    @property
    def size_bytes(self) -> int:
        """On disk."""
        return sum(size for _, size, _ in self._files())

    def mapped(
        self,
        content: str | None,
        places: Mapping[str, Place],
        size_bytes: int,
        check: Callable[[], None],
    ) -> Mapped | None:
        """The weights with that hash, if they are kept and can be used as they are."""
        if self._folder is None or content is None:
            return None
        file = self._file(self._folder, content)
        try:
            windows = _windows(file, read_header(file), places)
            _beside(file).touch()
            return Mapped(windows, places, size_bytes, check)
        except FileNotFoundError:
            return None
        except OSError as error:  # too many open files, say: nothing is wrong with the copy
            log.info("converted weights cannot be read: %s", error)
            return None
        except BadFile as error:
            log.info("converted weights cannot be used: %s", error)
            _remove(file)
            return None

    def end(self, patience_s: float = 2.0) -> None:
        """Gives up what is being written, of which nothing stays, and writes no more. Waits for that,
        but not longer than a disk that answers needs."""
        self._ended.set()
        self._writing.acquire(timeout=patience_s)

    def keep_later(self, entries: Iterable[Entry], store: Store) -> None:
        """Writes those down that were converted, once it is found out what they consist of."""
        for entry in entries:
            if self._folder and self._most != 0 and entry.blob.converted_from:
                self._leisure.later("keep", self._keep, store, entry)

    def _keep(self, store: Store, entry: Entry) -> None:
        if self._folder is None or entry.content is None or self._ended.is_set():
            return
        file = self._file(self._folder, entry.content)
        if file.exists():
            return
        wanted = {
            name: Wanted(
                dtype=_NAMES[place.dtype],
                shape=place.shape,
                blocks=_Blocks(store, entry, name, self._ended),
            )
            for name, place in entry.blob.places.items()
        }
        size = sum(one.size_bytes for one in wanted.values())
        if not self._make_room(self._folder, size):
            return
        try:
            require_free(file, size)
            with self._writing, replacing(file, force=True) as fresh:
                write(fresh, wanted, {}, lambda _: None)
                sources = map(os.fsencode, entry.blob.converted_from)
                _beside(file).write_bytes(b"\0".join(sources))
            log.info("kept the %s of %s converted", entry.part, ", ".join(sorted(entry.holders)))
        except _Dropped:
            return
        except StorageFailed as error:
            log.info("converted weights are not kept: %s", error)

    def _file(self, folder: Path, content: str) -> Path:
        """What converters of other versions make of a file may differ."""
        versions = f"{content} {diffusers.__version__} {transformers.__version__}"
        return folder / f"{hashlib.sha256(versions.encode()).hexdigest()[:32]}.safetensors"

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each was last used, its bytes, and where it is; the oldest first."""
        found: list[tuple[float, int, Path]] = []
        for file in self._folder.glob("*.safetensors") if self._folder else ():
            with suppress(OSError):
                found.append((_beside(file).stat().st_mtime, file.stat().st_size, file))
        return sorted(found)

    def _make_room(self, folder: Path, size_bytes: int) -> bool:
        self._drop_orphans()
        files = self._files()
        taken = sum(size for _, size, _ in files)
        most = self._most
        if most is None:
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                most = int(SHARE * (shutil.disk_usage(folder).free + taken))
        old = [one for one in files if one[0] < time.time() - FRESH_S]
        if most is None or taken - sum(size for _, size, _ in old) + size_bytes > most:
            return False
        for _, size, file in old:
            if taken + size_bytes > most:
                _remove(file)
                taken -= size
        return True

    def _drop_orphans(self) -> None:
        """Those whose checkpoint is gone, or that nobody knows the checkpoint of."""
        for file in self._folder.glob("*.safetensors") if self._folder else ():
            sources = b""
            with suppress(OSError):
                sources = _beside(file).read_bytes()
            if not all(Path(os.fsdecode(one)).is_file() for one in sources.split(b"\0")):
                _remove(file)


_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class _Dropped(Exception):
    """The weights left the memory before they were written, or the studio ends."""


class _Blocks:
    """The bytes of one tensor, a few at a time and only while nothing is on loan."""

    def __init__(self, store: Store, entry: Entry, name: str, ended: threading.Event) -> None:
        self._store, self._entry, self._name, self._ended = store, entry, name, ended

    def __call__(self) -> Iterator[bytes]:
        size = self._entry.blob.places[self._name].size_bytes
        for begin in range(0, size, BLOCK):
            wait_until_idle(self._store, self._ended)
            if self._ended.is_set():
                raise _Dropped
            with self._store.lock:
                tensor = self._entry.blob.host.get(self._name)
                if tensor is None or self._store.entries.get(self._entry.key) is not self._entry:
                    raise _Dropped
                part = tensor.reshape(-1).view(torch.uint8)[begin : begin + BLOCK].numpy().tobytes()
                del tensor
            yield part


def _windows(file: Path, header: Header, places: Mapping[str, Place]) -> Mapping[str, Window]:
    found: dict[str, Window] = {}
    for name, place in places.items():
        stored = header.tensors.get(name)
        if stored is None or (DTYPES.get(stored.dtype), stored.shape) != (place.dtype, place.shape):
            raise BadFile(f"there is no {name} as it is wanted")
        begin = header.data_begin + stored.begin
        if begin % place.dtype.itemsize:
            raise BadFile(f"{name} does not begin where its numbers can be used")
        found[name] = Window(file, begin)
    return found


def _beside(file: Path) -> Path:
    return file.with_suffix(".from")


def _remove(file: Path) -> None:
    for one in (file, _beside(file)):
        with suppress(OSError):
            one.unlink()
