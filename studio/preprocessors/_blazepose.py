"""Finds people with BlazePose (Bazarevsky et al., 2020): a detector, then 33 points of each.

The numbers are those of MediaPipe's graphs for these two networks. The detector was made for one
person who fills the view, so pictures are also looked at in parts, and whoever is found twice is
kept once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.core.geometry import Box
from studio.paths import WEIGHTS
from studio.preprocessors._people import ABSENT, Person, Point
from studio.preprocessors._stopping import Check, wanted

Pixels = NDArray[np.uint8]
"""[height, width, 3], RGB."""

DETECTOR_PX, LANDMARKS_PX = 224, 256
GRIDS = ((28, 2), (14, 2), (7, 6))
"""Cells a side of each layer of the detector, and how many boxes each cell proposes."""
ENLARGED = 1.25
"""The network is shown a square so many times larger than the circle around the person."""
LEAST_PRESENCE = 0.5
"""Below it the second network says that what it was shown is nobody."""
OVERLAP = 0.3
"""Share of two boxes from which on they are of one person."""
LOOKED_AT = 16
"""Boxes in a part of the picture, the likeliest ones, that the second network is shown at the most."""
SUREST = 5
BELIEVED = 0.75
"""Somebody is believed to be there if their five surest points reach this on average: a cat's face
stays below it."""
PART = 0.6
"""Share of the longer side that a part of the picture takes in."""

AS_OPENPOSE = (
    (0,), (11, 12), (12,), (14,), (16,), (11,), (13,), (15,), (24,), (26,), (28,), (23,), (25,),
    (27,), (5,), (2,), (8,), (7,),
)  # fmt: skip
"""For each of OpenPose's 18 points those of BlazePose's 33 that it lies in the middle of."""


@dataclass(frozen=True, slots=True)
class _View:
    """A square of the picture, turned so that the person stands upright in it."""

    x: float
    y: float
    """Its middle."""
    side: float
    angle: float
    """Radians, clockwise."""

    def corners(self) -> Any:
        """Top left, top right and bottom left, in the picture."""
        half = self.side / 2
        right = np.array([np.cos(self.angle), np.sin(self.angle)]) * half
        down = np.array([-right[1], right[0]])
        middle = np.array([self.x, self.y])
        return np.array(
            [middle - right - down, middle + right - down, middle - right + down], np.float32
        )


@dataclass(frozen=True, slots=True)
class _Found:
    person: Person
    presence: float
    view: _View


def find(pixels: Pixels, *, most: int, least: float, check: Check = wanted) -> tuple[Person, ...]:
    """The people in a picture, the surest first; none if there are none.

    `most` people, each found with a confidence of `least` or more, 0.0 … 1.0. Points outside of the
    picture are absent.
    """
    found: list[_Found] = []
    for part in _parts(pixels.shape[1], pixels.shape[0]):
        check()
        for view in _detected(pixels[part.top : part.bottom, part.left : part.right], least):
            check()
            moved = _View(view.x + part.left, view.y + part.top, view.side, view.angle)
            seen = _looked_at(pixels, moved)
            if seen is not None:
                found.append(seen)
    kept: list[_Found] = []
    # of several looks at one person the widest was least cut off by the edge of a part
    for one in sorted(found, key=lambda one: -one.view.side):
        if all(_apart(one, other) for other in kept):
            kept.append(one)
    kept.sort(key=lambda one: -one.presence * one.person.confidence)
    return tuple(one.person for one in kept[:most])


def _parts(width: int, height: int) -> Iterator[Box]:
    """All of the picture, then squares that cover it where it is large enough to hold people."""
    yield Box(0, 0, width, height)
    side = round(PART * max(width, height))
    if side < DETECTOR_PX:
        return
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield Box(left, top, min(width, left + side), min(height, top + side))


def _starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    count = -(-(length - side) // (side // 2)) + 1
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def _detected(pixels: Pixels, least: float) -> list[_View]:
    """Where people are in a picture, as views for the second network."""
    height, width = pixels.shape[:2]
    side = max(height, width)
    square = _View(width / 2, height / 2, side, 0.0)
    shown = _shown(pixels, square, DETECTOR_PX) * 2 - 1
    boxes, scores = _network("detection").run(None, {"picture": shown})
    sure = _certainty(scores[0, :, 0])
    likely = np.flatnonzero(sure >= least)
    likely = likely[np.argsort(-sure[likely], kind="stable")]
    raw = boxes[0, likely] / DETECTOR_PX
    middles = _middles()[likely]
    corners = np.concatenate(
        [raw[:, :2] + middles - raw[:, 2:4] / 2, raw[:, :2] + middles + raw[:, 2:4] / 2], axis=1
    )
    views: list[_View] = []
    for index in _unlike(corners):
        # the middle of the hips, and a point on the circle around the whole person
        hips, top = raw[index, 4:8].reshape(2, 2) + middles[index]
        views.append(_around(*_placed(hips, square), *_placed(top, square)))
    return views


def _placed(point: Any, view: _View) -> tuple[float, float]:
    """A point of an upright view (0.0 … 1.0) in the picture."""
    left, top = view.x - view.side / 2, view.y - view.side / 2
    return left + float(point[0]) * view.side, top + float(point[1]) * view.side


def _around(x: float, y: float, top_x: float, top_y: float) -> _View:
    radius = float(np.hypot(top_x - x, top_y - y))
    angle = float(np.arctan2(top_x - x, y - top_y))
    return _View(x, y, max(1.0, 2 * radius * ENLARGED), angle)


def _unlike(corners: Any) -> list[int]:
    """Boxes of different people, out of boxes in falling order of confidence, `LOOKED_AT` at the
    most."""
    kept: list[int] = []
    areas = np.prod(np.clip(corners[:, 2:] - corners[:, :2], 0, None), axis=1)
    for index, box in enumerate(corners):
        if len(kept) == LOOKED_AT:
            break
        if all(
            _shared(box, corners[other]) <= OVERLAP * min(areas[index], areas[other]) * 1.5
            for other in kept
        ):
            kept.append(index)
    return kept


def _shared(one: Any, other: Any) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return float(np.prod(np.clip(sides, 0, None)))


@cache
def _middles() -> NDArray[np.float32]:
    """[2254, 2]: the middle of the cell that each proposal belongs to, x and y, 0.0 … 1.0."""
    found: list[Any] = []
    for cells, boxes in GRIDS:
        rows, columns = np.indices((cells, cells))
        middles = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) / cells
        found.append(np.repeat(middles, boxes, axis=0))
    return np.concatenate(found).astype(np.float32)


def _looked_at(pixels: Pixels, view: _View) -> _Found | None:
    """The person in a view, None if there is nobody; looked at twice, the second time from where
    the first look says the person is."""
    points, presence = _landmarks(pixels, view)
    if presence < LEAST_PRESENCE:
        return None
    # the last points it knows are again the middle of the hips and one on the circle around
    closer = _around(*points[33, :2], *points[34, :2])
    again, sure = _landmarks(pixels, closer)
    if sure >= presence:
        points, presence, view = again, sure, closer
    height, width = pixels.shape[:2]
    person = Person(tuple(_merged(points[list(of)], width, height) for of in AS_OPENPOSE))
    surest = sorted(point.confidence for point in person.points)[-SUREST:]
    return _Found(person, presence, view) if sum(surest) / SUREST >= BELIEVED else None


def _landmarks(pixels: Pixels, view: _View) -> tuple[Any, float]:
    """[39, 3]: x and y in the picture and how sure each point is; and that there is somebody."""
    shown = _shown(pixels, view, LANDMARKS_PX)
    raw, presence = _network("landmarks").run(None, {"picture": shown})
    found = raw.reshape(39, 5).astype(np.float64)
    sure = _certainty(found[:, 3:5])
    top_left, top_right, bottom_left = view.corners()
    share = found[:, :2] / LANDMARKS_PX
    places = top_left + share[:, :1] * (top_right - top_left)
    places = places + share[:, 1:] * (bottom_left - top_left)
    return np.concatenate([places, sure.min(axis=1, keepdims=True)], axis=1), float(presence[0, 0])


def _certainty(values: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(values, -80, 80)))


def _merged(points: Any, width: int, height: int) -> Point:
    x, y = points[:, :2].mean(axis=0)
    sure = float(points[:, 2].min())
    if not (0 <= x < width and 0 <= y < height):
        return ABSENT
    return Point(float(x), float(y), sure)


def _shown(pixels: Pixels, view: _View, side: int) -> NDArray[np.float32]:
    """[1, side, side, 3], 0.0 … 1.0: a view as a network wants it; black outside of the picture."""
    import cv2

    edge = np.array([[0, 0], [side, 0], [0, side]], np.float32)
    # a view much larger than what is asked for is made smaller first, or it would be full of steps
    shrink = max(1, int(view.side / side / 1.5))
    small: Any = pixels
    if shrink > 1:
        height, width = pixels.shape[:2]
        size = (max(1, width // shrink), max(1, height // shrink))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    scale = np.array([small.shape[1] / pixels.shape[1], small.shape[0] / pixels.shape[0]])
    corners = (view.corners() * scale).astype(np.float32)
    # pixel centres lie at halves
    into: Any = cv2.getAffineTransform(corners - 0.5, edge - 0.5)
    cut: Any = cv2.warpAffine(small, into, (side, side), flags=cv2.INTER_LINEAR)
    return (cut.astype(np.float32) / 255)[None]


def _apart(one: _Found, other: _Found) -> bool:
    """Whether these are two people: their points lie far from each other for their size."""
    pairs = [
        (first, second)
        for first, second in zip(one.person.points, other.person.points, strict=True)
        if first.confidence > 0 and second.confidence > 0
    ]
    if not pairs:
        return True
    distance = np.median([np.hypot(a.x - b.x, a.y - b.y) for a, b in pairs])
    return bool(distance > 0.1 * min(one.view.side, other.view.side) / ENLARGED)


@cache
def _network(name: str) -> Any:
    """An onnxruntime session. Kept: the two are 12 MB."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # threads that spin while they wait take the turns of whatever else this machine does
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        str(WEIGHTS / "blazepose" / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
    )
