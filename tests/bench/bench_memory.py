"""What stays behind after many swaps.

    python -m tests.bench.bench_memory [SWAPS] [--json]

Two full-size checkpoints and room for one: every swap drops a denoiser of 3.4 GB and reads another.
Growth is counted from the tenth of the swaps to the last. Needs 6 GB of memory and 4.3 GB of disk.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.hashes import Hashes
from studio.engine.device import choose
from studio.engine.manager import Manager
from studio.engine.selfcheck import anonymous_bytes
from studio.engine.slabs import outstanding
from studio.engine.start import quieten
from studio.families._family import Role
from studio.paths import CONFIGS
from tests.bench.bench_swap import forward
from tests.bench.fixtures import as_json, tell, write_sd15

SWAPS = 50
BUDGET = 4_400_000_000


def measured(folder: Path, swaps: int) -> dict[str, Any]:
    for seed, name in enumerate("ab"):
        write_sd15(folder / f"{name}.safetensors", unet_seed=seed, others_seed=9)
    catalog = Catalog((folder,))
    manager = Manager(
        replace(choose("cpu"), ram_budget_bytes=BUDGET), CONFIGS, Hashes(None), folder / "cache"
    )
    seen: list[int] = []
    peak = 0
    for number in range(swaps):
        with manager.use(catalog.get("ab"[number % 2]), Role.TEXT) as lease:
            forward(lease.pipeline.unet)
            peak = max(peak, outstanding())
        seen.append(anonymous_bytes())
    at = max(1, swaps // 5)
    largest = max(holding.size_bytes for holding in manager.ledger().holdings)
    freed = manager.unload_all()
    return {
        "memory": {
            "swaps": swaps,
            "mb_per_swap": (seen[-1] - seen[at]) / 1e6 / max(1, swaps - 1 - at),
            "peak_weights_bytes": peak,
            "budget_bytes": BUDGET,
            "peak_within_budget_and_one_component": peak <= BUDGET + largest,
            "unloaded_bytes": freed,
            "left_after_unload_bytes": outstanding(),
        }
    }


def main() -> None:
    quieten()
    given = [int(word) for word in sys.argv[1:] if word.isdigit()]
    with tempfile.TemporaryDirectory(prefix="pochade-bench-") as folder:
        tell(measured(Path(folder), *(given or [SWAPS])), as_json())


if __name__ == "__main__":
    main()
