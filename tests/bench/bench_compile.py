"""What compiling a denoiser would bring on a GPU, and whether it outlives a swap of weights.

    python -m tests.bench.bench_compile [eager] [graph] [channels_last] [blocks] [whole] [--json]

A step of Stable Diffusion 1.5 at 512 px with guidance in float16, on diffusers' own network: as it is,
as a CUDA graph, with channels last, with its repeated blocks compiled, and compiled as a whole. After
that, pointed at other weights the way that the studio does it, whether its numbers are those of an
eager call with them, and how often it was compiled anew. Without a GPU there is nothing to measure.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import diffusers
import torch
from torch import Tensor

from studio.engine.skeletons import Skeleton, parameters
from studio.paths import CONFIGS
from tests.bench.fixtures import as_json, seconds, tell, where

ROUNDS = 20


def network() -> Any:
    config = json.loads((CONFIGS / "sd15" / "unet" / "config.json").read_text())
    kind: Any = diffusers.UNet2DConditionModel
    with torch.device("cuda"):
        made = kind.from_config(config)
    return made.to(torch.float16).eval().requires_grad_(False)


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a network, as painters make it."""

    unet: Any
    latents: Tensor
    words: Tensor

    @torch.inference_mode()
    def __call__(self) -> Tensor:
        return self.unet(self.latents, 500, self.words, return_dict=False)[0]


@torch.inference_mode()
def as_graph(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    side: Any = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = call()

    def replay() -> Tensor:
        graph.replay()
        return made

    return replay


def measured(modes: list[str]) -> dict[str, Any]:
    latents = torch.randn(2, 4, 64, 64, dtype=torch.float16, device="cuda")
    words = torch.randn(2, 77, 768, dtype=torch.float16, device="cuda")
    figures: dict[str, Any] = {"device": torch.cuda.get_device_name()}
    for mode in modes:
        step = Step(network(), latents, words)
        expected = step()
        eager_s = statistics.median(seconds(step) for _ in range(ROUNDS))
        began = time.perf_counter()
        call = made_quicker(step, mode)
        differs = float((call() - expected).abs().max())
        ready_s = time.perf_counter() - began
        taken = statistics.median(seconds(call) for _ in range(ROUNDS))
        figures[mode] = {
            "step_ms": taken * 1e3,
            "ratio_to_eager": taken / eager_s,
            "until_ready_s": ready_s,
            "differs_by": differs,
            **(swapped(step) if mode in {"blocks", "whole"} else {}),
        }
        print(mode, figures[mode], file=sys.stderr, flush=True)
        del step, call
        torch.cuda.empty_cache()
    return {"compiled": figures}


def made_quicker(step: Step, mode: str) -> Callable[[], Tensor]:
    if mode == "graph":
        return as_graph(step)
    if mode == "channels_last":
        step.unet.to(memory_format=torch.channels_last)
    elif mode == "blocks":
        step.unet.compile_repeated_blocks(fullgraph=True)
    elif mode == "whole":
        step.unet.compile(fullgraph=True)
    return step


def swapped(step: Step) -> dict[str, Any]:
    """The same network, pointed at other weights."""
    other = replace(step, unet=network())
    before = compiled()
    Skeleton(step.unet, "cuda").bind("other", parameters(dict(other.unet.state_dict())))
    first_s = seconds(step)
    later_s = statistics.median(seconds(step) for _ in range(ROUNDS))
    return {
        "swap_ms": (first_s - later_s) * 1e3,
        "compiled_anew": compiled() - before,
        "swapped_differs_by": float((step() - other()).abs().max()),
    }


def compiled() -> int:
    counted: Any = torch._dynamo.utils.counters
    return int(counted["stats"]["unique_graphs"])


def main() -> None:
    modes = [word for word in sys.argv[1:] if not word.startswith("-") and word != "cuda"]
    if where() == "cpu":
        tell({"compiled": {"device": "cpu"}}, as_json())
        return
    tell(measured(modes or ["eager", "graph", "channels_last", "blocks", "whole"]), as_json())


if __name__ == "__main__":
    main()
