"""How closely pictures keep to the maps they were made under, against the same seeds without control."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.preprocessors._people import Person
from studio.training import compose, control, judges, maps, surveyor
from studio.training.sources import SIDE
from studio.training.surveyor import Survey

TOLERANCES = {"edges": 1, "edges to the pixel": 0}
"""Pixels that an edge may be off, by measure."""

MISSED = 0.25
"""Distance that counts for a joint that is not found, as a share of the picture's side."""

SURVEYOR_MINUTES = 14.0
"""Training of the surveyor where there is none yet."""

PEOPLE_SHARE = 0.15
"""Of the pictures that edges and depth are measured on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adherence:
    """Means over the same prompts, maps and seeds."""

    kind: str
    """A key of `MEANS`."""
    controlled: float
    """Edges: F1, 1.0 is exact. Depth: correlation, 1.0 is exact. Pose: mean distance of joints as a
    share of the picture's side, 0.0 is exact."""
    free: float
    """The same without control."""
    kept: float
    """The same of the pictures that the maps were drawn from, after the autoencoder: the most that
    can be reached."""
    pictures: int

    @property
    def gain(self) -> float:
        """How many times better control makes it: larger F1, less that lacks to a correlation of 1,
        shorter distance."""
        if self.kind in TOLERANCES:
            return self.controlled / max(self.free, 1e-6)
        if self.kind == "depth":
            return (1 - self.free) / max(1 - self.controlled, 1e-6)
        return self.free / max(self.controlled, 1e-6)


def edge_f1(found: np.ndarray, wanted: np.ndarray, tolerance: int) -> float:
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


def joint_distance(
    found: Sequence[Sequence[tuple[float, float]]], wanted: Sequence[Person]
) -> float:
    """Mean distance of the joints that are plain to see from where the next of their kind was found,
    as a share of SIDE.

    `found` holds, for each of the 18 kinds of points, the places where there is one; both are in
    pixels of SIDE. What is further off than `MISSED`, or is not there, counts as that.
    """

    def away(x: float, y: float, places: Sequence[tuple[float, float]]) -> float:
        return min([MISSED, *(float(np.hypot(x - u, y - v)) / SIDE for u, v in places)])

    return float(np.mean([
        away(point.x, point.y, places)
        for person in wanted for point, places in zip(person.points, found, strict=True) if point.confidence == 1
    ]))  # fmt: skip


MEANS = {
    "edges": "edges: F1 of edge pixels, which may be one pixel off, higher is better",
    "edges to the pixel": "edges: F1 of edge pixels at their exact places, higher is better",
    "depth": "depth: correlation, higher is better",
    "pose": "pose: mean distance of joints, share of the side, lower is better",
}


def table(measured: Sequence[Adherence]) -> str:
    """The measures as Markdown."""
    rows = [
        f"| {MEANS[m.kind]} | {m.controlled:.3f} | {m.free:.3f} | {m.gain:.1f} x | {m.kept:.3f} |"
        for m in measured
    ]
    return "\n".join(
        (
            f"\nOn {measured[0].pictures} prompts and maps a kind that no training saw, the same seeds with and without it:",
            "",
            "| map and measure | with control | without | gain | the maps' own pictures, after the autoencoder |",
            "|---|---|---|---|---|",
            *rows,
            "",
        )
    )


def measure(
    pipe: Any, kind: str, library: compose.Library, measurer: surveyor.Net, count: int = 64
) -> tuple[Adherence, ...]:
    """Adherence of `StableDiffusionControlNetPipeline` on pictures that no training saw, by each
    measure there is for maps of this kind."""
    share = 1.0 if kind == "pose" else PEOPLE_SHARE
    made = compose.draw(control.SAMPLE_SEED + 1, count, library, share)
    drawn = control.exact_maps(kind, made)

    def means(pixels: np.ndarray) -> dict[str, float]:
        if kind == "edges":
            pairs = [(maps.edges(p)[..., 0], d[..., 0]) for p, d in zip(pixels, drawn, strict=True)]
            return {
                name: float(np.mean([edge_f1(*pair, tolerance) for pair in pairs]))
                for name, tolerance in TOLERANCES.items()
            }
        seen = zip(measurer.survey(pixels), made.depth, made.people, strict=True)
        return {kind: float(np.mean([of_survey(kind, *row) for row in seen]))}

    def painted(scale: float) -> np.ndarray:
        return np.stack(
            [np.asarray(p) for p in control.draw(pipe, list(made.captions), drawn, scale=scale)]
        )

    controlled, free = means(painted(1.0)), means(painted(0.0))
    kept = means(judges.softened(pipe.vae, made.pixels))
    return tuple(
        Adherence(
            kind=name, controlled=controlled[name], free=free[name], kept=kept[name], pictures=count
        )
        for name in controlled
    )


def of_survey(kind: str, seen: Survey, depth: np.ndarray, people: Sequence[Person]) -> float:
    """How well what the surveyor sees keeps to what is known of the map's picture."""
    if kind == "depth":
        return correlation(seen.near, surveyor.nearness(depth[None])[0].numpy())
    return joint_distance(seen.joints, people)


def surveyor_for(folder: Path, vae: Any) -> surveyor.Net:
    """The trained surveyor; trains one where there is none."""
    return surveyor.trained(folder) or surveyor.train(folder, vae, SURVEYOR_MINUTES)
