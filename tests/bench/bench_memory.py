"""What stays behind after many swaps.

    python -m tests.bench.bench_memory [SWAPS] [--device NAME] [--json]

Two full-size checkpoints and room for one: every swap drops a denoiser and reads another. Growth is
counted from the tenth of the swaps to the last; on a GPU of its memory too, which is afterwards what it
was before. Needs 6 GB of memory and 4.3 GB of disk.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.hashes import Hashes
from studio.engine.device import choose, keep_freed
from studio.engine.manager import Manager
from studio.engine.selfcheck import anonymous_bytes
from studio.engine.slabs import outstanding
from studio.engine.start import quieten
from studio.families._family import Role
from studio.paths import CONFIGS
from tests.bench.bench_swap import forward, room_for_one
from tests.bench.fixtures import as_json, tell, where, write_sd15

SWAPS = 50


def measured(folder: Path, swaps: int) -> dict[str, Any]:
    for seed, name in enumerate("ab"):
        write_sd15(folder / f"{name}.safetensors", unet_seed=seed, others_seed=9)
    catalog = Catalog((folder,))
    device = choose(where())
    budget = room_for_one(device)
    manager = Manager(
        replace(device, ram_budget_bytes=budget, vram_budget_bytes=budget),
        CONFIGS,
        Hashes(None),
        folder / "cache",
    )
    with manager.use(catalog.get("a"), Role.TEXT) as lease:
        forward(lease.pipeline.unet)  # libraries keep some of the memory from their first use on
    manager.unload_all()
    before, near = vram(), list[int]()
    seen: list[int] = []
    peak = 0
    for number in range(swaps):
        with manager.use(catalog.get("ab"[number % 2]), Role.TEXT) as lease:
            forward(lease.pipeline.unet)
            peak = max(peak, outstanding())
        seen.append(anonymous_bytes())
        near.append(vram())
    at = max(1, swaps // 5)
    largest = max(holding.size_bytes for holding in manager.ledger().holdings)
    freed = manager.unload_all()
    on_gpu = {
        "vram_mb_per_swap": (near[-1] - near[at]) / 1e6 / max(1, swaps - 1 - at),
        "vram_most_bytes": max(near),
        "vram_left_after_unload_bytes": vram() - before,
    }
    return {
        "memory": {
            "device": device.name,
            "swaps": swaps,
            **(on_gpu if device.name == "cuda" else {}),
            "mb_per_swap": (seen[-1] - seen[at]) / 1e6 / max(1, swaps - 1 - at),
            "peak_weights_bytes": peak,
            "budget_bytes": budget,
            "peak_within_budget_and_one_component": peak <= budget + largest,
            "unloaded_bytes": freed,
            "left_after_unload_bytes": outstanding(),
        }
    }


def vram() -> int:
    """Bytes that this process has of the GPU's memory, with what torch keeps of it for later."""
    return int(torch.cuda.memory_reserved()) if torch.cuda.is_initialized() else 0


def main() -> None:
    quieten()
    keep_freed()
    given = [int(word) for word in sys.argv[1:] if word.isdigit()]
    with tempfile.TemporaryDirectory(prefix="pochade-bench-") as folder:
        tell(measured(Path(folder), *(given or [SWAPS])), as_json())


if __name__ == "__main__":
    main()
