"""What the studio costs over the bare diffusers call, side by side, and what formats would save.

    python tests/bench/bench_engine.py [checkpoint folder] [--steps 20] [--rounds 7] [--formats]

Both paint the same picture in turns, so that whatever else the machine does hits both; the pixels
must be equal. Without a folder it takes the built-in checkpoint.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.update(HF_HUB_OFFLINE="1", OMP_WAIT_POLICY="PASSIVE")

import diffusers
import torch

from studio import samplers
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controls import Controls
from studio.checkpoints.hashes import Hashes
from studio.engine.control import Control
from studio.engine.device import choose
from studio.engine.manager import Manager
from studio.engine.runner import JobTools, Runner
from studio.engine.start import VERSIONS, quieten
from studio.engine.upscaling import Networks
from studio.families._family import Role
from studio.paths import BUILTIN_CHECKPOINT, CONFIGS
from studio.tasks._task import Brush
from studio.upscalers._shelf import Shelf

PROMPT = "a red fox in the snow, sticker"


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("folder", nargs="?", type=Path, default=BUILTIN_CHECKPOINT)
    asked.add_argument("--steps", type=int, default=20)
    asked.add_argument("--rounds", type=int, default=7)
    asked.add_argument("--formats", action="store_true")
    options = asked.parse_args()
    quieten()
    device = choose("cpu")
    catalog = Catalog((), builtin=options.folder)
    checkpoint = catalog.get(None)
    brush = Brush(
        prompt=PROMPT,
        negative_prompt="",
        width=checkpoint.native_px,
        height=checkpoint.native_px,
        steps=options.steps,
        guidance=checkpoint.defaults.guidance,
        sampler="dpmpp_2m_karras",
        seed=7,
    )
    print(f"{checkpoint.label}, {brush.width} px, {brush.steps} steps, "
          f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")  # fmt: skip

    sent: list[Any] = []
    control = Control()
    runner = Runner(
        tasks={},
        catalog=catalog,
        controls=Controls(()),
        manager=Manager(device, CONFIGS, Hashes(None)),
        upscalers=Shelf(),
        networks=Networks(device, Hashes(None)),
        control=control,
        send=lambda header, blob=b"": sent.append(header),
        versions=VERSIONS,
    )

    def studio() -> bytes:
        tools = JobTools(job="bench", runner=runner, files={})
        with tools.pipeline(checkpoint.id, Role.TEXT) as painter:
            return painter.paint(brush, index=0, pictures=1).pixels

    def watched() -> bytes:
        control.watched = True
        try:
            return studio()
        finally:
            control.watched = False

    bare = bare_call(options.folder, brush)
    compare({"bare diffusers": bare, "studio": studio, "studio, watched": watched}, options.rounds)
    if options.formats:
        compare(formats(options.folder, brush), options.rounds, equal=False)


def bare_call(
    folder: Path, brush: Brush, dtype: torch.dtype = torch.float32, channels_last: bool = False
) -> Callable[[], bytes]:
    """The plain call that a script would make, on a pipeline loaded once."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    if channels_last:
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
    row = samplers.find(brush.sampler)
    scheduler, config = getattr(diffusers, row.scheduler), dict(pipeline.scheduler.config)
    spacing = (
        {"timestep_spacing": "trailing"} if config.get("timestep_spacing") == "trailing" else {}
    )

    def call() -> bytes:
        pipeline.scheduler = scheduler.from_config(config, **{**row.options, **spacing})
        [image] = pipeline(
            brush.prompt,
            width=brush.width,
            height=brush.height,
            num_inference_steps=brush.steps,
            guidance_scale=brush.guidance,
            generator=torch.Generator("cpu").manual_seed(brush.seed),
        ).images
        return image.tobytes()

    return call


def formats(folder: Path, brush: Brush) -> dict[str, Callable[[], bytes]]:
    return {
        f"{str(dtype).removeprefix('torch.')}{', channels last' if last else ''}": bare_call(
            folder, brush, dtype, last
        )
        for dtype in (torch.float32, torch.bfloat16)
        for last in (False, True)
    }


def compare(calls: dict[str, Callable[[], bytes]], rounds: int, *, equal: bool = True) -> None:
    """Prints the seconds of each, its ratio to the first, and its processor time, which says more on
    a machine that does something else too."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    work: dict[str, list[float]] = {name: [] for name in calls}
    pixels = {name: call() for name, call in calls.items()}
    for _ in range(rounds):
        for name, call in calls.items():
            began, worked = time.perf_counter(), time.process_time()
            call()
            seconds[name].append(time.perf_counter() - began)
            work[name].append(time.process_time() - worked)
    first = next(iter(calls))
    for name, taken in seconds.items():
        ratios = [mine / base for mine, base in zip(taken, seconds[first], strict=True)]
        same = sum(a != b for a, b in zip(pixels[name], pixels[first], strict=True))
        print(
            f"  {name:28} median {statistics.median(taken):7.3f} s   fastest {min(taken):7.3f} s   "
            f"ratio of fastest {min(taken) / min(seconds[first]):.3f}   "
            f"median of ratios {statistics.median(ratios):.3f}   "
            f"processor {statistics.median(work[name]):.3f} s   bytes that differ {same}"
        )
    if equal and len(set(pixels.values())) != 1:
        sys.exit("the pictures differ")


if __name__ == "__main__":
    main()
