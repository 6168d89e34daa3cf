"""Where tensors live and how they are computed."""

import os
from dataclasses import dataclass

import psutil
import torch

from studio.core.errors import Unavailable

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
    budget_bytes: int
    """How much memory of the device loaded checkpoints may take together."""

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")


def choose(device: str = "auto", dtype: str = "auto") -> Device:
    """The device and dtype asked for, or the best ones there are. Sets torch's thread count.

    A processor computes in float32, a GPU in float16. Raises `Unavailable` if there is none of
    what was asked for.
    """
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if name not in {"cpu", "cuda"} or (name == "cuda" and not torch.cuda.is_available()):
        raise Unavailable(f"There is no device '{name}' here.", "Choose auto, cpu or cuda.")
    if dtype != "auto" and dtype not in _DTYPES:
        raise Unavailable(
            f"There is no number format '{dtype}'.", f"Choose auto, {', '.join(_DTYPES)}."
        )
    default = torch.float32 if name == "cpu" else torch.float16
    torch.set_num_threads(_threads())
    return Device(name=name, dtype=_DTYPES.get(dtype, default), budget_bytes=_budget(name))


def _threads() -> int:
    """Real cores that this process may use; the second thread of a core only gets in the way."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(psutil.cpu_count(logical=False) or 1, allowed or 1))


def _budget(name: str) -> int:
    if name == "cuda":
        return int(torch.cuda.mem_get_info()[1] * _VRAM_SHARE)
    return int(_usable_ram() * _RAM_SHARE)


def _usable_ram() -> int:
    """Bytes of memory; inside a container its limit rather than the machine's."""
    total = psutil.virtual_memory().total
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            return min(total, int(file.read()))
    except (OSError, ValueError):
        return total


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
)
