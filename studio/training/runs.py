"""What every training loop shares: a budget in minutes, a learning rate, checkpoints."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """One step of a loop."""

    step: int
    """Counts on from the checkpoint."""
    progress: float
    """Share of the whole budget that is spent, 0.0–1.0."""


def ticks(minutes: float, step: int = 0, spent: float = 0.0) -> Iterator[Tick]:
    """Steps until `minutes` are over, of which `spent` were before a checkpoint."""
    start = time.monotonic() - 60 * spent
    while (progress := (time.monotonic() - start) / (60 * minutes)) < 1:
        step += 1
        yield Tick(step=step, progress=progress)


def rate(tick: Tick, peak: float, *, warmup: int = 200, floor: float = 0.02) -> float:
    """Learning rate: linear rise over `warmup` steps, then half a cosine down to `floor` of the peak."""
    fall = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * tick.progress))
    return peak * min(1.0, tick.step / warmup) * fall


def set_rate(optimizer: Any, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def descend(loss: Any, net: Any, optimizer: Any) -> None:
    """One step of an optimizer down the slope of a loss, whose length in `net` is bounded by 1."""
    import torch

    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a crash leaves either the old or the new one."""
    import torch

    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def restore(path: Path) -> dict[str, Any] | None:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def running(old: float | None, new: float) -> float:
    """Mean that forgets over about 100 steps."""
    return new if old is None else 0.98 * old + 0.02 * new
