"""What components consist of: a hash of everything in them, found out when nobody waits."""

import hashlib
import json
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from studio.engine.leisure import Leisure, wait_until_idle
from studio.engine.store import Entry, Store


class Contents:
    """Content hashes by key, remembered in a small file. One that is broken or cannot be written costs
    only time. For any thread."""

    def __init__(self, file: Path | None, leisure: Leisure) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._known: dict[str, str] = _read(file)
        self._leisure = leisure

    def get(self, key: str) -> str | None:
        return self._known.get(key)

    def found_out_later(self, entries: Iterable[Entry], store: Store) -> None:
        """Hashes these while nothing is on loan."""
        for entry in entries:
            if entry.content is None and entry.blob.slab is not None:
                self._leisure.later("hash", self._find_out, store, entry)

    def _find_out(self, store: Store, entry: Entry) -> None:
        content = hashed(store, entry)
        if content is None:
            return
        entry.content = content
        with self._lock:
            self._known[entry.key] = content
            self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        beside = self._file.with_suffix(f".{os.getpid()}.tmp")
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(self._known))
            beside.replace(self._file)


def hashed(store: Store, entry: Entry) -> str | None:
    """SHA-256 of group and tensors, one at a time while nothing is on loan; None if it was dropped, or
    its file written to."""
    digest = hashlib.sha256(f"{entry.kind}\0{entry.group}".encode())
    for name in sorted(entry.blob.places):
        wait_until_idle(store)
        with store.lock:
            tensor = entry.blob.host.get(name)
        if tensor is None or entry.key not in store.entries or entry.blob.is_changed:
            return None
        digest.update(f"\0{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
        digest.update(tensor.detach().reshape(-1).view(torch.uint8).numpy().data)
        del tensor  # nothing of it is held while it waits: its memory may be wanted
    return None if entry.blob.is_changed else digest.hexdigest()


def _read(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        found: Any = json.loads(file.read_bytes())
        return {str(key): str(value) for key, value in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}
