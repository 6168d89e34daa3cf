"""What the studio costs over the bare diffusers call, side by side.

    python -m tests.bench.bench_speed [FOLDER] [--rounds 7] [--steps 1 4 20] [--device NAME] [--json]

Both paint the same picture in turns, so that whatever else the machine does hits both, and the median
of the ratios of such pairs is told, and what the fastest of each took; the pixels must be equal.
Then a job of four pictures, of the middle number of steps, beside the same call for each of them
and beside one call for all, and a watched job, which sends previews, beside one that nobody
watches. Last, a step of Stable Diffusion 1.5 at 512 × 512 px with guidance, in the numbers that large
checkpoints compute in here, beside one in float32. Without a folder it takes the built-in checkpoint,
for two minutes on two quiet cores.

On a GPU, where the bare call is made in float16, it takes a Stable Diffusion 1.5 of random weights
instead. The studio decodes in float32 there, so that pixels differ in their last digit.
"""

import argparse
import copy
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", OMP_WAIT_POLICY="PASSIVE")

import diffusers
import numpy as np
import torch
import transformers

from studio import samplers
from studio.checkpoints.catalog import Catalog
from studio.engine.device import choose
from studio.engine.start import quieten
from studio.paths import BUILTIN_CHECKPOINT, CONFIGS
from tests.bench.bench_swap import tokenizer
from tests.bench.engine import Engine
from tests.bench.fixtures import seconds, tell, where

PROMPT = "a red fox in the snow, sticker"
BATCH = 4


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("folder", nargs="?", type=Path)
    asked.add_argument("--rounds", type=int, default=7)
    asked.add_argument("--steps", type=int, nargs="+", default=[1, 4, 20])
    asked.add_argument("--device", default=where())
    asked.add_argument("--json", action="store_true")
    options = asked.parse_args()
    quieten()
    with tempfile.TemporaryDirectory(prefix="pochade-bench-") as scratch:
        usual = BUILTIN_CHECKPOINT if options.device == "cpu" else save_sd15(Path(scratch) / "sd15")
        folder = options.folder or usual
        tell(measured(folder, options.rounds, options.steps, options.device), options.json)


