"""Whether many checkpoints slow a queue down: 40 jobs over four of them beside 40 over one.

    python -m tests.bench.bench_queue [--json]

Small checkpoints of the real classes, all resident, in turns: every job swaps. Each job paints one
picture of 128 px in four steps. The two queues are run in turns, so that whatever else the machine
does hits both.
"""

import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controls import Controls
from studio.checkpoints.hashes import Hashes
from studio.discovery import open_drawer
from studio.engine.control import Control
from studio.engine.device import choose
from studio.engine.manager import Manager
from studio.engine.runner import Runner
from studio.engine.start import VERSIONS, quieten
from studio.engine.upscaling import Networks
from studio.paths import CONFIGS
from studio.tasks._task import Task
from studio.upscalers._shelf import Shelf
from tests.bench.fixtures import as_json, tell
from tests.engine.desk import REQUEST
from tests.engine.tiny import save_tiny_sd

JOBS = 40
ROUNDS = 3


class Studio:
    """An engine over a folder, without a process around it."""

    def __init__(self, folder: Path) -> None:
        device = choose("cpu")
        self.control = Control()
        self.steps: list[float] = []
        self.runner = Runner(
            tasks=open_drawer("studio.tasks", Task),
            catalog=Catalog((folder,)),
            controls=Controls(()),
            manager=Manager(device, CONFIGS, Hashes(folder / "cache"), folder / "cache"),
            upscalers=Shelf(),
            networks=Networks(device, Hashes(None)),
            control=self.control,
            send=self._hears,
            versions=VERSIONS,
        )

    def _hears(self, header: Any, blob: bytes = b"") -> None:
        assert header["op"] != "failed", header
        if header["op"] == "progress":
            self.steps.append(time.perf_counter())

    def job(self, checkpoint: str, steps: int = 4) -> float:
        asked = {**REQUEST, "checkpoint": checkpoint, "steps": steps, "width": 128, "height": 128}
        self.control.expected("job")
        began = time.perf_counter()
        self.runner.run("job", "txt2img", asked)
        self.control.ended("job")
        return time.perf_counter() - began


def measured(folder: Path) -> dict[str, Any]:
    names = [f"c{seed}" for seed in range(4)]
    for seed, name in enumerate(names):
        save_tiny_sd(folder / name, seed=seed)
    studio = Studio(folder)
    for name in names:
        studio.job(name)
    one, four = [], []
    for _ in range(ROUNDS):
        one += [studio.job(names[0]) for _ in range(JOBS)]
        four += [studio.job(names[number % 4]) for number in range(JOBS)]
    step_s, late_s = cancelled(studio, names[0])
    return {
        "queue": {
            "jobs": JOBS,
            "one_checkpoint_s": sum(one) / ROUNDS,
            "four_checkpoints_s": sum(four) / ROUNDS,
            "ratio_to_one_checkpoint": statistics.median(one) / statistics.median(four),
        },
        "cancel": {"step_ms": step_s * 1e3, "ms": late_s * 1e3},
    }


def cancelled(studio: Studio, name: str) -> tuple[float, float]:
    """Seconds of a step, and from the wish to stop to the end of the job."""
    asked_at: list[float] = []

    def stop() -> None:
        asked_at.append(time.perf_counter())
        studio.control.cancel("job")

    studio.steps.clear()
    timer = threading.Timer(0.5, stop)
    timer.start()
    studio.job(name, steps=150)
    ended = time.perf_counter()
    timer.cancel()
    gaps = [b - a for a, b in zip(studio.steps, studio.steps[1:], strict=False)]
    return statistics.median(gaps), (ended - asked_at[0]) if asked_at else 0.0


def main() -> None:
    quieten()
    with tempfile.TemporaryDirectory(prefix="pochade-bench-") as folder:
        tell(measured(Path(folder)), as_json())


if __name__ == "__main__":
    main()
