"""Write the trained parts as a Stable Diffusion folder that plain diffusers loads."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import torch

from studio.training import autoencoder, runs, samples, text, unet
from studio.training.card import card

log = logging.getLogger(__name__)

PREFERRED = {"label": "Pochade sketch", "steps": 16, "guidance": 4.0, "sampler": "dpmpp_2m"}
"""What the studio paints with where a request does not say."""


def export(folder: Path, target: Path) -> None:
    """Write `target`, over an older export, from the checkpoints in `folder`."""
    net, trained = unet.trained(folder)
    parts = {
        "autoencoder": runs.restore(folder / autoencoder.CHECKPOINT),
        "decoder": runs.restore(folder / autoencoder.POLISHED) or {"step": 0, "minutes": 0.0},
        "text": runs.restore(folder / text.CHECKPOINT),
    }
    write(samples.pipeline(folder, net), folder / "tokenizer", target)
    concepts = json.loads((folder / "concepts.json").read_text())
    done = {
        name: {"step": part["step"], "minutes": part["minutes"]}
        for name, part in parts.items()
        if part
    }
    (target / "pochade.json").write_text(json.dumps(PREFERRED, indent=2) + "\n")
    (target / "README.md").write_text(card(concepts, {**done, "unet": trained}, weights_mb(target)))
    log.info("%s: %.1f MB", target, weights_mb(target))


def write(pipe: Any, words: Path, target: Path) -> None:
    """Save a pipeline in half precision; `words` holds `vocab.json` and `merges.txt`."""
    from diffusers import DPMSolverMultistepScheduler

    pipe.scheduler = DPMSolverMultistepScheduler(**unet.SCHEDULE, final_sigmas_type="zero")
    pipe.to(torch.float16).save_pretrained(target, safe_serialization=True)
    # Have transformers load the weights as diffusers does the UNet's, for one type throughout.
    amend(target / "text_encoder" / "config.json", {"dtype": "float32"})
    # DDIM and DDPM made from this configuration would clip latents to -1.0–1.0, which flattens them.
    amend(target / "scheduler" / "scheduler_config.json", {"clip_sample": False})
    # Older transformers read these two instead of `tokenizer.json`.
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(words / name, target / "tokenizer" / name)


def amend(config: Path, entries: dict[str, Any]) -> None:
    """Put entries into a JSON file."""
    wanted = {**json.loads(config.read_text()), **entries}
    config.write_text(json.dumps(wanted, indent=2, sort_keys=True) + "\n")


def weights_mb(target: Path) -> float:
    """Size of all weights in millions of bytes."""
    return sum(path.stat().st_size for path in target.rglob("*.safetensors")) / 1e6
