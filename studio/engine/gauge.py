"""How much memory there is, how much of it is used, and what a job took at its largest."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from studio.costs.memory import Held, Memory
from studio.engine.device import Device, trim, vram
from studio.engine.manager import Manager

PROCESS = Path("/proc/self")
CGROUP = Path("/sys/fs/cgroup")
LEFT_FREE = 0.05
"""Share of the memory that is not offered: a prediction may be wrong, others need some too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Before:
    """What was in memory when a peak began to be looked for, in bytes."""

    own: int
    files: int = 0
    """Of files in the place of memory, and of libraries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gauge:
    """Measures the device of this process."""

    device: Device

    def free(self) -> int:
        """Bytes that a job may still take."""
        total = self.total()
        if self.device.name == "cuda":
            found = vram()[0]
        else:
            found = min(psutil.virtual_memory().available, _left_in_container())
        return max(0, int(found - LEFT_FREE * total))

    def total(self) -> int:
        """Bytes of the device's memory, or of what the process may have of the machine's."""
        if self.device.name == "cuda":
            return vram()[1]
        limit = _number(CGROUP / "memory.max")
        total = psutil.virtual_memory().total
        return total if limit is None else min(total, limit)

    def begin(self) -> Before:
        """Starts to look for a peak."""
        if self.device.name == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return Before(own=int(torch.cuda.memory_allocated()))
        trim()  # what is kept of freed memory would be taken again without being seen
        with suppress(OSError):  # then there is no peak to be read, and `peak` says 0
            (PROCESS / "clear_refs").write_text("5")
        status = _status()
        files = status.get("RssFile", 0)
        return Before(own=status.get("VmRSS", 0) - files, files=files)

    def peak(self, before: Before) -> int:
        """Bytes at the highest since `begin`, beyond those of then; 0 if they cannot be told. Parts of
        files do not count, which may come and go meanwhile."""
        if self.device.name == "cuda":
            return max(0, int(torch.cuda.max_memory_allocated()) - before.own)
        status = _status()
        if "VmHWM" not in status:
            return 0
        files = max(before.files, status.get("RssFile", 0))
        return max(0, status["VmHWM"] - files - before.own)


def snapshot(gauge: Gauge, manager: Manager, means: tuple[str, ...]) -> Memory:
    """What is in memory at this moment."""
    device, ledger, status = gauge.device, manager.ledger(), _status()
    on_gpu = device.name == "cuda"
    return Memory(
        device=device.name,
        dtype=device.machine.dtype,
        exact=device.machine.exact,
        budget=ledger.vram_budget_bytes if on_gpu else ledger.ram_budget_bytes,
        total=gauge.total(),
        free=gauge.free(),
        anonymous=status.get("RssAnon", 0),
        file=status.get("RssFile", 0),
        allocated=int(torch.cuda.memory_allocated()) if on_gpu else 0,
        reserved=int(torch.cuda.memory_reserved()) if on_gpu else 0,
        means=means,
        converted=ledger.converted_bytes,
        whole=ledger.whole,
        components=tuple(
            Held(
                id=holding.id,
                name=holding.part,
                owners=holding.checkpoints,
                bytes=holding.size_bytes,
                tier=holding.tier,
                mapped=holding.mapped,
                leases=holding.leases,
                pinned=holding.pinned,
            )
            for holding in ledger.holdings
        ),
        sizes=manager.sized,
    )


def _status() -> dict[str, int]:
    """Bytes by name of /proc/self/status; elsewhere than on Linux only what psutil knows."""
    try:
        text = (PROCESS / "status").read_text()
    except OSError:
        rss = psutil.Process().memory_info().rss
        return {"VmRSS": rss, "RssAnon": rss}
    found = re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)
    return {name: int(count) * 1024 for name, count in found}


def _left_in_container() -> int:
    """Bytes below the limit of this container, with what the system would take back."""
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    if limit is None or used is None:
        return psutil.virtual_memory().available
    with suppress(OSError):
        text = (CGROUP / "memory.stat").read_text()
        # weights in the place of memory are active as long as somebody computes with them
        files = re.findall(r"^(?:in)?active_file (\d+)$", text, re.MULTILINE)
        used -= sum(map(int, files))
    return max(0, limit - used)


def _number(file: Path) -> int | None:
    """None where the file is not there, or says `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
