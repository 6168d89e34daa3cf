"""What changing the checkpoint costs, beside plain diffusers in the same process.

    python -m tests.bench.bench_swap [--device NAME] [--json]

Two full-size checkpoints that share autoencoder and text encoder, on disk in the two-byte numbers that
are computed in; for what has to be converted two more in the other ones, which a processor keeps
converted after their first time. A swap ends with the first call of the denoiser, less what a later
call takes. On a GPU also one out of the machine's memory. Needs 12 GB of memory and 13 GB of disk, and
takes minutes.
"""

import gc
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.hashes import Hashes
from studio.engine.device import Device, choose, keep_freed, trim
from studio.engine.manager import Manager
from studio.engine.selfcheck import anonymous_bytes
from studio.engine.start import quieten
from studio.families._family import Role
from studio.paths import CONFIGS
from tests.bench.fixtures import as_json, seconds, synchronise, tell, where, write_sd15

ROUNDS = 20
SWAPS = 60
RELOADS = 3
UNET_PARAMETERS = 860_000_000
LATENT = 8
"""Pixels over 8: a small picture, so that what is not painting shows."""


def forward(unet: Any) -> None:
    with torch.inference_mode():
        like = {"dtype": unet.dtype, "device": unet.device}
        unet(torch.zeros(1, 4, LATENT, LATENT, **like), 1, torch.zeros(1, 77, 768, **like))
    synchronise()


def steady(unet: Any, rounds: int = 5) -> float:
    return statistics.median(seconds(lambda: forward(unet)) for _ in range(rounds))


def plain(file: Path, dtype: torch.dtype) -> float:
    """A reload as a script does it: seconds until the first call, less a later one."""

    def load() -> None:
        made.append(
            diffusers.StableDiffusionPipeline.from_single_file(
                str(file),
                config=str(CONFIGS / "sd15"),
                local_files_only=True,
                safety_checker=None,
                requires_safety_checker=False,
                tokenizer=tokenizer(),
                dtype=dtype,
            ).to(where())
        )
        forward(made[0].unet)

    made: list[Any] = []
    taken = seconds(load)
    return taken - steady(made[0].unet, 3)


def tokenizer() -> Any:
    from studio.engine.loading import _tokenizer

    return _tokenizer("CLIPTokenizer", CONFIGS / "sd15", "tokenizer")


def swap(manager: Manager, checkpoint: Any) -> float:
    """At least the time until the pipeline is there: the rest is a difference of two noisy ones."""
    began = time.perf_counter()
    with manager.use(checkpoint, Role.TEXT) as lease:
        ready = time.perf_counter() - began
        forward(lease.pipeline.unet)
        taken = time.perf_counter() - began
        return max(ready, taken - steady(lease.pipeline.unet, 3))


def resident(manager: Manager, checkpoints: tuple[Any, Any], plain_s: float) -> dict[str, float]:
    """Swaps between two that are in memory. What they take is far less than calls of the denoiser
    differ by, so each first call is set beside the later ones right after it, and the median of
    these differences counts; at least the time until the pipeline is there."""
    ready, more = list[float](), list[float]()
    for number in range(SWAPS):
        began = time.perf_counter()
        with manager.use(checkpoints[number % 2], Role.TEXT) as lease:
            ready.append(time.perf_counter() - began)
            forward(lease.pipeline.unet)
            first = time.perf_counter() - began
            more.append(first - steady(lease.pipeline.unet, 3))
    until = statistics.median(ready)
    taken = max(until, statistics.median(more))
    return {"ms": taken * 1e3, "ratio_to_plain_reload": plain_s / taken, "ready_ms": until * 1e3}


def room_for_one(device: Device) -> int:
    """Bytes of a checkpoint and half a denoiser more."""
    return UNET_PARAMETERS * device.dtype.itemsize * 3 // 2 + 900_000_000


def settle(manager: Manager) -> None:
    """Waits until nothing is hashed beside what is measured."""
    manager.leisure.finish()


def main() -> None:
    quieten()
    keep_freed()
    with tempfile.TemporaryDirectory(prefix="pochade-bench-") as folder:
        tell(measured(Path(folder)), as_json())


def reload(file: Path, dtype: torch.dtype) -> float:
    taken: list[float] = []
    for _ in range(RELOADS):
        gc.collect()
        trim()
        taken.append(plain(file, dtype))
    gc.collect()
    trim()
    return statistics.median(taken)


def cold(manager: Manager, checkpoints: tuple[Any, Any]) -> float:
    """Of two that there is no room for together; both have been read before."""
    taken = [swap(manager, checkpoints[number % 2]) for number in range(2 * RELOADS)]
    settle(manager)
    return statistics.median(taken)


def keep(
    device: Device, cache: Path, checkpoints: tuple[Any, Any], plain_s: float
) -> dict[str, Any]:
    """As `cold`, for two that a processor has converted before, once they are kept so."""
    if device.name != "cpu":
        return {}
    manager = Manager(device, CONFIGS, Hashes(None), cache, None)
    for checkpoint in checkpoints:
        swap(manager, checkpoint)
        settle(manager)
    taken = cold(manager, checkpoints)
    manager.unload_all()
    return {
        "kept_cold_swap": {
            "s": taken,
            "ratio_to_plain_load": plain_s / taken,
            "disk_bytes": manager.ledger().converted_bytes,
        }
    }


