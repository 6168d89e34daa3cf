"""How closely pictures keep to the maps they were made under, against the same seeds without control."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from studio.preprocessors import depth_estimate
from studio.preprocessors._blazepose import find
from studio.preprocessors._people import Person
from studio.training import compose, control, maps
from studio.training.sources import SIDE

TOLERANCE = 1
"""Pixels that an edge may be off."""

MISSED = 0.25
"""Distance that counts for somebody who is not found, as a share of the picture's side."""

LARGE = 4
"""The finder of people is shown pictures so many times larger."""

PEOPLE_SHARE = 0.15
"""Of the pictures that edges and depth are measured on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adherence:
    """Means over the same prompts, maps and seeds."""

    kind: str
    controlled: float
    """Edges: F1, 1.0 is exact. Depth: correlation, 1.0 is exact. Pose: mean distance of joints as a
    share of the picture's side, 0.0 is exact."""
    free: float
    """The same without control."""
    rendered: float
    """The same of the pictures that the maps were drawn from: what the measure itself can reach."""
    pictures: int

    @property
    def gain(self) -> float:
        """How many times better control makes it."""
        if self.kind == "pose":
            return self.free / max(self.controlled, 1e-6)
        return self.controlled / max(self.free, 1e-6)


def edge_f1(found: np.ndarray, wanted: np.ndarray, tolerance: int = TOLERANCE) -> float:
    """Harmonic mean of precision and recall of edge pixels, which may be `tolerance` pixels off.

    Both are [h, w]; an edge is where they are not 0. Two empty maps agree.
    """
    import cv2

    around = np.ones((2 * tolerance + 1, 2 * tolerance + 1), np.uint8)
    mine, theirs = (np.ascontiguousarray(plane != 0).astype(np.uint8) for plane in (found, wanted))
    if not mine.any() or not theirs.any():
        return float(mine.any() == theirs.any())
    precision = cv2.dilate(theirs, around)[mine > 0].mean()
    recall = cv2.dilate(mine, around)[theirs > 0].mean()
    return float(2 * precision * recall / max(1e-9, precision + recall))


def correlation(found: np.ndarray, wanted: np.ndarray) -> float:
    """Of two planes, -1.0–1.0; 0.0 where one of them is flat."""
    a, b = (plane.astype(np.float64).ravel() - plane.mean() for plane in (found, wanted))
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / length) if length > 1e-9 else 0.0


def joint_distance(found: Sequence[Person], wanted: Sequence[Person]) -> float:
    """Mean distance of the joints that are plain to see, as a share of SIDE; both in its pixels.

    Each of the wanted is compared with whom of the found is nearest; whoever is further off than
    `MISSED`, or is not there, counts as that.
    """

    def away(one: Person, other: Person) -> float:
        steps = [
            np.hypot(p.x - q.x, p.y - q.y) / SIDE
            for p, q in zip(one.points, other.points, strict=True)
            if p.confidence == 1 and q.confidence > 0
        ]
        return min(MISSED, float(np.mean(steps))) if steps else MISSED

    return float(np.mean([min([away(w, f) for f in found], default=MISSED) for w in wanted]))


def people_in(pixels: np.ndarray) -> tuple[Person, ...]:
    """Whom the studio's own finder sees in a picture [SIDE, SIDE, 3], in its pixels."""
    from dataclasses import replace

    large = Image.fromarray(pixels).resize((SIDE * LARGE, SIDE * LARGE), Image.Resampling.BICUBIC)
    found = find(np.asarray(large), most=4, least=0.3)
    return tuple(
        Person(tuple(replace(p, x=p.x / LARGE, y=p.y / LARGE) for p in person.points))
        for person in found
    )


def adherence(
    kind: str, pixels: np.ndarray, near: np.ndarray, people: Sequence[Person], drawn: np.ndarray
) -> float:
    """How well a picture keeps to what is known of the picture that the map `drawn` is of."""
    if kind == "edges":
        return edge_f1(maps.edges(pixels)[..., 0], drawn[..., 0])
    if kind == "depth":
        seen = depth_estimate.run(Image.fromarray(pixels), depth_estimate.DepthEstimate()).image
        return correlation(np.asarray(seen)[..., 0], near)
    return joint_distance(people_in(pixels), people)


MEANS = {
    "edges": "edges: F1 of edge pixels, higher is better",
    "depth": "depth: correlation, higher is better",
    "pose": "pose: mean distance of joints, share of the side, lower is better",
}


def table(measured: Sequence[Adherence]) -> str:
    """The measures as Markdown."""
    rows = [
        f"| {MEANS[m.kind]} | {m.controlled:.3f} | {m.free:.3f} | {m.gain:.1f} x | {m.rendered:.3f} |"
        for m in measured
    ]
    return "\n".join(
        (
            f"\nOn {measured[0].pictures} prompts and maps a kind that no training saw, the same seeds with and without it:",
            "",
            "| map and measure | with control | without | gain | the rendered pictures themselves |",
            "|---|---|---|---|---|",
            *rows,
            "",
        )
    )


def measure(pipe: Any, kind: str, library: compose.Library, count: int = 32) -> Adherence:
    """Adherence of `StableDiffusionControlNetPipeline` on pictures that no training saw."""
    share = 1.0 if kind == "pose" else PEOPLE_SHARE
    made = compose.draw(control.SAMPLE_SEED + 1, count, library, share)
    drawn = control.exact_maps(kind, made)

    def mean(pictures: Sequence[Any]) -> float:
        rows = zip(pictures, made.depth, made.people, drawn, strict=True)
        return float(np.mean([adherence(kind, np.asarray(p), *rest) for p, *rest in rows]))

    return Adherence(
        kind=kind,
        controlled=mean(control.draw(pipe, list(made.captions), drawn, scale=1.0)),
        free=mean(control.draw(pipe, list(made.captions), drawn, scale=0.0)),
        rendered=mean(list(made.pixels)),
        pictures=count,
    )
