"""From the machine's memory to the device: in chunks, on a stream of its own, from pinned memory where
that is faster.

Written against the documentation of CUDA; measured on a GPU only where the README says so.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from studio.engine.device import Device
from studio.engine.slabs import Slab
from studio.engine.weights import Blob

log = logging.getLogger("pochade.engine")

CHUNK = 64 << 20
"""Bytes in one copy."""
PINNED_SHARE = 0.5
"""Of the budget for weights in the machine's memory that may be pinned: such pages cannot be given to
anybody else, and some systems slow down when there are many."""
WORTH = 1.2
"""How much faster pinned memory must be to be used at all."""
PROBE_BYTES = 256 << 20


class Uploads:
    """Copies slabs to the device. Used by one thread at a time."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._stream: Any = None
        self._pins: bool | None = None
        """Whether pinning pays; None until it was tried."""
        self._pinned_bytes = 0
        self._count = threading.RLock()
        """Slabs go when the last tensor does, in any thread, and perhaps while this one is counting."""

    def bring(self, blob: Blob, check: Callable[[], None]) -> None:
        """Fills the device's copy. Work that is queued afterwards sees it whole.

        Memory running out is raised as torch does; nothing is left on the device then.
        """
        slab = blob.slab
        if slab is None:
            return
        self.pin(slab)
        if self._stream is None:
            self._stream = torch.cuda.Stream()
        # made on the stream that computes, so that its memory may be used again there at once
        memory = torch.empty(slab.size_bytes, dtype=torch.uint8, device=self._device.name)
        self._stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(self._stream):
                for begin in range(0, slab.size_bytes, CHUNK):
                    check()
                    part = slab.bytes[begin : begin + CHUNK]
                    memory[begin : begin + CHUNK].copy_(part, non_blocking=slab.pinned)
            blob.arrived(memory)  # the last chunks are still under way
        finally:
            torch.cuda.current_stream().wait_stream(self._stream)
            memory.record_stream(self._stream)
            if slab.pinned:  # it may be dropped, and unpinned, at any time from now on
                self._stream.synchronize()

    def pin(self, slab: Slab) -> None:
        """Lets the device read the slab by itself, if that pays and there is room for it."""
        if slab.pinned or not self._pays():
            return
        if self._pinned_bytes + slab.size_bytes > self._device.ram_budget_bytes * PINNED_SHARE:
            return
        if _register(slab):
            self._pinned(slab.size_bytes)
            slab.on_release(self._pinned, -slab.size_bytes)

    def _pinned(self, more_bytes: int) -> None:
        with self._count:
            self._pinned_bytes += more_bytes

    def _pays(self) -> bool:
        """Measures once whether pinned memory is faster here; on some machines it is far slower."""
        if self._pins is None:
            self._pins = False
            with suppress(RuntimeError, MemoryError):
                self._pins = self._measured()
            log.info("pinned memory is %s", "used" if self._pins else "not used")
        return self._pins

    def _measured(self) -> bool:
        size = min(PROBE_BYTES, self._device.ram_budget_bytes // 8)
        if size < CHUNK:
            return False
        target = torch.empty(size, dtype=torch.uint8, device=self._device.name)
        plain, pinned = Slab(size), Slab(size)
        for slab in (plain, pinned):
            slab.bytes.zero_()  # pages that were never written to are not there yet
        if not _register(pinned):
            return False
        slow, fast = (min(_seconds(slab, target) for _ in range(3)) for slab in (plain, pinned))
        log.info("to the device: %.1f GB/s, pinned %.1f GB/s", size / slow / 1e9, size / fast / 1e9)
        return slow / fast >= WORTH


def _seconds(slab: Slab, target: torch.Tensor) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    target.copy_(slab.bytes, non_blocking=slab.pinned)
    torch.cuda.synchronize()
    return time.perf_counter() - began


def _register(slab: Slab) -> bool:
    """Pins a slab where it lies, without a copy; whether that worked."""
    runtime: Any = torch.cuda.cudart()
    address = slab.bytes.data_ptr()
    if int(runtime.cudaHostRegister(address, slab.size_bytes, 0)) != 0:
        with suppress(RuntimeError):  # the next launch is told of the refusal once more
            torch.zeros(1, device="cuda")
        return False
    slab.pinned = True
    slab.on_release(runtime.cudaHostUnregister, address)
    return True
