"""What becomes of jobs where a GPU has less and less memory.

    python -m tests.bench.bench_ladder [--json]

A Stable Diffusion 1.5 of full size at 1024 and 2048 px, with all the memory that such a job takes on
the whole card, and with 80, 60, 40 and 20 % of it; once with a gauge that knows, so that a plan is
chosen before, and once with one that believes there is room for anything, so that memory runs out.
Every job must end with a picture or with a refusal, and the next, small one with a picture. Without a
GPU there is nothing to measure.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from studio.checkpoints.catalog import Catalog
from studio.engine.gauge import Gauge
from studio.engine.start import quieten
from tests.bench.engine import Engine
from tests.bench.fixtures import as_json, tell, where, write_sd15

SHARES = (1.0, 0.8, 0.6, 0.4, 0.2)
SIDES = (2048, 1024)
EVERYTHING = 1 << 50
REQUEST = {
    "prompt": "a fox",
    "checkpoint": "a",
    "steps": 2,
    "guidance": 5.0,
    "sampler": "euler",
    "seed": 7,
}


class Watched(Engine):
    """An engine whose jobs may fail."""

    def __init__(self, catalog: Catalog, cache: Path) -> None:
        self.ending: Mapping[str, Any] = {}
        self.facts: Mapping[str, Any] = {}
        super().__init__(catalog, cache, "cuda")

    def _hears(self, header: Mapping[str, Any], blob: bytes = b"") -> None:
        if header["op"] in {"done", "failed"}:
            self.ending = header
        elif header["op"] == "picture":
            self.facts = header["facts"]

    def outcome(self, side: int) -> dict[str, Any]:
        """How a job of a picture of that size ends."""
        self.ending, self.facts = {}, {}
        torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        self.seconds({**REQUEST, "width": side, "height": side})
        told = {
            "s": time.perf_counter() - began,
            "peak_gb": torch.cuda.max_memory_allocated() / 1e9,
        }
        if self.ending["op"] == "done":
            return {"ended": "picture", "plan": list(self.facts.get("plan", ())), **told}
        return {"ended": "refusal", "why": self.ending["message"], **told}


@contextmanager
def share_of_memory(share: float) -> Iterator[None]:
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@contextmanager
def believing() -> Iterator[None]:
    """The gauge finds room for anything."""
    with (
        patch.object(Gauge, "free", lambda _: EVERYTHING),
        patch.object(Gauge, "total", lambda _: EVERYTHING),
    ):
        yield


def measured(folder: Path) -> dict[str, Any]:
    write_sd15(folder / "a.safetensors", unet_seed=0, others_seed=9)
    engine = Watched(Catalog((folder,)), folder / "cache")
    engine.outcome(512)
    engine.runner.unload()
    before = torch.cuda.memory_allocated()
    whole = torch.cuda.mem_get_info()[1]
    jobs: dict[str, dict[str, Any]] = {}
    for side in SIDES:
        engine.outcome(side)
        needed = torch.cuda.max_memory_allocated()
        engine.runner.unload()
        for name, gauge in (("known", nullcontext), ("believed", believing)):
            for share in SHARES:
                with share_of_memory(min(1.0, share * needed / whole)), gauge():
                    found = engine.outcome(side)
                    left = torch.cuda.memory_allocated()
                    found["next_ended"] = engine.outcome(256)["ended"]
                engine.runner.unload()
                found["left_bytes"] = torch.cuda.memory_allocated() - before
                found["held_bytes"] = left - before
                jobs[f"{side} px {share:.0%} {name}"] = found
                print(side, share, name, found, file=sys.stderr, flush=True)
    return {
        "oom_ladder": {
            "pictures": sum(job["ended"] == "picture" for job in jobs.values()),
            "refusals": sum(job["ended"] == "refusal" for job in jobs.values()),
            "next_jobs_fine": all(job["next_ended"] == "picture" for job in jobs.values()),
            "left_bytes": max(job["left_bytes"] for job in jobs.values()),
            "jobs": jobs,
        }
    }


def main() -> None:
    quieten()
    if where() == "cpu":
        tell({"oom_ladder": {"device": "cpu"}}, as_json())
        return
    with tempfile.TemporaryDirectory(prefix="pochade-bench-") as folder:
        tell(measured(Path(folder)), as_json())


if __name__ == "__main__":
    main()
