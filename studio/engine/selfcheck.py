"""Looks after every swap whether memory that was dropped really came back, and says who holds it."""

import gc
import logging
import weakref
from typing import Any

import torch

from studio.engine.slabs import Slab
from studio.engine.store import Store

log = logging.getLogger("pochade.engine")

SLACK_BYTES = 512 << 20
"""What libraries keep for themselves, or caches of prompts and previews, and may come and go."""


class SelfCheck:
    """Compares what the ledger says with what the system does. Never raises, only tells the log."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._slabs: list[tuple[weakref.ref[Any], int, str]] = []
        self._seen = -1
        self._least: tuple[int, int] | None = None
        """Anonymous memory and the device's, without weights, when they were least."""
        self._told: set[int] = set()

    def follow(self, slab: Slab, part: str) -> None:
        """Remembers memory until it is given back."""
        for memory in slab.memories:
            if not any(known() is memory for known, _, _ in self._slabs):
                self._slabs.append((weakref.ref(memory), len(memory), part))

    def look(self) -> None:
        """After a swap; does nothing if there was none since."""
        if self._seen == self._store.swaps:
            return
        self._seen = self._store.swaps
        self._slabs_came_back()
        self._memory_came_back()

    def _slabs_came_back(self) -> None:
        with self._store.lock:
            slabs = [e.blob.slab for e in self._store.rows() if e.blob.slab is not None]
            held = {id(memory) for slab in slabs for memory in slab.memories}
        self._slabs = [slab for slab in self._slabs if slab[0]() is not None]
        for memory, size, part in self._slabs:
            found = memory()
            if found is None or id(found) in held or id(found) in self._told:
                continue
            self._told.add(id(found))
            log.warning(
                "%.0f MB of a %s were dropped and are still held, by %s",
                size / 1e6,
                part,
                ", ".join(holders_of(found)) or "something that Python does not see",
            )

    def _memory_came_back(self) -> None:
        anonymous = anonymous_bytes() - self._store.anonymous_bytes
        device = 0
        if self._store.device.name == "cuda":
            device = int(torch.cuda.memory_allocated()) - self._store.vram_bytes
        least = self._least or (anonymous, device)
        self._least = (min(anonymous, least[0]), min(device, least[1]))
        for name, now, then in (
            ("the machine's memory", anonymous, least[0]),
            ("the device's memory", device, least[1]),
        ):
            if now - then > SLACK_BYTES:
                log.warning(
                    "%.0f MB of %s did not come back after a swap; the ledger has %s",
                    (now - then) / 1e6,
                    name,
                    ", ".join(f"{e.part} {e.size_bytes / 1e6:.0f} MB" for e in self._store.rows()),
                )


def holders_of(memory: Any) -> list[str]:
    """Who refers to tensors over that memory, by type; slow, and only for the log.

    Each search for referrers goes through all objects that there are, so there are two in all,
    however many tensors.
    """
    begin = torch.frombuffer(memory, dtype=torch.uint8).data_ptr()
    end = begin + len(memory)
    tensors = [
        one for one in gc.get_objects() if type(one) in _TENSORS and begin <= one.data_ptr() < end
    ]
    holders = _referrers(tensors)
    dicts = [holder for holder in holders if isinstance(holder, dict)]
    # what a module holds lies in a dict of it, which says less than the module does
    owners = _referrers(dicts, but=holders)
    owned = {id(held): owner for owner in owners for held in gc.get_referents(owner)}
    return sorted({_named(holder, owned.get(id(holder))) for holder in holders})[:8]


_TENSORS = (torch.Tensor, torch.nn.Parameter)


def _referrers(objects: list[Any], but: list[Any] | None = None) -> list[Any]:
    """What refers to any of them, without the lists of this search itself."""
    if not objects:
        return []
    own = (id(objects), id(but))
    return [found for found in gc.get_referrers(*objects) if id(found) not in own]


def _named(holder: Any, owner: Any) -> str:
    if isinstance(holder, dict):
        return "a dict" if owner is None else f"a dict of {type(owner).__name__}"
    return f"a {type(holder).__name__}"


def anonymous_bytes() -> int:
    """Memory of this process that is no file's; 0 where the system does not say."""
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("RssAnon"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
