"""Look at what the model draws."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from studio.training import autoencoder, text, unet

PROMPTS: tuple[str, ...] = (
    "a red fox in the snow, sticker", "a red apple, 3d render", "a cat, glossy cartoon",
    "rocket, flat vector", "a house in a meadow at sunset, flat vector", "a blue car, 3d render",
    "three red mushrooms, sticker", "kitty, sticker", "automobile in the city at night, cartoon",
    "sailboat on the sea at sundown, watercolor", "a penguin in the snow, 3d render",
    "birthday cake, pixel art", "pencil sketch of a guitar", "oil painting of a sunflower",
    "a robot, 3d render", "a dog to the left of a tree, flat vector",
)  # fmt: skip
"""Watched while training."""

STEPS = 8
"""What 16, 12, 10 and 6 gave was no better to the judges on the same seeds; 5 was worse."""
GUIDANCE = 3.0


def assemble(tokenizer: Any, encoder: Any, net: Any, vae: Any, scaling_factor: float) -> Any:
    """The stock pipeline of the given parts."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    vae.register_to_config(scaling_factor=scaling_factor)
    pipe = StableDiffusionPipeline(
        vae=vae, text_encoder=encoder, tokenizer=tokenizer, unet=net, safety_checker=None,
        scheduler=DDIMScheduler(**unet.SCHEDULE, clip_sample=False),
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pipeline(folder: Path, net: Any) -> Any:
    """The stock pipeline round a UNet, with the other parts as trained so far."""
    tokenizer, encoder = text.trained(folder)
    return assemble(tokenizer, encoder, net, autoencoder.trained(folder), unet.scaling(folder))


@torch.no_grad()
def draw(
    pipe: Any, prompts: tuple[str, ...], seed: int = 7, guidance: float = GUIDANCE
) -> list[Image.Image]:
    """One picture for each prompt, 16 at a time."""
    found: list[Image.Image] = []
    for start in range(0, len(prompts), 16):
        part = list(prompts[start : start + 16])
        generators = [torch.Generator().manual_seed(seed + start + k) for k in range(len(part))]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found += pipe(part, num_inference_steps=STEPS, guidance_scale=guidance, generator=generators,
                          height=128, width=128).images  # fmt: skip
    return found


def tile(pictures: list[Image.Image], columns: int) -> Image.Image:
    """Pictures of one size, side by side in rows."""
    rows = [pictures[k : k + columns] for k in range(0, len(pictures), columns)]
    blank = np.zeros_like(np.asarray(pictures[0]))
    return Image.fromarray(np.concatenate([
        np.concatenate([*map(np.asarray, row), *[blank] * (columns - len(row))], 1) for row in rows
    ]))  # fmt: skip


def sheet_of(folder: Path, net: Any, target: Path) -> None:
    """Draw the watched prompts with a UNet into one picture file."""
    tile(draw(pipeline(folder, net), PROMPTS), 4).save(target)


def sheet(folder: Path, target: Path) -> None:
    sheet_of(folder, unet.trained(folder)[0], target)
