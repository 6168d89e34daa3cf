"""Draws the example styles in this folder: `python make.py`, with the studio's own Python."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

HERE = Path(__file__).parent
SIDE = 512
Pixels = np.ndarray
Random = np.random.Generator


def palette(*colours: str) -> Pixels:
    return np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in colours], np.float32)


def clouds(random: Random, scale: int) -> Pixels:
    """Smooth noise in octaves, 0.0 … 1.0."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for octave in range(5):
        cells = scale * 2**octave + 1
        coarse = random.random((cells, cells)).astype(np.float32)
        total += cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) / 2**octave
    return (total - total.min()) / (total.max() - total.min())


def shaded(values: Pixels, colours: Pixels) -> Pixels:
    """Colours for values 0.0 … 1.0, mixed between neighbours of the palette."""
    place = np.clip(values, 0, 1) * (len(colours) - 1)
    low = np.clip(place.astype(int), 0, len(colours) - 2)
    share = (place - low)[..., None]
    return colours[low] * (1 - share) + colours[low + 1] * share


def strokes(
    random: Random, base: Pixels, angle: Pixels, *, count: int, length: int, width: int, vary: float
) -> Pixels:
    """Brush strokes along `angle`, each in the colour of `base` where it begins."""
    canvas = base.copy()
    for _ in range(count):
        x, y = random.uniform(0, SIDE, 2)
        colour = base[int(y), int(x)] + random.normal(0, vary, 3) + random.normal(0, vary)
        points = [(x, y)]
        for _ in range(length):
            way = angle[int(np.clip(y, 0, SIDE - 1)), int(np.clip(x, 0, SIDE - 1))]
            x, y = x + 4 * np.cos(way), y + 4 * np.sin(way)
            points.append((x, y))
        line = np.round(np.array(points) * 8).astype(np.int32)
        thick = int(max(1, width * random.uniform(0.5, 1.2)))
        for shift, light in ((0, 0), (thick // 3, 18), (-(thick // 3), -18)):
            cv2.polylines(
                canvas,
                [line + shift * 8 // 2],
                isClosed=False,
                color=np.clip(colour + light, 0, 255).tolist(),
                thickness=thick if shift == 0 else max(1, thick // 4),
                lineType=cv2.LINE_AA,
                shift=3,
            )
    return canvas


def night(random: Random) -> Pixels:
    """Swirling strokes of blue and yellow."""
    angle = clouds(random, 2) * 4 * np.pi
    rows, columns = np.indices((SIDE, SIDE), np.float32)
    light = clouds(random, 3) * 0.75
    for x, y, size in ((130, 120, 60), (390, 90, 45), (300, 230, 35)):
        distance = np.hypot(columns - x, rows - y)
        near = np.exp(-((distance / (2.2 * size)) ** 2))
        angle = angle * (1 - near) + near * (np.arctan2(rows - y, columns - x) + np.pi / 2)
        light = np.maximum(light, np.exp(-((distance / size) ** 2)))
    base = shaded(
        light, palette("0b1a3c", "16357a", "2f66b0", "6fa3c9", "e3d27a", "f6d64a", "fff3b0")
    )
    return strokes(random, base, angle, count=2600, length=9, width=7, vary=14)


def autumn(random: Random) -> Pixels:
    """Short thick strokes of red, ochre and green."""
    base = shaded(clouds(random, 4), palette("2b2a1c", "5c6b2c", "b5862b", "d9541e", "8c1c13"))
    angle = np.pi / 5 + clouds(random, 3) * 2
    return strokes(random, base, angle, count=3000, length=4, width=11, vary=16)


def cells(random: Random, count: int) -> tuple[Pixels, Pixels]:
    """The nearest seed of each pixel, and how far the border to the next one is."""
    seeds = random.uniform(0, SIDE, (count, 2))
    places = np.stack(np.indices((SIDE, SIDE)), axis=-1).reshape(-1, 2)
    distance, nearest = cKDTree(seeds).query(places, k=2)
    return nearest[:, 0].reshape(SIDE, SIDE), (distance[:, 1] - distance[:, 0]).reshape(SIDE, SIDE)


def glass(random: Random) -> Pixels:
    """Stained glass."""
    which, border = cells(random, 90)
    colours = palette(
        "b3122a", "e08a1e", "f2c230", "1d7a4f", "1c4fa0", "5a2a82", "8fc7e8", "f3e9c6"
    )
    made = colours[random.integers(0, len(colours), which.max() + 1)][which]
    made = made * (0.75 + 0.4 * clouds(random, 6))[..., None]
    return np.where((border < 7)[..., None], 18 + 10 * clouds(random, 20)[..., None], made)


def mosaic(random: Random) -> Pixels:
    """Small stones in bands of sea colours."""
    which, border = cells(random, 1700)
    rows, columns = np.indices((SIDE, SIDE), np.float32)
    wave = 0.5 + 0.5 * np.sin(rows / 38 + 2.2 * np.sin(columns / 90) + 3 * clouds(random, 2))
    colours = palette("0f3d57", "1f7a8c", "8ecae6", "f1e3c4", "d98e4a", "8a3324")
    count = which.max() + 1
    mean = np.bincount(which.ravel(), wave.ravel(), count) / np.maximum(
        1, np.bincount(which.ravel(), minlength=count)
    )
    stones = shaded(mean.astype(np.float32), colours) + random.normal(0, 12, (count, 3))
    return np.where((border < 2.2)[..., None], np.float32(60), stones[which])


def woodcut(random: Random) -> Pixels:
    """Black and cream: solid areas, and between them cuts that follow their shape."""
    rows, columns = np.indices((SIDE, SIDE), np.float32)
    tone = clouds(random, 3)
    angle = 2 * np.pi * cv2.GaussianBlur(clouds(random, 2), (0, 0), 24)
    cuts = np.sin((rows * np.cos(angle) + columns * np.sin(angle)) / 2.6 + 8 * tone)
    cut_deep = np.clip((tone - 0.52) * 5, -1.1, 1.1)
    paper, ink = palette("efe3c8", "191512")
    made = np.where((cuts < cut_deep)[..., None], paper, ink)
    return cv2.GaussianBlur(made.astype(np.float32), (0, 0), 0.8)


def pencil(random: Random) -> Pixels:
    """Cross-hatched pencil on paper."""
    tone = clouds(random, 3)
    made = 238 - 8 * random.random((SIDE, SIDE)).astype(np.float32)
    for angle, least in ((0.8, 0.25), (-0.7, 0.45), (0.15, 0.62), (1.5, 0.78)):
        sheet = np.full((SIDE, SIDE), 255, np.uint8)
        for _ in range(1500):
            x, y = random.uniform(-20, SIDE + 20, 2)
            reach, way = random.uniform(20, 60), angle + random.normal(0, 0.05)
            end = (int(x + reach * np.cos(way)), int(y + reach * np.sin(way)))
            cv2.line(sheet, (int(x), int(y)), end, int(random.uniform(90, 170)), 1, cv2.LINE_AA)
        made = np.where(tone > least, np.minimum(made, sheet * 0.95 + 10), made)
    grain = cv2.GaussianBlur(random.normal(0, 14, (SIDE, SIDE)).astype(np.float32), (0, 0), 0.7)
    return np.repeat((made + grain)[..., None], 3, axis=-1) * np.array([1, 0.985, 0.95])


def watercolour(random: Random) -> Pixels:
    """Washes that run into each other, darker at their rims, on grained paper."""
    made = np.full((SIDE, SIDE, 3), 250, np.float32)
    colours = palette("3a6ea5", "7fb069", "e6aa68", "ca3c66", "5b4b8a", "2a9d8f")
    for index in range(9):
        shape = clouds(random, 3)
        level = random.uniform(0.58, 0.74)
        inside = 1 / (1 + np.exp(-(shape - level) * 90))
        rim = np.exp(-(((shape - level) / 0.012) ** 2))
        density = inside * (0.25 + 0.45 * clouds(random, 5)) + 0.3 * rim
        ink = 1 - colours[index % len(colours)] / 255
        made *= np.exp(-1.1 * density[..., None] * ink)
    paper = cv2.GaussianBlur(random.normal(0, 22, (SIDE, SIDE)).astype(np.float32), (0, 0), 1.1)
    return made + paper[..., None] * 0.55


def dots(random: Random) -> Pixels:
    """Points of pure colour."""
    base = shaded(clouds(random, 3), palette("274690", "2e9e6b", "f4d35e", "ee964b", "c8553d"))
    canvas = np.full((SIDE, SIDE, 3), (244, 236, 214), np.float32)
    pure = palette("1b3f8b", "2e9e6b", "f7dd4b", "f08a24", "d1342f", "7b3fa0", "ffffff")
    for _ in range(16000):
        x, y = random.integers(0, SIDE, 2)
        apart = ((pure - base[y, x]) ** 2).sum(axis=1) * random.uniform(0.5, 1.5, len(pure))
        centre = (int(x), int(y))
        cv2.circle(
            canvas, centre, int(random.integers(2, 5)), pure[apart.argmin()].tolist(), -1, 16
        )
    return canvas


DRAWN: tuple[Callable[[Random], Any], ...] = (
    night, autumn, glass, mosaic, woodcut, pencil, watercolour, dots,
)  # fmt: skip

if __name__ == "__main__":
    for seed, draw in enumerate(DRAWN):
        made = np.clip(draw(np.random.default_rng(seed)), 0, 255).astype(np.uint8)
        Image.fromarray(made).save(HERE / f"{draw.__name__}.webp", quality=82, method=6)
