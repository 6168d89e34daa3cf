"""How fast weights get to a GPU, beside what its link can do.

    python -m tests.bench.bench_upload [--json]

Weights as large as the denoiser of Stable Diffusion 1.5. The link's rate is that of one copy out of
memory that torch pinned itself. Needs 6 GB of memory; without a GPU there is nothing to measure.
"""

import statistics
from collections.abc import Callable
from typing import Any

import torch

from studio.engine.device import choose
from studio.engine.slabs import Slab, arranged
from studio.engine.transfer import Uploads
from studio.engine.weights import Blob
from tests.bench.fixtures import as_json, seconds, tell, where

SIZE = 1_719_042_048
"""Bytes of 860 million numbers of two."""
ROUNDS = 20


def rate(copy: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """GB/s, the median."""
    return SIZE / statistics.median(seconds(copy) for _ in range(rounds)) / 1e9


def link() -> dict[str, float]:
    """What the machine can do: out of memory that is pinned, out of other memory, on the device."""
    near = torch.empty(SIZE, dtype=torch.uint8, device="cuda")
    other = torch.empty_like(near)
    pinned = torch.empty(SIZE, dtype=torch.uint8, pin_memory=True)
    pageable = Slab(SIZE).bytes.fill_(1)
    return {
        "link_gb_per_s": rate(lambda: near.copy_(pinned, non_blocking=True)),
        "pageable_gb_per_s": rate(lambda: near.copy_(pageable), 3),
        "on_device_gb_per_s": rate(lambda: near.copy_(other)),
    }


def measured() -> dict[str, Any]:
    device = choose("cuda")
    limits = link()
    torch.cuda.empty_cache()
    places, size = arranged([("weights", (SIZE,), torch.uint8)])
    slab = Slab(size)
    clearing_s = seconds(lambda: slab.bytes.fill_(1))
    uploads, blob = Uploads(device), Blob(slab, places, device="cuda")
    probing_s = seconds(uploads._pays)
    pinning_s = seconds(lambda: uploads.pin(slab))

    def bring() -> None:
        blob.leave_device()
        uploads.bring(blob, lambda: None)

    first_s = seconds(bring)
    found = rate(bring)
    assert bool((blob.bound["weights"] == 1).all())
    return {
        "upload": {
            "device": torch.cuda.get_device_name(),
            "gb_per_s": found,
            "ratio_to_link": found / limits["link_gb_per_s"],
            **limits,
            "pins": slab.pinned,
            "first_s": first_s,
            "probing_s": probing_s,
            "pinning_s": pinning_s,
            "clearing_memory_s": clearing_s,
        }
    }


def main() -> None:
    tell(measured() if where() == "cuda" else {"upload": {"device": "cpu"}}, as_json())


if __name__ == "__main__":
    main()
