"""The weights in memory: each set once, lent out, and dropped when their room is needed."""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from studio.engine.device import Device, is_out_of_memory, release_memory
from studio.engine.slabs import Slab
from studio.engine.transfer import Uploads
from studio.engine.weights import Blob

log = logging.getLogger("pochade.engine")

Check = Callable[[], None]
"""Called in the middle of a load; may raise to end it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Want:
    """One component that somebody asks for."""

    key: str
    """Of exactly these files as they are now. The same weights may have several."""
    part: str
    kind: str
    group: str
    """Only weights of one group can be the same."""
    size_bytes: int
    """That it will take; 0 if that is not known before."""
    read: Callable[[Slab | None, Check], Blob]
    """Reads it, into memory that is there if it fits. Called without any lock."""
    same: Callable[[Blob], bool] | None = None
    """Whether `read` would give just this."""
    content: Callable[[], str | None] = lambda: None
    """What is known about its content from before."""


@dataclass(slots=True)
class Entry:
    """One component in memory."""

    key: str
    part: str
    kind: str
    group: str
    blob: Blob
    reload_s: float
    holders: set[str] = field(default_factory=set[str])
    """Ids of the checkpoints that have it."""
    leases: int = 0
    uses: int = 0
    priority: float = 0.0
    content: str | None = None
    """SHA-256 of class, config, number format and all tensors; found out at leisure."""

    @property
    def id(self) -> str:
        return self.content or self.key

    @property
    def size_bytes(self) -> int:
        return self.blob.size_bytes


class Store:
    """Components by key. All of it may be used from any thread; loading one does not hold up others.

    What goes first is decided by GreedyDual-Size-Frequency (Cherkasova 1998): seconds that reading
    would take again, by bytes, by how often it was used, on a clock that rises with each eviction.
    """

    def __init__(
        self,
        device: Device,
        pinned: Callable[[Entry], bool],
        forget: Callable[[Entry], None],
    ) -> None:
        """`pinned` says what stays; `forget` is told, under the lock, what is dropped."""
        self.device = device
        self.lock = threading.Condition(threading.RLock())
        self.entries: dict[str, Entry] = {}
        self.uploads = Uploads(device)
        self.swaps = 0
        """How often weights were read or dropped."""
        self._aliases: dict[str, str] = {}
        self._reading: set[str] = set()
        self._recent: frozenset[str] = frozenset()
        self._clock = 0.0
        self._pinned = pinned
        self._forget = forget

    @contextmanager
    def lease(
        self,
        wants: Sequence[Want],
        holder: str,
        *,
        told: Check = lambda: None,
        check: Check = lambda: None,
        recent: bool = True,
    ) -> Generator[list[Entry]]:
        """Lends components, in that order; none of them is dropped meanwhile.

        `told` is called once before anything is read. Weights that are `recent` are kept when they
        are given back even if they alone are larger than the budget. Raises what reading does; what
        was read until then stays.
        """
        taken: dict[str, Entry] = {}
        try:
            with self.lock:
                for want in wants:
                    if entry := self._found(want.key):
                        taken[want.key] = self._touched(entry, holder)
            once = _Once(told)
            for want in wants:
                if want.key not in taken:
                    taken[want.key] = self._brought(want, holder, once, check)
            found = [taken[want.key] for want in wants]
            if self.device.name == "cuda" and recent:
                for entry in found:
                    self._to_device(entry, check)
            if recent:
                self._recent = frozenset(entry.key for entry in found)
            yield found
        finally:
            with self.lock:
                for entry in taken.values():
                    entry.leases -= 1
                self._drop([e for e in taken.values() if not e.holders and not e.leases])
                self._make_room(0)

    @contextmanager
    def lend_once(self, want: Want, holder: str, check: Check = lambda: None) -> Generator[Entry]:
        """Lends what one lease alone has: it is read now and dropped at the end. Raises what reading
        does."""
        entry = self._read(want, holder, check)
        try:
            yield entry
        finally:
            with self.lock:
                entry.leases -= 1
                self._drop([entry])

    def let_go(self, entry: Entry) -> bool:
        """Gives one component of a lease back before its end. Where nobody else uses it, it leaves
        the memory that it is computed in; True then. `return_to` must be called before the end."""
        with self.lock:
            entry.leases -= 1
            if entry.leases:
                return False
            if self.device.name == "cuda" and entry.blob.slab is not None:
                entry.blob.leave_device()
            else:
                self._drop([entry])
            return True

    def return_to(self, entries: Iterable[Entry]) -> None:
        """Components that were let go are the lease's again, which is about to end."""
        with self.lock:
            for entry in entries:
                entry.leases += 1

    def rows(self) -> list[Entry]:
        """What is held, in no order."""
        with self.lock:
            return list(self.entries.values())

    def held(self, key: str) -> Entry | None:
        with self.lock:
            return self._found(key)

    def owned(self, holder: str) -> frozenset[str]:
        """Keys of what a checkpoint has in memory."""
        with self.lock:
            return frozenset(entry.key for entry in self.rows() if holder in entry.holders)

    def disown(self, holder: str, but: frozenset[str] = frozenset()) -> None:
        """A checkpoint is no longer what it was: what only it had is dropped, save these keys."""
        with self.lock:
            for entry in self.rows():
                if entry.key not in but:
                    entry.holders.discard(holder)
            self._drop([e for e in self.rows() if not e.holders and not e.leases])

    def leave(self, holder: str, entries: Iterable[Entry]) -> None:
        """Components on loan are no longer a checkpoint's: what nobody else has goes with the last
        lease."""
        with self.lock:
            for entry in entries:
                entry.holders.discard(holder)

    def drop_idle(self) -> None:
        """Drops everything that is not on loan."""
        with self.lock:
            self._drop([entry for entry in self.rows() if not entry.leases])
        release_memory()

    @property
    def ram_bytes(self) -> int:
        return sum(entry.blob.ram_bytes for entry in self.rows())

    @property
    def anonymous_bytes(self) -> int:
        """Of the machine's memory, without files in the place of memory."""
        return sum(entry.blob.ram_bytes for entry in self.rows() if not entry.blob.is_mapped)

    @property
    def vram_bytes(self) -> int:
        return sum(entry.blob.vram_bytes for entry in self.rows())

    def _found(self, key: str) -> Entry | None:
        entry = self.entries.get(self._aliases.get(key, key))
        if entry is None or not entry.blob.is_changed:
            return entry
        if not entry.leases:
            self._drop([entry])
        return None

    def _touched(self, entry: Entry, holder: str) -> Entry:
        entry.leases += 1
        entry.uses += 1
        entry.holders.add(holder)
        cost = entry.uses * max(entry.reload_s, 1e-3) / max(1, entry.size_bytes)
        entry.priority = self._clock + cost
        return entry

    def _brought(self, want: Want, holder: str, told: Check, check: Check) -> Entry:
        """Reads it, unless somebody else does already, or has just the same."""
        with self.lock:
            while want.key in self._reading:
                self.lock.wait(0.05)
                check()
            if entry := self._found(want.key):
                return self._touched(entry, holder)
            self._reading.add(want.key)
        try:
            told()
            return self._twin(want, holder) or self._read(want, holder, check)
        finally:
            with self.lock:
                self._reading.discard(want.key)
                self.lock.notify_all()

    def _twin(self, want: Want, holder: str) -> Entry | None:
        """The same weights, read for another checkpoint."""
        with self.lock:
            rows = [entry for entry in self.rows() if entry.group == want.group]
            others = [entry for entry in rows if not entry.blob.is_changed]
            for entry in others:
                entry.leases += 1
        try:
            known = want.content()
            for entry in others:
                sure = known is not None and known == entry.content
                if sure or (want.same is not None and want.same(entry.blob)):
                    with self.lock:
                        self._aliases[want.key] = entry.key
                        return self._touched(entry, holder)
            return None
        finally:
            with self.lock:
                for entry in others:
                    entry.leases -= 1

    def _read(self, want: Want, holder: str, check: Check) -> Entry:
        began = time.monotonic()
        try:
            blob = self._tried(want, check)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            blob = None
        if blob is None:  # outside of the except block: a traceback keeps the tensors of its frames
            self.drop_idle()
            blob = self._tried(want, check)
        content = want.content()
        with self.lock:
            self.swaps += 1
            entry = Entry(
                key=want.key,
                part=want.part,
                kind=want.kind,
                group=want.group,
                blob=blob,
                reload_s=time.monotonic() - began,
                content=content,
            )
            self.entries[want.key] = entry
            return self._touched(entry, holder)

    def _tried(self, want: Want, check: Check) -> Blob:
        with self.lock:
            spare = self._make_room(want.size_bytes)
        fitting = next((slab for slab in spare if _fits(slab, want.size_bytes)), None)
        spare.clear()
        return want.read(fitting, check)

    def _make_room(self, size_bytes: int) -> list[Slab]:
        """Drops the least worthy until so much more fits, and hands out their memory: using it again
        is several times faster than getting it anew from the system."""
        total = sum(entry.blob.ram_bytes for entry in self.entries.values()) + size_bytes
        spare: list[Slab] = []
        while total > self.device.ram_budget_bytes:
            recent = frozenset[str]() if size_bytes else self._recent
            idle = [e for e in self.entries.values() if self._may_go(e) and e.key not in recent]
            if not idle:
                break
            victim = min(idle, key=lambda entry: entry.priority)
            total -= victim.blob.ram_bytes
            self._clock = max(self._clock, victim.priority)
            slab = victim.blob.slab
            self._drop([victim])
            if slab is not None and size_bytes and not slab.in_use:
                spare.append(slab)
        return spare

    def _may_go(self, entry: Entry) -> bool:
        return not entry.leases and not self._pinned(entry)

    def _drop(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if self.entries.get(entry.key) is not entry:
                continue  # it was let go before its lease ended
            del self.entries[entry.key]
            for alias in [a for a, key in self._aliases.items() if key == entry.key]:
                del self._aliases[alias]
            self._forget(entry)
            entry.blob.drop()
            self.swaps += 1
            log.info("dropped %s of %s", entry.part, ", ".join(sorted(entry.holders)))

    def _to_device(self, entry: Entry, check: Check) -> None:
        """Copies it to the device; leaving it is dropping, since the machine's memory keeps it."""
        slab = entry.blob.slab
        with self.lock:
            missing = 0 if slab is None or entry.blob.vram_bytes else slab.size_bytes
            self._make_room_on_device(missing)
        if not missing:
            return
        try:
            self.uploads.bring(entry.blob, check)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        if not entry.blob.is_ready:  # outside of the except block: a traceback keeps tensors
            self._all_leave_device()
            self.uploads.bring(entry.blob, check)
        with self.lock:
            self.swaps += 1

    def _make_room_on_device(self, size_bytes: int) -> None:
        """Has the least worthy leave the device until so much more fits its budget."""
        total = self.vram_bytes + size_bytes
        idle = sorted(self._idle_on_device(), key=lambda entry: entry.priority, reverse=True)
        while idle and total > self.device.vram_budget_bytes:
            victim = idle.pop()
            total -= victim.blob.vram_bytes
            self._leave_device(victim)

    def _idle_on_device(self) -> list[Entry]:
        """What could leave it; what lies nowhere else would be gone, so it stays where it is pinned."""
        return [
            entry
            for entry in self.rows()
            if entry.blob.vram_bytes and not entry.leases
            if entry.blob.slab is not None or not self._pinned(entry)
        ]

    def _leave_device(self, entry: Entry) -> None:
        if entry.blob.slab is None:
            self._drop([entry])
            return
        self._forget(entry)
        entry.blob.leave_device()

    def _all_leave_device(self) -> None:
        """Drops the device's copies of all that is not on loan."""
        with self.lock:
            for entry in self._idle_on_device():
                self._leave_device(entry)
        release_memory()


class _Once:
    """Calls something the first time it is called."""

    def __init__(self, call: Check) -> None:
        self._call: Check | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


def _fits(slab: Slab, size_bytes: int) -> bool:
    return size_bytes <= slab.size_bytes <= size_bytes + size_bytes // 8