def upload(
    near: Device, cache: Path, checkpoints: tuple[Any, Any], plain_s: float
) -> dict[str, Any]:
    """Between two that are in the machine's memory, with room for one denoiser on the device."""
    if near.name == "cpu":
        return {}
    manager = Manager(near, CONFIGS, Hashes(None), cache)
    first = [swap(manager, one) for one in checkpoints]
    settle(manager)
    taken = statistics.median(swap(manager, checkpoints[n % 2]) for n in range(ROUNDS))
    size = next(h.size_bytes for h in manager.ledger().holdings if h.part == "unet")
    manager.unload_all()
    return {
        "upload_swap": {
            "ms": taken * 1e3,
            "gb_per_s": size / taken / 1e9,
            "ratio_to_plain_reload": plain_s / taken,
            "first_ms": first[-1] * 1e3,
        }
    }


def measured(folder: Path) -> dict[str, Any]:
    device = choose(where())
    own = "BF16" if device.dtype is torch.bfloat16 else "F16"
    other = "F16" if device.name == "cpu" else "BF16"
    kinds = {"a": own, "b": own, "c": other, "d": other}
    files = {name: folder / f"{name}.safetensors" for name in kinds}

    def written(seed: int, name: str) -> None:
        write_sd15(files[name], unet_seed=seed, others_seed=9, dtype=kinds[name])
        files[name].read_bytes()  # both sides find them in the system's cache

    with ThreadPoolExecutor(2) as writers:
        list(writers.map(written, range(len(kinds)), kinds))
    catalog = Catalog((folder,))
    a, b, c, d = (catalog.get(name) for name in files)
    plain(files["a"], device.dtype)  # imports and caches
    plain_s, plain_half_s = (reload(files[name], device.dtype) for name in "bd")

    cache = folder / "cache"
    room = room_for_one(device)
    one = replace(device, ram_budget_bytes=room, vram_budget_bytes=room)
    first_ever = Manager(one, CONFIGS, Hashes(None), cache)
    with_plan_s = swap(first_ever, a)  # finds out the layout and builds the networks
    swap(first_ever, b)
    settle(first_ever)
    cold_s = cold(first_ever, (a, b))
    first_ever.unload_all()
    swap(first_ever, c)
    swap(first_ever, d)
    settle(first_ever)
    converted_s = cold(first_ever, (c, d))  # the other's memory is taken over
    first_ever.unload_all()
    fresh = swap(first_ever, d)  # memory that the system has to find and clear first
    first_ever.unload_all()
    kept = keep(one, cache, (c, d), plain_half_s)
    gc.collect()

    uploaded = upload(replace(one, ram_budget_bytes=9_000_000_000), cache, (a, b), plain_s)
    both = Manager(
        replace(device, ram_budget_bytes=9_000_000_000, vram_budget_bytes=9_000_000_000),
        CONFIGS,
        Hashes(None),
        cache,
    )
    swap(both, a)
    swap(both, b)
    settle(both)
    ledger = both.ledger()
    shared = [h for h in ledger.holdings if set(h.checkpoints) == {"a", "b"}]
    between = resident(both, (a, b), plain_s)
    before = anonymous_bytes()
    tabs: list[float] = []
    for number in range(ROUNDS):
        role = (Role.TEXT, Role.IMAGE, Role.INPAINT)[number % 3]

        def switch(role: Role = role) -> None:
            with both.use(b, role):
                pass

        tabs.append(seconds(switch))
    held = both.ledger().ram_bytes - ledger.ram_bytes
    grown = max(0, anonymous_bytes() - before)
    both.unload_all()
    swap(both, c)
    swap(both, d)
    settle(both)
    between_converted = resident(both, (c, d), plain_half_s)
    return {
        "plain": {
            "device": device.name,
            "dtype": str(device.dtype),
            "reload_s": plain_s,
            "converted_s": plain_half_s,
        },
        "tab_switch": {
            "ms": statistics.median(tabs) * 1e3,
            "bytes": held,
            "process_bytes": grown,
            "ratio_to_plain_load": plain_s / statistics.median(tabs),
        },
        "resident_swap": between,
        **uploaded,
        "converted_resident_swap": between_converted,
        "cold_swap": {
            "s": cold_s,
            "ratio_to_plain_load": plain_s / cold_s,
            "first_of_a_layout_s": with_plan_s,
        },
        "converted_cold_swap": {
            "s": converted_s,
            "ratio_to_plain_load": plain_half_s / converted_s,
            "fresh_memory_s": fresh,
            "fresh_memory_ratio_to_plain_load": plain_half_s / fresh,
        },
        **kept,
        "shared_components": {
            "counted_once": len(shared) == 2 and len(ledger.holdings) == 4,
            "bytes": sum(holding.size_bytes for holding in shared),
        },
    }


if __name__ == "__main__":
    main()
