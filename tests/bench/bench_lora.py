"""What putting on a LoRA and taking it off again costs, beside diffusers' own way, in one run.

    python tests/bench/bench_lora.py [--family sd15] [--rank 16] [--rounds 9]
        [--device NAME] [--json]

Networks of full size whose weights are whatever was in memory: switching does not look at them. The
LoRA adds to every layer of attention in the denoiser and in the text encoders. Bar: on and off
within 10 ms once it is in memory.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.update(HF_HUB_OFFLINE="1", OMP_WAIT_POLICY="PASSIVE")

import diffusers
import torch
import transformers

from studio.engine.adapters import load_adapter, swaps
from studio.engine.start import quieten
from studio.paths import CONFIGS
from studio.tasks._task import Added
from tests.bench.fixtures import synchronise, where
from tests.engine.adapters import TEXT, save_kohya

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
ASKED = Added(id="it", weight=0.8, text_weight=0.8)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--family", choices=("sd15", "sdxl"), default="sd15")
    asked.add_argument("--rank", type=int, default=16)
    asked.add_argument("--rounds", type=int, default=9)
    asked.add_argument("--device", default=where())
    asked.add_argument("--json", action="store_true")
    options = asked.parse_args()
    quieten()
    parts = networks(CONFIGS / options.family, options.device)
    with tempfile.TemporaryDirectory() as folder:
        file = save_kohya(
            Path(folder) / "it.safetensors",
            {
                prefix: (parts[name], ATTENTION if name == "unet" else TEXT)
                for prefix, name in prefixes(parts).items()
            },
            rank=options.rank,
        )
        found = measured(file, parts, options.rounds)
    found["ratio_to_diffusers"] = round(found["diffusers_ms"] / found["cached_ms"], 1)
    if options.json:
        print(json.dumps({"lora_switch": found}))
        return
    print(f"{options.family}, rank {options.rank}, {found['layers']} layers")
    print(f"  read from disk              {found['read_ms']:8.1f} ms, once")
    print(f"  first on and off            {found['first_ms']:8.2f} ms")
    print(f"  on and off, in memory       {found['cached_ms']:8.2f} ms (bar 10)")
    print(f"  diffusers, load and unload  {found['diffusers_ms']:8.1f} ms")
    print(f"  ratio                       {found['ratio_to_diffusers']:8.1f}")


def networks(configs: Path, device: str) -> dict[str, Any]:
    def empty(make: Callable[[], Any]) -> Any:
        with torch.device("meta"):
            made = make()
        return made.to(torch.float16).to_empty(device=device).eval().requires_grad_(False)

    unet: Any = diffusers.UNet2DConditionModel
    parts = {"unet": empty(lambda: unet.from_config(unet.load_config(configs / "unet")))}
    for name, kind in (
        ("text_encoder", transformers.CLIPTextModel),
        ("text_encoder_2", transformers.CLIPTextModelWithProjection),
    ):
        if (configs / name).is_dir():
            config = transformers.CLIPTextConfig.from_pretrained(configs / name)
            parts[name] = empty(lambda kind=kind, config=config: kind(config))
    return parts


def prefixes(parts: dict[str, Any]) -> dict[str, str]:
    one = "lora_te1" if "text_encoder_2" in parts else "lora_te"
    two = {"lora_te2": "text_encoder_2"} if "text_encoder_2" in parts else {}
    return {"lora_unet": "unet", one: "text_encoder", **two}


def measured(file: Path, parts: dict[str, Any], rounds: int) -> dict[str, Any]:
    read, adapter = timed(lambda: load_adapter(file))
    adapter.half().to(parts["unet"].device)
    scratch: dict[str, Any] = {}

    def ours() -> None:
        with swaps([(adapter, ASKED)], parts, scratch).applied():
            pass

    first, _ = timed(ours)
    pipeline = theirs(parts)

    def load_and_unload() -> None:
        pipeline.load_lora_weights(file, adapter_name="it")
        pipeline.set_adapters(["it"], [0.8])
        pipeline.unload_lora_weights()

    load_and_unload()
    both = [(timed(ours)[0], timed(load_and_unload)[0]) for _ in range(rounds)]
    return {
        "layers": len(adapter.held),
        "read_ms": round(read, 2),
        "first_ms": round(first, 2),
        "cached_ms": round(statistics.median(one for one, _ in both), 3),
        "diffusers_ms": round(statistics.median(other for _, other in both), 2),
    }


def theirs(parts: dict[str, Any]) -> Any:
    """A pipeline over these networks that can only wear LoRAs."""
    tiny: Any = diffusers.AutoencoderKL(block_out_channels=(32,))
    names = ("tokenizer", "scheduler")
    if "text_encoder_2" in parts:
        rest = dict.fromkeys((*names, "tokenizer_2"))
        return diffusers.StableDiffusionXLPipeline(vae=tiny, **parts, **rest, add_watermarker=False)
    rest = dict.fromkeys((*names, "safety_checker", "feature_extractor"))
    return diffusers.StableDiffusionPipeline(
        vae=tiny, **parts, **rest, requires_safety_checker=False
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and what came out."""
    synchronise()
    began = time.perf_counter()
    made = work()
    synchronise()
    return (time.perf_counter() - began) * 1000, made


if __name__ == "__main__":
    main()
