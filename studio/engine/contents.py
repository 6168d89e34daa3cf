"""What components consist of: a hash of everything in them, found out when nobody waits."""

import hashlib
import json
import os
import threading
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from studio.engine.store import Entry, Store

PATIENCE_S = 0.1


class Contents:
    """Content hashes by key, remembered in a small file. One that is broken or cannot be written costs
    only time. For any thread."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._known: dict[str, str] = _read(file)
        self._waiting: dict[str, tuple[weakref.ref[Store], Entry]] = {}
        self._thread: threading.Thread | None = None

    def get(self, key: str) -> str | None:
        return self._known.get(key)

    def found_out_later(self, entries: Iterable[Entry], store: Store) -> None:
        """Hashes these while nothing is on loan."""
        with self._lock:
            for entry in entries:
                if entry.content is None and entry.blob.slab is not None:
                    self._waiting[entry.key] = (weakref.ref(store), entry)
            if self._waiting and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._work, name="contents", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        threading.Event().wait(PATIENCE_S)
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                key = next(iter(self._waiting))
                found, entry = self._waiting.pop(key)
            store = found()
            content = None if store is None else hashed(store, entry)
            if content is None:
                continue
            entry.content = content
            with self._lock:
                self._known[key] = content
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
        while any(row.leases for row in store.rows()):
            threading.Event().wait(PATIENCE_S)
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