def save_sd15(folder: Path) -> Path:
    """A Stable Diffusion 1.5 in diffusers' layout, with random weights."""
    with torch.device(where()):
        parts = networks(CONFIGS / "sd15")
    schedulers: Any = diffusers.PNDMScheduler
    diffusers.StableDiffusionPipeline(
        **parts,
        tokenizer=tokenizer(),
        scheduler=schedulers.from_pretrained(CONFIGS / "sd15", subfolder="scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(torch.float16).save_pretrained(folder)
    return folder


def networks(configs: Path) -> dict[str, Any]:
    unet: Any = diffusers.UNet2DConditionModel
    vae: Any = diffusers.AutoencoderKL
    words = transformers.CLIPTextConfig.from_pretrained(configs / "text_encoder")
    return {
        "unet": unet.from_config(unet.load_config(configs / "unet")),
        "vae": vae.from_config(vae.load_config(configs / "vae")),
        "text_encoder": transformers.CLIPTextModel(words),
    }


def measured(folder: Path, rounds: int, steps: list[int], device: str) -> dict[str, Any]:
    catalog = Catalog((), builtin=folder)
    engine, bare = Engine(catalog, device=device), Bare(folder, device)
    checkpoint = catalog.get(None)
    request = {
        "prompt": PROMPT,
        "checkpoint": checkpoint.id,
        "width": checkpoint.native_px,
        "height": checkpoint.native_px,
        "guidance": checkpoint.defaults.guidance,
        "sampler": "dpmpp_2m_karras",
        "seed": 7,
    }
    figures: dict[str, Any] = {"device": device, "threads": torch.get_num_threads()}
    overheads: dict[int, float] = {}
    for count in steps:
        wish = {**request, "steps": count}
        bare_s, ours_s = paired(
            rounds,
            lambda wish=wish: seconds(lambda: bare.paint(wish)),
            lambda wish=wish: engine.seconds(wish),
        )
        pixels = bare.paint(wish)
        overheads[count] = statistics.median(b - a for a, b in zip(bare_s, ours_s, strict=True))
        figures[f"steps_{count}"] = {
            "bare_s": statistics.median(bare_s),
            "ratio_to_bare": ratio(bare_s, ours_s),
            "overhead_ms": overheads[count] * 1e3,
            "ratio_of_fastest": min(ours_s) / min(bare_s),
            "overhead_of_fastest_ms": (min(ours_s) - min(bare_s)) * 1e3,
            "bytes_equal": pixels == engine.pictures[0],
            "pixels_differ_by_at_most": furthest(pixels, engine.pictures[0]),
        }
    few, many = min(steps), max(steps)
    if few < many:
        figures["overhead_ms_per_step"] = (overheads[many] - overheads[few]) * 1e3 / (many - few)
    middle = sorted(steps)[len(steps) // 2]
    return {
        "speed": {
            **figures,
            "batch": batch(engine, bare, {**request, "steps": middle}, rounds),
            "preview": preview(engine, {**request, "steps": many}, rounds),
            "large": large(device),
        }
    }


def furthest(one: bytes, other: bytes) -> int:
    """The largest difference of a pixel's colour, of 255."""
    a, b = (np.frombuffer(pixels, np.uint8).astype(int) for pixels in (one, other))
    return int(abs(a - b).max())


def batch(engine: Engine, bare: "Bare", request: dict[str, Any], rounds: int) -> dict[str, Any]:
    """A job of several pictures."""
    job = {**request, "count": BATCH}
    each_s, job_s = paired(
        rounds,
        lambda: seconds(lambda: [bare.paint(request, seed=7 + n) for n in range(BATCH)]),
        lambda: engine.seconds(job),
    )
    at_once_s = [seconds(lambda: bare.paint(request, count=BATCH)) for _ in range(rounds)]
    same = [bare.paint(request, seed=7 + n) for n in range(BATCH)] == engine.pictures
    return {
        "count": BATCH,
        "s_per_picture": statistics.median(job_s) / BATCH,
        "ratio_to_bare_one_by_one": ratio(each_s, job_s),
        "ratio_to_bare_at_once": ratio(at_once_s, job_s),
        "bytes_equal": same,
    }


def preview(engine: Engine, request: dict[str, Any], rounds: int) -> dict[str, Any]:
    """A job that somebody watches."""

    def watched() -> float:
        engine.control.watched = True
        try:
            return engine.seconds(request)
        finally:
            engine.control.watched = False

    before = engine.previews
    alone_s, watched_s = paired(rounds, lambda: engine.seconds(request), watched)
    return {
        "ratio_to_unwatched": ratio(alone_s, watched_s),
        "ratio_of_fastest": min(watched_s) / min(alone_s),
        "per_job": (engine.previews - before) / (rounds + 1),
    }


@torch.inference_mode()
def large(device: str, rounds: int = 3) -> dict[str, Any]:
    """A step of a large denoiser."""
    kind = choose(device).dtype
    config = json.loads((CONFIGS / "sd15" / "unet" / "config.json").read_text())
    wide = diffusers.UNet2DConditionModel.from_config(config).to(device).eval()
    short = copy.deepcopy(wide).to(kind)

    def step(unet: Any) -> float:
        like = {"dtype": unet.dtype, "device": device}
        latents, words = torch.randn(2, 4, 64, 64, **like), torch.randn(2, 77, 768, **like)
        return seconds(lambda: unet(latents, 500, words))

    float_s, short_s = paired(rounds, lambda: step(wide), lambda: step(short))
    return {
        "dtype": str(kind).removeprefix("torch."),
        "float32_s": statistics.median(float_s),
        "s": statistics.median(short_s),
        "ratio_to_float32": ratio(float_s, short_s),
    }


def paired(
    rounds: int, one: Callable[[], float], other: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Seconds of both in turns, after one round that warms up."""
    pairs = [(one(), other()) for _ in range(rounds + 1)][1:]
    return [a for a, _ in pairs], [b for _, b in pairs]


def ratio(base: list[float], other: list[float]) -> float:
    """The median of what `other` took of `base` in the same round."""
    return statistics.median(b / a for a, b in zip(base, other, strict=True))


class Bare:
    """The plain call that a script would make, on a pipeline loaded once."""

    def __init__(self, folder: Path, device: str) -> None:
        loaded: Any = diffusers.DiffusionPipeline.from_pretrained(
            folder, dtype=torch.float32 if device == "cpu" else torch.float16
        )
        self._pipeline = loaded.to(device)
        self._pipeline.set_progress_bar_config(disable=True)

    def paint(self, request: dict[str, Any], *, seed: int = 7, count: int = 1) -> bytes:
        """The pixels of all pictures, one behind another."""
        row = samplers.find(request["sampler"])
        config = dict(self._pipeline.scheduler.config)
        trailing = config.get("timestep_spacing") == "trailing"
        spacing = {"timestep_spacing": "trailing"} if trailing else {}
        made = getattr(diffusers, row.scheduler).from_config(config, **{**row.options, **spacing})
        self._pipeline.scheduler = made
        generators = [torch.Generator("cpu").manual_seed(seed + n) for n in range(count)]
        images = self._pipeline(
            request["prompt"],
            width=request["width"],
            height=request["height"],
            num_inference_steps=request["steps"],
            guidance_scale=request["guidance"],
            num_images_per_prompt=count,
            generator=generators if count > 1 else generators[0],
        ).images
        return b"".join(image.tobytes() for image in images)


if __name__ == "__main__":
    main()
