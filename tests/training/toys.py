"""Small worlds for the training's tests."""

import numpy as np

from studio.training import colours, compose
from studio.training.concepts import FIRST, SYNONYMS


def library() -> compose.Library:
    """A red disc, and a blue frame round nothing, in each of the drawn styles."""
    y, x = np.mgrid[:128, :128]
    disc, frame = np.zeros((2, 128, 128, 4), np.uint8)
    disc[(x - 64) ** 2 + (y - 64) ** 2 < 60**2] = (220, 30, 30, 255)
    frame[np.maximum(abs(x - 64), abs(y - 64)) > 36] = (30, 60, 220, 255)
    count = len(compose.DRAWN_STYLES)
    return compose.Library(
        pixels=np.stack([disc] * count + [frame] * count),
        concept=(0,) * count + (1,) * count,
        style=compose.DRAWN_STYLES * 2,
        hue=(colours.main_hue(disc),) * count + (colours.main_hue(frame),) * count,
        colour=("red",) * count + ("blue",) * count,
        names=("apple", "window"),
        words=(("fruit",), ()),
        kinds=("food-fruit", "household"),
    )


def words() -> compose.Library:
    """All that the first model knows by name, without a single picture."""
    count = len(FIRST)
    return compose.Library(
        pixels=np.zeros((0, 128, 128, 4), np.uint8),
        concept=tuple(k for k in range(count) for _ in compose.DRAWN_STYLES),
        style=compose.DRAWN_STYLES * count,
        hue=(0.0,) * count * len(compose.DRAWN_STYLES),
        colour=("red",) * count * len(compose.DRAWN_STYLES),
        names=FIRST,
        words=tuple(SYNONYMS.get(name, ()) for name in FIRST),
        kinds=("food-fruit",) * count,
    )
