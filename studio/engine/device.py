"""Where tensors live and how they are computed."""

import ctypes
import gc
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch

from studio.core.errors import Unavailable
from studio.costs.anatomy import Anatomy
from studio.costs.machine import Machine

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

_RAM_SHARE = 0.5
_VRAM_SHARE = 0.7
"""Shares of memory for weights. The rest is for the activations of the largest picture, for the
checkpoint that is being read while the ones before it are still there, and for other programs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """The device of this process."""

    name: str
    """`cpu`, `cuda`."""
    dtype: torch.dtype
    """Of weights and activations."""
    exact: torch.dtype | None = None
    """Of small checkpoints and of what makes pixels, where that is another."""
    ram_budget_bytes: int
    """How much of the machine's memory weights may take together."""
    vram_budget_bytes: int = 0
    """The same for the memory of a GPU; 0 where there is none."""

    @property
    def budget_bytes(self) -> int:
        """Of the memory that weights must be in to be computed with."""
        return self.ram_budget_bytes if self.name == "cpu" else self.vram_budget_bytes

    @property
    def machine(self) -> Machine:
        exact = _named(self.exact) if self.exact else ""
        return Machine(device=self.name, dtype=_named(self.dtype), exact=exact)

    def painting(self, anatomy: Anatomy | None) -> "Device":
        """The device as it computes a checkpoint of these sizes."""
        found = self.machine.painting(anatomy)
        return replace(self, dtype=_DTYPES[found.dtype], exact=_DTYPES.get(found.exact))

    @property
    def for_pixels(self) -> "Device":
        """The device as it computes what makes pixels."""
        return replace(self, dtype=self.exact or self.dtype)


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def choose(
    device: str = "auto", dtype: str = "auto", ram_budget: int = 0, vram_budget: int = 0
) -> Device:
    """The device and dtype asked for, or the best ones there are. Sets torch's thread count.

    Budgets are in bytes; 0 is a share of what there is, and more than there is counts as that. A GPU
    computes in float16; a processor in bfloat16 what is large, if it multiplies such numbers by
    itself, and all else in float32. Raises `Unavailable` if there is none of what was asked for.
    """
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if name not in {"cpu", "cuda"} or (name == "cuda" and not torch.cuda.is_available()):
        raise Unavailable(f"There is no device '{name}' here.", "Choose auto, cpu or cuda.")
    if dtype != "auto" and dtype not in _DTYPES:
        raise Unavailable(
            f"There is no number format '{dtype}'.", f"Choose auto, {', '.join(_DTYPES)}."
        )
    default = torch.float16 if name == "cuda" else _short()
    torch.set_num_threads(_threads())
    return Device(
        name=name,
        dtype=_DTYPES.get(dtype, default),
        exact=torch.float32 if name == "cpu" and dtype == "auto" else None,
        ram_budget_bytes=_budget(ram_budget, usable_ram(), _RAM_SHARE),
        vram_budget_bytes=_budget(vram_budget, vram()[1], _VRAM_SHARE) if name == "cuda" else 0,
    )


def _short() -> torch.dtype:
    """The shortest numbers that this processor is quick with."""
    able = torch.cpu.get_capabilities()
    quick = able.get("avx512_bf16") or able.get("amx_bf16")
    return torch.bfloat16 if quick else torch.float32


def _budget(asked: int, there_is: int, share: float) -> int:
    return min(asked, there_is) if asked else int(there_is * share)


def vram() -> tuple[int, int]:
    """Bytes of the GPU's memory that this process could still take, and may have at most: that may be
    a share of it (`torch.cuda.set_per_process_memory_fraction`)."""
    free, total = torch.cuda.mem_get_info()
    most = int(total * torch.cuda.get_per_process_memory_fraction())
    reserved = torch.cuda.memory_reserved()
    unused = reserved - torch.cuda.memory_allocated()
    return max(0, min(free, most - reserved)) + unused, most


def _threads() -> int:
    """Real cores that this process may use; the second thread of a core only gets in the way."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(psutil.cpu_count(logical=False) or 1, allowed or 1))


CGROUPS = Path("/sys/fs/cgroup")


def usable_ram(cgroups: Path = CGROUPS, process: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes of memory; inside a container, or a service with a limit, that rather than the machine's."""
    limits = [int(psutil.virtual_memory().total)]
    for folder in _groups(cgroups, process):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # "max" is no limit
                limits.append(int((folder / name).read_text()))
    return min(limits)


def _groups(cgroups: Path, process: Path) -> list[Path]:
    """Control groups that this process is in, and those around them: each may have a limit."""
    found = [cgroups, cgroups / "memory"]
    with suppress(OSError):
        for line in process.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds in {"", "memory"}:
                place = cgroups / kinds / path.strip("/")
                found += [place, *(p for p in place.parents if p.is_relative_to(cgroups))]
    return found


def release_memory() -> None:
    """Gives freed memory back to the other programs of this machine and its device."""
    gc.collect()
    trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def trim() -> None:
    """Has the C library return what it keeps of freed memory for later."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library has no such call
            ctypes.CDLL(None).malloc_trim(0)


def keep_freed() -> None:
    """Has the C library keep what is freed for the next call, up to `KEPT_BYTES`: memory that goes
    back to the system at once is cleared anew each time, which took a quarter of a small step."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            # Nothing is asked for where both are refused: to set the other alone ends the library's own
            # adapting, and takes all that is larger than 128 kB from the system.
            if any(library.mallopt(_MMAP_THRESHOLD, size) for size in (LARGE_BYTES, MOST_BYTES)):
                library.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


LARGE_BYTES = 128 << 20
"""From that size on, what is freed goes back at once. The largest weights of Stable Diffusion, which
are put into another order at each call, are half as large."""
MOST_BYTES = 32 << 20
"""What mallopt(3) promises to take for it; older versions of glibc refuse more."""
KEPT_BYTES = 256 << 20
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""As malloc.h numbers them."""


def is_out_of_memory(error: BaseException) -> bool:
    """True for every way in which torch says that memory ran out; some are plain RuntimeErrors."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "alloc_failed",
    "cudnn_status_not_supported_insufficient_workspace",
    "unable to find an engine to execute this computation",
)
