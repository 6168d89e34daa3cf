"""Write the trained parts as a Stable Diffusion folder that plain diffusers loads."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import torch

from studio.training import autoencoder, compose, listening, runs, samples, text, unet
from studio.training.card import Export, card

log = logging.getLogger(__name__)

PREFERRED = {
    "label": "Pochade sketch",
    "steps": samples.STEPS,
    "guidance": samples.GUIDANCE,
    "sampler": "dpmpp_2m",
}
"""What the studio paints with where a request does not say."""

HISTORY = "training.json"
"""In an export: what each part saw in all its trainings."""

EARLIER = "earlier.json"
"""Among the checkpoints: the history of the export they went on from."""

MEASURE_SEED = 70_000
MEASURED = 256
"""Pictures that the autoencoder is measured on; no shard has their seed."""


def export(folder: Path, target: Path) -> Any:
    """Write `target`, over an older export, from the checkpoints in `folder`; gives its pipeline,
    in single precision."""
    net, _ = unet.trained(folder)
    pipe = samples.pipeline(folder, net)
    decibels = autoencoder.decibels(
        pipe.vae, compose.pictures(MEASURE_SEED, MEASURED, compose.load(folder))[0]
    )
    write(pipe, folder / "tokenizer", target)
    seen = history(folder)
    (target / HISTORY).write_text(json.dumps(seen, indent=2) + "\n")
    (target / "pochade.json").write_text(json.dumps(PREFERRED, indent=2) + "\n")
    (target / "README.md").write_text(card(Export(
        concepts=json.loads((folder / "concepts.json").read_text()), trained=seen, size_mb=weights_mb(target),
        parameters=sum(p.numel() for p in net.parameters()), decibels=decibels, rendered=MEASURED,
        preferred=PREFERRED, schedule=unet.SCHEDULE, empty_share=unet.EMPTY_SHARE,
    )))  # fmt: skip
    log.info("%s: %.1f MB, autoencoder %.2f dB", target, weights_mb(target), decibels)
    return pipe.to(torch.float32)


def history(folder: Path) -> dict[str, dict[str, float]]:
    """Steps, minutes and pictures (or texts) of each part, with those before it was resumed."""
    parts = {
        "autoencoder": (autoencoder.CHECKPOINT, autoencoder.BATCH),
        "decoder": (autoencoder.POLISHED, autoencoder.BATCH),
        "text": (text.CHECKPOINT, text.BATCH),
        "listening": (text.LISTENING, listening.BATCH),
        "unet": (unet.CHECKPOINT, unet.BATCH),
    }
    earlier = json.loads((folder / EARLIER).read_text()) if (folder / EARLIER).exists() else {}
    found: dict[str, dict[str, float]] = {}
    for part, (checkpoint, batch) in parts.items():
        saved = runs.restore(folder / checkpoint) or {"step": 0, "minutes": 0.0}
        now = {
            "step": saved["step"],
            "minutes": saved["minutes"],
            "pictures": saved.get("pictures", saved["step"] * batch),
        }
        before = earlier.get(part, {})
        found[part] = {name: count + before.get(name, 0) for name, count in now.items()}
    return found


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
