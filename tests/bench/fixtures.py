"""Checkpoints of full size with random weights, and how a benchmark tells its figures."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

HEADER = Path(__file__).parents[1] / "families" / "headers" / "sd15-file.json"
POOL = 1 << 24
"""Random numbers that all tensors are cut from; nobody looks at them."""


def write_sd15(file: Path, *, unet_seed: int, others_seed: int, dtype: str = "F16") -> Path:
    """A Stable Diffusion 1.5 in its original layout, 2.1 GB in numbers of two bytes, F16 or BF16.
    Files with the same `others_seed` have the same autoencoder and text encoder."""
    shapes: Mapping[str, list[int]] = json.loads(HEADER.read_text())
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pools = {seed: _pool(seed, dtype) for seed in {unet_seed, others_seed}}
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for number, (name, shape) in enumerate(shapes.items()):
            seed = unet_seed if name.startswith("model.diffusion_model.") else others_seed
            left, at = int(np.prod(shape)), number * 7919 % (POOL // 2)
            while left:
                part = pools[seed][at : at + left]
                out.write(part.data)
                left, at = left - len(part), 0
        out.flush()
        os.fsync(out.fileno())
        forget(out.fileno())
    return file


def forget(descriptor: int) -> None:
    """Has the system read a file from its disk next time, as after a restart."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _pool(seed: int, dtype: str) -> Any:
    numbers = np.random.default_rng(seed).standard_normal(POOL, np.float32) * 0.02
    # the upper half of a float32 is a bfloat16
    return numbers.view(np.uint16)[1::2].copy() if dtype == "BF16" else numbers.astype(np.float16)


def tell(figures: Mapping[str, Any], as_json: bool) -> None:
    """One JSON object, or a line a figure."""
    if as_json:
        print(json.dumps(figures))
        return
    for group, values in figures.items():
        for name, value in values.items() if isinstance(values, dict) else [("", values)]:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            print(f"{f'{group}.{name}' if name else group:44} {shown}")


def as_json() -> bool:
    return "--json" in sys.argv


def where() -> str:
    """What `--device NAME` says; else a GPU where there is one."""
    if "--device" in sys.argv:
        return sys.argv[sys.argv.index("--device") + 1]
    return "cuda" if torch.cuda.is_available() else "cpu"


def synchronise() -> None:
    """Waits for the GPU, if it was given anything to do: it is told of work, and does it later."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes, with all that it has a GPU do."""
    synchronise()
    began = time.perf_counter()
    call()
    synchronise()
    return time.perf_counter() - began
