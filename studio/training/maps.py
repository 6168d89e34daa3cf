"""Control maps of composed pictures, as the studio draws them and in the ways they come out in use."""

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from studio.preprocessors import canny, depth_estimate, scribble, soft_edges, xdog
from studio.preprocessors._people import ABSENT, Person, Point, draw
from studio.preprocessors._pixels import blurred
from studio.training.figures import HIDDEN
from studio.training.sources import SIDE

Rng = np.random.Generator
Pixels = np.ndarray
"""[SIDE, SIDE, 3] uint8."""

KINDS: tuple[str, ...] = ("edges", "depth", "pose")

FACE: frozenset[int] = frozenset({14, 15, 16, 17})
"""Eyes and ears among the 18 points."""


def edges(pixels: Pixels, asked: canny.Canny | None = None) -> Pixels:
    """The edges as the studio finds them, where nobody says otherwise as it does by itself."""
    return np.asarray(canny.run(Image.fromarray(pixels), asked or canny.Canny()).image)


def depth(near: np.ndarray) -> Pixels:
    """A known depth [SIDE, SIDE] uint8 as a map."""
    return np.repeat(near[..., None], 3, -1)


def pose(people: tuple[Person, ...], scale: int = 1) -> Pixels:
    """The skeletons, drawn `scale` times as large and reduced."""
    large = [
        Person(tuple(replace(p, x=p.x * scale, y=p.y * scale) for p in person.points))
        for person in people
    ]
    drawn = draw(large, (SIDE * scale, SIDE * scale))
    return np.asarray(drawn.reduce(scale) if scale > 1 else drawn)


def varied_edges(
    rng: Rng, pixels: Pixels, _near: np.ndarray, _people: tuple[Person, ...]
) -> Pixels:
    """Edges by any of the studio's ways, some of them found in a larger picture and reduced."""
    scale = 2 if rng.random() < 0.3 else 1
    image = Image.fromarray(pixels).resize((SIDE * scale, SIDE * scale), Image.Resampling.BICUBIC)
    dice = rng.random()
    if dice < 0.6:
        low = int(rng.integers(50, 140))
        asked = canny.Canny(low=low, high=round(low * float(rng.uniform(1.5, 2.4))))
        found = canny.run(image, asked).image
    elif dice < 0.8:
        found = xdog.run(image, xdog.Xdog(width_px=float(rng.uniform(1.2, 2.2)))).image
    elif dice < 0.93:
        found = soft_edges.run(
            image, soft_edges.SoftEdges(coarse=float(rng.uniform(1.0, 2.2)))
        ).image
    else:
        width = int(rng.integers(2, 5))
        found = scribble.run(image, scribble.Scribble(width_px=width, coarse=2.0)).image
    return np.asarray(found.reduce(scale) if scale > 1 else found)


def varied_depth(rng: Rng, pixels: Pixels, near: np.ndarray, _people: tuple[Person, ...]) -> Pixels:
    """The known depth, blurred, bent and stretched as networks give it; or the studio's estimate."""
    if rng.random() < 0.25:
        asked = depth_estimate.DepthEstimate()
        return np.asarray(depth_estimate.run(Image.fromarray(pixels), asked).image)
    plane = near.astype(np.float32) / 255
    if rng.random() < 0.6:
        plane = blurred(plane, float(rng.uniform(0.4, 2.5)))
    plane = plane ** float(rng.uniform(0.7, 1.4))
    if rng.random() < 0.5:
        plane = plane / max(0.05, float(plane.max()))
    return depth(np.clip(np.rint(plane * 255), 0, 255).astype(np.uint8))


def varied_pose(rng: Rng, _pixels: Pixels, _near: np.ndarray, people: tuple[Person, ...]) -> Pixels:
    """The skeletons with joints missing or a little off, as detectors find them."""
    return pose(tuple(_missed(rng, person) for person in people), int(rng.choice([1, 1, 2, 4])))


def _missed(rng: Rng, person: Person) -> Person:
    hidden_kept, faceless = rng.random(), rng.random() < 0.12

    def seen(number: int, point: Point) -> Point:
        lost = rng.random() < 0.03 or (faceless and number in FACE)
        if lost or (point.confidence == HIDDEN and rng.random() > hidden_kept):
            return ABSENT
        return replace(point, x=point.x + 0.6 * rng.normal(), y=point.y + 0.6 * rng.normal())

    points = tuple(seen(k, point) for k, point in enumerate(person.points))
    return Person(tuple(ABSENT if p.confidence == 0 else p for p in points))


VARIED: MappingProxyType[str, Callable[..., Any]] = MappingProxyType(
    {"edges": varied_edges, "depth": varied_depth, "pose": varied_pose}
)
"""By kind: a map to learn from, of a picture, its depth and its people."""


def exact(kind: str, pixels: Pixels, near: np.ndarray, people: tuple[Person, ...]) -> Pixels:
    """The map of a kind without any variation."""
    if kind == "edges":
        return edges(pixels)
    return depth(near) if kind == "depth" else pose(people)
