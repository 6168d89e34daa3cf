"""Memory for the weights of one component in one piece, which goes back to the system as one."""

import mmap
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

ALIGN = 256
"""Bytes. What kernels want, and more than any number format needs."""


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


class Slab:
    """Anonymous memory of the machine. Given back when the last tensor over it is gone."""

    def __init__(self, size_bytes: int) -> None:
        """Raises `MemoryError`."""
        try:
            self.memory = _anonymous(size_bytes)
        except OSError as error:
            raise MemoryError from error
        self.size_bytes = size_bytes
        self.pinned = False
        """Whether the device may read it by itself."""
        self.bytes = torch.frombuffer(self.memory, dtype=torch.uint8)
        """All of it, [size_bytes]."""
        _sizes[id(self.memory)] = size_bytes
        self.on_release(_released, id(self.memory))

    def on_release(self, call: Callable[..., object], *arguments: object) -> None:
        """Calls this right before the memory is given back; what came last is called first."""
        weakref.finalize(self.memory, call, *arguments).atexit = False

    def tensors(self, places: Mapping[str, Place]) -> dict[str, Tensor]:
        return views(self.bytes, places)

    @property
    def in_use(self) -> bool:
        """Whether tensors over it are still around, besides its own."""
        storage = self.bytes.untyped_storage()
        # one count is the tensor's and one that of the object just made
        return int(torch._C._storage_Use_Count(storage._cdata)) > 2  # pyright: ignore


def _anonymous(size_bytes: int) -> mmap.mmap:
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size_bytes)
    # Python's default is shared, which is a file in the system's books. No large pages: finding them
    # took four times as long as clearing small ones.
    return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


_sizes: dict[int, int] = {}


def _released(identity: int) -> None:
    _sizes.pop(identity, None)


def outstanding() -> int:
    """Bytes of all slabs whose memory is not given back yet, dropped ones among them."""
    return sum(_sizes.values())


def views(memory: Tensor, places: Mapping[str, Place]) -> dict[str, Tensor]:
    """Tensors by name over the bytes of a slab, wherever it is."""
    return {
        name: memory[place.offset : place.offset + place.size_bytes]
        .view(place.dtype)
        .view(place.shape)
        for name, place in places.items()
    }
