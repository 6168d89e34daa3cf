"""Memory for the weights of one component, which goes back to the system as one."""

import mmap
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from io import FileIO
from itertools import accumulate
from math import prod
from operator import mul
from pathlib import Path

import torch
from torch import Tensor

from studio.checkpoints.header import Damaged

ALIGN = 256
"""Bytes. What kernels want, and more than any number format needs."""
AHEAD = 64 << 20
"""Bytes of a file that are read at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies in a slab."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def arranged(
    tensors: Iterable[tuple[str, tuple[int, ...], torch.dtype]],
) -> tuple[dict[str, Place], int]:
    """Places one behind another, and how many bytes they need in all."""
    places: dict[str, Place] = {}
    end = 0
    for name, shape, dtype in tensors:
        place = places[name] = Place(end, shape, dtype)
        end += -(-place.size_bytes // ALIGN) * ALIGN
    return places, max(end, ALIGN)


CAN_MAP = hasattr(mmap, "MAP_PRIVATE")
"""Not on Windows, where nobody could delete a file as long as it is mapped."""


class _Memory(mmap.mmap):
    """Memory of the system's. What is told when a weak reference dies is told too late: by then it is no
    longer mapped."""

    leaving: list[Callable[[], object]]

    def __del__(self) -> None:
        while self.leaving and not sys.is_finalizing():
            self.leaving.pop()()


class Slab:
    """Anonymous memory of the machine in one piece. Given back when the last tensor over it is gone."""

    is_anonymous = True

    def __init__(self, size_bytes: int) -> None:
        """Raises `MemoryError`."""
        try:
            self.memory = _anonymous(size_bytes)
        except OSError as error:
            raise MemoryError from error
        self.memories: tuple[mmap.mmap, ...] = (self.memory,)
        self.size_bytes = size_bytes
        self.pinned = False
        """Whether the device may read it by itself."""
        self._bytes = torch.frombuffer(self.memory, dtype=torch.uint8)
        _sizes[id(self.memory)] = size_bytes
        self.on_release(_released, id(self.memory))

    def on_release(self, call: Callable[..., object], *arguments: object) -> None:
        """Calls this right before the memory is given back; what came last is called first."""
        self.memory.leaving.append(partial(call, *arguments))

    @property
    def bytes(self) -> Tensor:
        """All of it, [size_bytes]."""
        return self._bytes

    def tensors(self, places: Mapping[str, Place]) -> dict[str, Tensor]:
        return views(self.bytes, places)

    @property
    def is_changed(self) -> bool:
        """Whether it is no longer what was read into it."""
        return False

    @property
    def in_use(self) -> bool:
        """Whether tensors over it are still around, besides its own."""
        storage = self.bytes.untyped_storage()
        # one count is the tensor's and one that of the object just made
        return int(torch._C._storage_Use_Count(storage._cdata)) > 2  # pyright: ignore


@dataclass(frozen=True, slots=True)
class Window:
    """Where a tensor lies in a file, as it is computed with."""

    file: Path
    begin: int
    """Its first byte, from that of the file on."""


class Mapped(Slab):
    """Files in the place of memory: the system reads them when they are looked at, and takes the room
    back when it wants to. A file that gets shorter meanwhile ends the process."""

    is_anonymous = False

    def __init__(
        self,
        windows: Mapping[str, Window],
        places: Mapping[str, Place],
        size_bytes: int,
        check: Callable[[], None],
    ) -> None:
        """`check` is called between parts that are read and may raise. Raises `OSError`, and `Damaged`
        for a file that is too short."""
        self.size_bytes = size_bytes
        self.pinned = False
        self._found: dict[str, Tensor] = {}
        self._opened: list[tuple[FileIO, tuple[int, int]]] = []
        memories: list[mmap.mmap] = []
        for file in sorted({window.file for window in windows.values()}):
            begins = {name: one.begin for name, one in windows.items() if one.file == file}
            end = max(begin + places[name].size_bytes for name, begin in begins.items())
            first = min(begins.values()) // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            opened = FileIO(file)
            then = _written(opened)
            if then[0] < end:
                raise Damaged("The model file is damaged (it was cut off while it was being read).")
            self._opened.append((opened, then))
            # Private: torch only takes memory that could be written to.
            memory = mmap.mmap(opened.fileno(), end - first, flags=mmap.MAP_PRIVATE, offset=first)
            memories.append(memory)
            _in_large_pages(memory)
            _read_ahead(memory, check)
            there = {name: replace(places[name], offset=at - first) for name, at in begins.items()}
            self._found |= views(torch.frombuffer(memory, dtype=torch.uint8), there)
        self.memories = tuple(memories)

    @property
    def bytes(self) -> Tensor:
        """A copy of all tensors, one behind another."""
        return torch.cat([one.reshape(-1).view(torch.uint8) for one in self._found.values()])

    def tensors(self, places: Mapping[str, Place]) -> dict[str, Tensor]:
        return {name: self._found[name] for name in places}

    @property
    def in_use(self) -> bool:
        """Always: it is nothing that could be filled with other weights."""
        return True

    @property
    def is_changed(self) -> bool:
        """Whether a file was written to. One that another took the place of is what it was."""
        return any(_written(opened) != then for opened, then in self._opened)


def _written(opened: FileIO) -> tuple[int, int]:
    found = os.fstat(opened.fileno())
    return found.st_size, found.st_mtime_ns


def _in_large_pages(memory: mmap.mmap) -> None:
    """Has a file that must be read from the disk lie in pages of 2 MB, where the system's cache has
    such. Of one that lies there in small ones already nothing changes."""
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)


def _read_ahead(memory: mmap.mmap, check: Callable[[], None]) -> None:
    """Has the system read a file in one go, which it would else do page by page."""
    for begin in range(0, len(memory), AHEAD):
        check()
        if sys.platform == "linux":
            with suppress(OSError):  # a system before 5.14 has no such call
                memory.madvise(_POPULATE_READ, begin, min(AHEAD, len(memory) - begin))


_POPULATE_READ = 22


def _anonymous(size_bytes: int) -> _Memory:
    # Python's default is shared, which is a file in the system's books. No large pages: finding them
    # took four times as long as clearing small ones.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if CAN_MAP else {}
    memory = _Memory(-1, size_bytes, **private)
    memory.leaving = []
    return memory


_sizes: dict[int, int] = {}


def _released(identity: int) -> None:
    _sizes.pop(identity, None)


def outstanding() -> int:
    """Bytes of all slabs whose memory is not given back yet, dropped ones among them."""
    return sum(_sizes.values())


def views(memory: Tensor, places: Mapping[str, Place]) -> dict[str, Tensor]:
    """Tensors by name over the bytes of a slab, wherever it is. Each place begins at a multiple of its
    numbers' size. Raises `ValueError` if the memory is too small."""
    storage, first = memory.untyped_storage(), memory.storage_offset()
    if max((one.offset + one.size_bytes for one in places.values()), default=0) > len(memory):
        raise ValueError("more tensors than there is memory for")  # torch would find them more

    def view(place: Place) -> Tensor:
        # one call, of hundreds: to slice and to shape takes three times as long
        return torch.empty(0, dtype=place.dtype, device=memory.device).set_(
            storage,
            (first + place.offset) // place.dtype.itemsize,
            place.shape,
            _strides(place.shape),
        )

    return {name: view(place) for name, place in places.items()}


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a tensor whose numbers lie one behind another."""
    return tuple(accumulate(shape[:0:-1], mul, initial=1))[::-1][: len(shape)]
