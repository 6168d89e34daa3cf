"""People as OpenPose sees them: 18 points each, drawn as ControlNets for poses know them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from studio.core.errors import InvalidRequest
from studio.core.geometry import Size

POINTS = (
    "nose", "neck",
    "right shoulder", "right elbow", "right wrist",
    "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle",
    "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip
"""In OpenPose's order. Left and right are the person's own."""

LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12),
    (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Pairs of points that a line joins, in the order they are painted over each other."""

COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""Of the points, and dimmed to `LIMB_LIGHT` of the limbs: what pose ControlNets were trained on."""

LIMB_LIGHT = 0.6
OF_BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
"""Which of the 25 points of OpenPose's later model are these 18."""

THICKNESS = 4 / 512
"""Half the width of a limb, and the radius of a point, for each pixel of the shorter side."""
MAX_PEOPLE = 64


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    """Pixels from the left; may lie outside of the picture."""
    y: float
    """Pixels from the top."""
    confidence: float
    """0.0 a guess, 1.0 plain to see. A point of 0 is not there: it is neither drawn nor joined."""


ABSENT = Point(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Person:
    points: tuple[Point, ...]
    """18, in the order of `POINTS`."""

    @property
    def confidence(self) -> float:
        """The mean over the points that are there."""
        seen = [point.confidence for point in self.points if point.confidence > 0]
        return sum(seen) / len(seen) if seen else 0.0


def draw(people: Sequence[Person], size: Size) -> Image:
    """The people as coloured skeletons on black."""
    import cv2
    from PIL import Image as Images

    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    width = max(1, round(min(size) * THICKNESS))
    for person in people:
        for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
            first, last = person.points[start], person.points[end]
            if first.confidence <= 0 or last.confidence <= 0:
                continue
            dimmed = tuple(int(part * LIMB_LIGHT) for part in colour)
            cv2.fillConvexPoly(canvas, _limb(first, last, width), dimmed)
    for person in people:
        for point, colour in zip(person.points, COLOURS, strict=True):
            if point.confidence > 0:
                place = (_near(point.x), _near(point.y))
                cv2.circle(canvas, place, width, colour, thickness=-1)
    return Images.fromarray(canvas)


def _limb(first: Point, last: Point, width: int) -> Any:
    """The outline of a slender ellipse from point to point."""
    import cv2

    middle = (_near((first.x + last.x) / 2), _near((first.y + last.y) / 2))
    across, down = last.x - first.x, last.y - first.y
    length = _near(float(np.hypot(across, down)) / 2)
    angle = int(np.degrees(np.arctan2(down, across)))
    return cv2.ellipse2Poly(middle, (max(1, length), width), angle, 0, 360, 5)


def _near(length: float) -> int:
    # far outside of any picture is as good as any further
    return int(np.clip(round(length), -20_000, 20_000))


def to_json(people: Sequence[Person], size: Size) -> dict[str, Any]:
    """As OpenPose writes it, with the size of the picture as ControlNet editors add it."""
    return {
        "people": [
            {
                "pose_keypoints_2d": [
                    value
                    for point in person.points
                    for value in (
                        round(point.x, 2),
                        round(point.y, 2),
                        round(point.confidence, 3),
                    )
                ]
            }
            for person in people
        ],
        "canvas_width": size[0],
        "canvas_height": size[1],
    }


def from_json(data: Mapping[str, Any], size: Size, field: str = "pose") -> tuple[Person, ...]:
    """People as OpenPose and ControlNet editors write them, scaled to a picture of that size.

    Points may be in pixels of the canvas or shares of it, 18 or 25 of them. Raises
    `InvalidRequest`, which names `field`.
    """
    try:
        wide, high = _canvas(data)
        across, down = (size[0] / wide if wide else 1.0), (size[1] / high if high else 1.0)
        shown = [one["pose_keypoints_2d"] for one in data["people"]]
        if len(shown) > MAX_PEOPLE:
            raise InvalidRequest(
                f"This pose has {len(shown)} people, and a map can show {MAX_PEOPLE}.",
                "Leave some of them out.",
                field=field,
            )
        values = [_points(numbers) for numbers in shown]
        if values and all(np.abs(points[:, :2]).max() <= 1 for points in values):
            across, down = size  # shares of the canvas
        return tuple(_person(points, across, down) for points in values)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InvalidRequest(
            "This is no pose as OpenPose writes it.",
            "It takes 'people', each with the 54 numbers of 'pose_keypoints_2d'.",
            field=field,
        ) from None


def canvas_of(data: Mapping[str, Any]) -> Size | None:
    """The size of the picture that people were written for, None if it is not told."""
    try:
        wide, high = _canvas(data)
        return (round(wide), round(high)) if wide and high else None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _canvas(data: Mapping[str, Any]) -> tuple[float, float]:
    wide, high = (float(data.get(name) or 0) for name in ("canvas_width", "canvas_height"))
    if not (0 <= wide < 1e6 and 0 <= high < 1e6):
        raise ValueError("a canvas without a size")
    return wide, high


def _points(numbers: Sequence[float]) -> NDArray[np.float64]:
    """[18, 3]: x, y and confidence."""
    values = np.asarray(numbers, np.float64).reshape(-1, 3)
    values = values[list(OF_BODY_25)] if len(values) == 25 else values.reshape(len(POINTS), 3)
    if not np.isfinite(values).all():
        raise ValueError("a point without a place")
    return values


def _person(points: NDArray[np.float64], across: float, down: float) -> Person:
    return Person(
        tuple(
            Point(float(x) * across, float(y) * down, float(np.clip(sure, 0, 1)))
            for x, y, sure in points
        )
    )
