"""SHA-256 of weight files, remembered until the file changes."""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

_BLOCK_BYTES = 4 << 20


class Hashes:
    """Hashes by path, size and modification time, kept in a small file below `cache_dir`.

    May be called from any thread. A cache that is broken or cannot be written costs only time.
    """

    def __init__(self, cache_dir: Path | None) -> None:
        self._file = cache_dir / "hashes.json" if cache_dir else None
        self._lock = threading.Lock()
        self._known: dict[str, list[Any]] | None = None

    def sha256(self, path: Path) -> str:
        """64 hex digits. Reads the whole file the first time; raises `OSError`."""
        stat = path.stat()
        name, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
        with self._lock:
            known = self._load().get(name)
        if known and known[:2] == stamp:
            return str(known[2])
        digest = _sha256(path)
        with self._lock:
            self._load()[name] = [*stamp, digest]
            self._store()
        return digest

    def remembered(self, files: Iterable[Path]) -> dict[Path, str]:
        """The hashes that are known already, whichever process found them out. Reads no weights."""
        known = _read(self._file) if self._file else self._load()
        found: dict[Path, str] = {}
        for file in files:
            with contextlib.suppress(OSError):
                stat = file.stat()
                entry = known.get(str(file.resolve()))
                if entry and entry[:2] == [stat.st_size, stat.st_mtime_ns]:
                    found[file] = str(entry[2])
        return found

    def _load(self) -> dict[str, list[Any]]:
        if self._known is None:
            self._known = _read(self._file) if self._file else {}
        return self._known

    def _store(self) -> None:
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


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _read(file: Path) -> dict[str, list[Any]]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    entries = cast(dict[str, Any], found).items()
    lists = {name: cast(list[Any], entry) for name, entry in entries if isinstance(entry, list)}
    return {name: entry for name, entry in lists.items() if len(entry) == 3}
