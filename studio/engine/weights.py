"""The tensors of one component, in the machine's memory and on the device."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from studio.engine.skeletons import parameters
from studio.engine.slabs import Place, Slab, views


class Blob:
    """Tensors by name. Nobody changes them."""

    def __init__(
        self,
        slab: Slab,
        places: Mapping[str, Place],
        *,
        device: str,
        converted_from: tuple[Path, ...] = (),
    ) -> None:
        """Over a slab that is filled, or about to be. On a processor they are computed with right there."""
        self.slab: Slab | None = slab
        self.converted_from = converted_from
        """The files that could not stay in the place of memory, where that would have been quicker."""
        self.module: Any = None
        """Where it is a network of its own instead: what its reader made."""
        self.places = places
        self.host: Mapping[str, Tensor] = slab.tensors(places)
        self.device_slab: Tensor | None = None
        self.bound: Mapping[str, Tensor] = {}
        """What skeletons are pointed at; empty while it is not on the device."""
        self._extra_bytes = 0
        self._dropped: Callable[[], None] = lambda: None
        self._on_cpu = device == "cpu"
        if self._on_cpu:
            self.bound = parameters(self.host)

    @classmethod
    def of_module(
        cls,
        module: Any,
        size_bytes: int,
        *,
        device: str,
        dropped: Callable[[], None] = lambda: None,
    ) -> "Blob":
        """A network that keeps its tensors itself, and lets go of them when `dropped` is called."""
        blob = cls.__new__(cls)
        blob.slab, blob.places, blob.host, blob.bound = None, {}, {}, {}
        blob.module, blob.device_slab = module, None
        blob._extra_bytes, blob._on_cpu = size_bytes, device == "cpu"
        blob._dropped, blob.converted_from = dropped, ()
        return blob

    @property
    def size_bytes(self) -> int:
        return self.slab.size_bytes if self.slab is not None else self._extra_bytes

    @property
    def ram_bytes(self) -> int:
        if self.slab is not None:
            return self.slab.size_bytes
        return self._extra_bytes if self._on_cpu else 0

    @property
    def is_mapped(self) -> bool:
        """Whether files are in the place of memory of its own."""
        return self.slab is not None and not self.slab.is_anonymous

    @property
    def is_changed(self) -> bool:
        """Whether its file was written to while it was in the place of memory."""
        return self.slab is not None and self.slab.is_changed

    @property
    def vram_bytes(self) -> int:
        if self.device_slab is not None:
            return int(self.device_slab.numel())
        return 0 if self._on_cpu or self.slab is not None else self._extra_bytes

    @property
    def is_ready(self) -> bool:
        """Whether it can be computed with."""
        return bool(self.bound) or self.module is not None

    def arrived(self, memory: Tensor) -> None:
        """Its bytes are on the device, in this tensor [size_bytes]."""
        self.device_slab = memory
        self.bound = parameters(views(memory, self.places))

    def leave_device(self) -> None:
        """Nothing is copied back: the machine's memory has it all the time."""
        self.device_slab, self.bound = None, {}

    def drop(self) -> None:
        """Lets go of everything."""
        self.leave_device()
        self._dropped()
        self.slab, self.module, self.host, self._extra_bytes = None, None, {}, 0
