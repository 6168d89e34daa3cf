"""Look at an exported model as a stranger would: 64 prompts, one sheet."""

import logging
import time
from pathlib import Path

from studio.training import samples

log = logging.getLogger(__name__)

STRANGERS: tuple[str, ...] = (
    "cute cat", "a dog", "a red fox in the snow, sticker", "an owl at night", "a panda eating, 3d render",
    "elephant cartoon", "a blue whale in the ocean", "a frog, pixel art", "butterfly, watercolor", "a horse",
    "penguin on a beach at sunset", "a dragon, oil painting", "unicorn sticker", "shark underwater",
    "a bee on a yellow background", "little bird, pencil sketch", "pizza", "a red apple", "a blue apple",
    "burger, 3d render", "ice cream sticker", "a slice of watermelon", "strawberry, watercolor",
    "cup of coffee", "birthday cake with candles", "sushi, flat vector", "three red mushrooms", "two bananas",
    "a rose", "sunflower oil painting", "cactus in the desert", "a tree on green hills", "palm tree on a beach",
    "a house in the forest", "castle at night", "old church, pencil sketch", "a red sports car",
    "yellow taxi in the city", "green bicycle", "a train", "rocket in space, 3d render", "airplane in the sky",
    "sailing boat at sundown", "a hot air balloon", "umbrella in the rain", "snowman in winter", "a rainbow",
    "the moon and stars", "volcano", "robot, 3d render", "an astronaut in space", "a happy smiley face",
    "a pirate", "old man with a beard", "a girl", "santa claus in the snow", "ghost sticker", "a skull",
    "a guitar", "camera, flat design", "soccer ball", "golden crown", "a cat to the left of a house",
    "quantum chromodynamics",
)  # fmt: skip
"""What people who know nothing of the model might type."""


def contact_sheet(target: Path, sheet: Path) -> None:
    """Draw all prompts with the exported model into one picture, eight a row."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(
        target, torch_dtype=torch.float32, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    start = time.monotonic()
    found = samples.draw(pipe, STRANGERS)
    log.info("%.2f seconds a picture", (time.monotonic() - start) / len(found))
    samples.tile(found, 8).save(sheet)
