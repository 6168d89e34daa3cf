"""Hashes of weight files as the field uses them, remembered until the file changes.

SHA-256 of the whole file, whose first 10 digits are AutoV2; that of the bytes after the header,
whose first 12 are AutoV3; and AutoV1, of 64 KiB from the second MiB on.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from studio.checkpoints.streams import Progress, unseen

_BLOCK_BYTES = 4 << 20
_V1_BEGIN, _V1_BYTES = 0x100000, 0x10000
_TENSORS = "#tensors"
"""What follows a path where the hash is that of the tensors alone."""

Entry = list[Any]
"""Size, modification time in nanoseconds, hex digest."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What a weight file is known by elsewhere."""

    sha256: str
    autov1: str
    """8 digits; what A1111 called "Model hash" in 2022."""
    autov2: str
    autov3: str
    """Empty for what is no safetensors file."""


class Hashes:
    """Hashes by path, size and modification time, kept in a small file below `cache_dir`.

    May be called from any thread. A cache that is broken or cannot be written costs only time.
    """

    def __init__(self, cache_dir: Path | None) -> None:
        self._file = cache_dir / "hashes.json" if cache_dir else None
        self._lock = threading.Lock()
        self._known: dict[str, Entry] | None = None

    def sha256(self, path: Path) -> str:
        """64 hex digits. Reads the whole file the first time; raises `OSError`."""
        stat = path.stat()
        known = self._fresh(str(path.resolve()), stat)
        return known or self._compute(path, stat, unseen)[0]

    def tensors(self, path: Path) -> str:
        """Of a safetensors file without its header: what LoRAs are called by, whose texts in it
        may change. Its first digits are AutoV3. Raises as `sha256`; empty for another file."""
        stat = path.stat()
        known = self._fresh(str(path.resolve()) + _TENSORS, stat)
        return known or self._compute(path, stat, unseen)[1] or ""

    def sums(self, path: Path, progress: Progress = unseen) -> Sums:
        """All of them. Reads the whole file the first time; raises `OSError`."""
        stat, name = path.stat(), str(path.resolve())
        whole, tensors = self._fresh(name, stat), self._fresh(name + _TENSORS, stat)
        if whole is None or tensors is None:
            whole, tensors = self._compute(path, stat, progress)
        return Sums(
            sha256=whole, autov1=autov1(path), autov2=whole[:10], autov3=(tensors or "")[:12]
        )

    def last(self, path: Path) -> str | None:
        """The hash that a file of this name and size had when it was last read, if it ever was:
        a file that was damaged since still has it."""
        with self._lock:
            known = self._load().get(str(path.resolve()))
        return str(known[2]) if known and known[0] == path.stat().st_size else None

    def remember(self, path: Path, digest: str) -> None:
        """What whoever wrote the file found out as they wrote it. Raises `OSError`."""
        stat = path.stat()
        self._store({str(path.resolve()): [stat.st_size, stat.st_mtime_ns, digest]})

    def remembered(self, files: Iterable[Path], *, tensors: bool = False) -> dict[Path, str]:
        """The hashes that are known already, whichever process found them out: those of `sha256`,
        or of `tensors`. Reads no weights."""
        known = _read(self._file) if self._file else self._load()
        found: dict[Path, str] = {}
        for file in files:
            with contextlib.suppress(OSError):
                stat = file.stat()
                entry = known.get(str(file.resolve()) + (_TENSORS if tensors else ""))
                if entry and entry[:2] == [stat.st_size, stat.st_mtime_ns]:
                    found[file] = str(entry[2])
        return found

    def _fresh(self, name: str, stat: os.stat_result) -> str | None:
        with self._lock:
            known = self._load().get(name)
        fresh = known is not None and known[:2] == [stat.st_size, stat.st_mtime_ns]
        return str(known[2]) if known is not None and fresh else None

    def _compute(
        self, path: Path, stat: os.stat_result, progress: Progress
    ) -> tuple[str, str | None]:
        whole, tensors = _digests(path, stat.st_size, progress)
        stamp, name = [stat.st_size, stat.st_mtime_ns], str(path.resolve())
        found = {name: [*stamp, whole]}
        if tensors is not None:
            found[name + _TENSORS] = [*stamp, tensors]
        self._store(found)
        return whole, tensors

    def _load(self) -> dict[str, Entry]:
        if self._known is None:
            self._known = _read(self._file) if self._file else {}
        return self._known

    def _store(self, found: dict[str, Entry]) -> None:
        """Adds to what is in the file now: the engine and the command line write it as well."""
        with self._lock:
            self._known = {**self._load(), **(_read(self._file) if self._file else {}), **found}
            if self._file is None:
                return
            beside = self._file.with_suffix(f".{os.getpid()}.tmp")
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                beside.write_text(json.dumps(self._known))
                beside.replace(self._file)
            except OSError:
                with contextlib.suppress(OSError):
                    beside.unlink(missing_ok=True)


def autov1(path: Path) -> str:
    """A1111's first hash, which many files share: of 64 KiB of it. Raises `OSError`."""
    with path.open("rb") as file:
        file.seek(_V1_BEGIN)
        return hashlib.sha256(file.read(_V1_BYTES)).hexdigest()[:8]


def _digests(path: Path, size: int, progress: Progress) -> tuple[str, str | None]:
    """SHA-256 of all of it, and of what follows a safetensors header."""
    whole, tensors = hashlib.sha256(), None
    done = 0
    with path.open("rb") as file:
        head = file.read(8)
        whole.update(head)
        length = int.from_bytes(head, "little")
        if path.suffix.lower() == ".safetensors" and length <= size - 8:
            left = length
            while left and (block := file.read(min(left, _BLOCK_BYTES))):
                whole.update(block)
                left -= len(block)
            tensors = hashlib.sha256()
            done = 8 + length
        while block := file.read(_BLOCK_BYTES):
            whole.update(block)
            if tensors is not None:
                tensors.update(block)
            done += len(block)
            progress(done, size)
    return whole.hexdigest(), tensors.hexdigest() if tensors else None


def _read(file: Path) -> dict[str, Entry]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    entries = cast(dict[str, Any], found).items()
    lists = {name: cast(Entry, entry) for name, entry in entries if isinstance(entry, list)}
    return {name: entry for name, entry in lists.items() if len(entry) == 3}
