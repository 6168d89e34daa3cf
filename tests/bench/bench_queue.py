"""Whether many checkpoints slow a queue down: 40 jobs over four of them beside 40 over one.

    python -m tests.bench.bench_queue [--device NAME] [--json]

Small checkpoints of the real classes, all resident, in turns: every job swaps. Each job paints one
picture of 128 px in four steps. The two queues are run in turns, so that whatever else the
machine does hits both; a rate is that of the median job, and the ratio the median of the rounds.
"""

import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from studio.checkpoints.catalog import Catalog
from studio.engine.start import quieten
from studio.jobs.turns import in_turn
from tests.bench.engine import Engine
from tests.bench.fixtures import as_json, tell, where
from tests.engine.desk import REQUEST
from tests.engine.tiny import save_tiny_sd

JOBS = 40
ROUNDS = 5


def measured(folder: Path) -> dict[str, Any]:
    names = [f"c{seed}" for seed in range(4)]
    for seed, name in enumerate(names):
        save_tiny_sd(folder / name, seed=seed)
    engine = Engine(Catalog((folder,)), folder / "cache", where())
    for name in names:
        engine.seconds(asked(name))
    rounds: list[tuple[list[float], list[float]]] = []
    for _ in range(ROUNDS):
        one = [engine.seconds(asked(names[0])) for _ in range(JOBS)]
        rounds.append((one, [engine.seconds(asked(names[n % 4])) for n in range(JOBS)]))
    step_s, late_s = cancelled(engine, names[0])
    return {
        "queue": {
            "jobs": JOBS,
            "one_checkpoint_s": statistics.median(sum(one) for one, _ in rounds),
            "four_checkpoints_s": statistics.median(sum(four) for _, four in rounds),
            "ratio_to_one_checkpoint": statistics.median(
                statistics.median(one) / statistics.median(four) for one, four in rounds
            ),
            "longest_wait_ratio_to_fifo": longest_wait(rounds[0][1]),
        },
        "cancel": {
            "step_ms": step_s * 1e3,
            "ms": late_s * 1e3,
            "ms_beyond_a_step": max(0.0, late_s - step_s) * 1e3,
        },
    }


def asked(checkpoint: str, steps: int = 4) -> dict[str, Any]:
    return {**REQUEST, "checkpoint": checkpoint, "steps": steps, "width": 128, "height": 128}


def longest_wait(seconds: list[float]) -> float:
    """What the one who waits longest waits, beside first come, first served: jobs of four people,
    of whom the first asks for half of all, in the order in which the studio takes them."""
    people = ["a" if number % 2 else "bcd"[number % 3] for number in range(len(seconds))]
    jobs = [(str(number), person) for number, person in enumerate(people)]
    order = [int(job) for job in in_turn(jobs, {})]

    def longest(order: list[int]) -> float:
        return sum(seconds[number] for number in order[:-1])

    return longest(order) / longest(list(range(len(seconds))))


def cancelled(engine: Engine, name: str, tries: int = 5) -> tuple[float, float]:
    """Seconds of a step, and from the wish to stop to the end of the job: the median of some."""
    steps: list[float] = []
    late: list[float] = []
    for number in range(tries):
        at: list[float] = []

        def stop(at: list[float] = at) -> None:
            at.append(time.perf_counter())
            engine.control.cancel("job")

        timer = threading.Timer(0.3 + 0.013 * number, stop)
        timer.start()
        engine.seconds(asked(name, steps=150))
        ended = time.perf_counter()
        timer.cancel()
        steps += [b - a for a, b in zip(engine.steps, engine.steps[1:], strict=False)]
        late += [ended - when for when in at]
    return statistics.median(steps), statistics.median(late or [0.0])


def main() -> None:
    quieten()
    with tempfile.TemporaryDirectory(prefix="pochade-bench-") as folder:
        tell(measured(Path(folder)), as_json())


if __name__ == "__main__":
    main()
