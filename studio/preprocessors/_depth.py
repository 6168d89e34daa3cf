"""How far things seem, from what a single picture shows: an estimate, not a measurement."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.preprocessors._areas import Labels, areas, means
from studio.preprocessors._pixels import Plane, blurred, guided, lab, lightness, spread
from studio.preprocessors._stopping import Check, wanted

FORWARD = 0.03
"""How much nearer than what it stands on or lies in front of a thing is."""
GROUND = 0.9
"""Share of the width from which on an area is taken for ground or wall."""
COARSE_PX = 288
"""Pixels of the shorter side at which depth is weighed; its edges come from the picture itself."""


def estimated(pixels: NDArray[np.uint8], check: Check = wanted) -> Plane:
    """1.0 is near, 0.0 is far.

    The cues that painters use: what stands lower in the picture is nearer; haze makes what is far
    pale and without contrast; the sharp is nearer than the blurred; strong colours come forward;
    and an area that reaches further down, or lies within another, covers what is behind it.
    """
    import cv2

    height, width = pixels.shape[:2]
    share = min(1.0, COARSE_PX / min(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    small: Any = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    coarse: Any = cv2.resize(
        _weighed(small, check), (width, height), interpolation=cv2.INTER_LINEAR
    )
    check()
    radius = max(2, round(min(height, width) / 40))
    return spread(guided(lightness(pixels), coarse, radius, 0.003), 1, 99)


def _weighed(pixels: NDArray[np.uint8], check: Check) -> Plane:
    light, colours = lightness(pixels), lab(pixels)
    height, width = light.shape
    side = max(2.0, min(height, width) / 60)
    labels = areas(pixels, likeness=9.0, least=0.0015, check=check)
    down = np.repeat(np.linspace(0, 1, height, dtype=np.float32)[:, None], width, axis=1)
    bounds = _bounds(labels)
    sharp = spread(np.log(_contrast(light, side) + 0.003), 5, 98)
    clear = spread(_darkness(pixels, side), 2, 98)
    strong = spread(np.hypot(colours[..., 1], colours[..., 2]), 2, 98)
    # a floor or wall that fills the width stands on nothing, and goes by the place of each pixel
    wide = np.clip((bounds.share - 0.5) * 2.5, 0, 1)[labels]
    position = wide * down + (1 - wide) * (bounds.bottom / max(1, height - 1))[labels]
    cue = 0.7 * position + 0.1 * sharp + 0.1 * clear + 0.1 * strong
    # an area is at one depth, tilted as the ground may be
    of_area = _in_front(means(cue, labels)[:, 0], labels, bounds)
    return (0.65 * of_area[labels] + 0.15 * cue + 0.2 * down).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Of each area: its outermost columns, its lowest row, and its share of the width."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    bottom: NDArray[np.int64]
    share: NDArray[np.float64]


def _bounds(labels: Labels) -> _Bounds:
    width = labels.shape[1]
    count = int(labels.max()) + 1
    rows, columns = np.indices(labels.shape)
    left, right, bottom = np.full(count, width), np.zeros(count, int), np.zeros(count, int)
    np.minimum.at(left, labels, columns)
    np.maximum.at(right, labels, columns)
    np.maximum.at(bottom, labels, rows)
    return _Bounds(left, right, bottom, (right - left + 1) / width)


def _in_front(depths: NDArray[np.float32], labels: Labels, bounds: _Bounds) -> NDArray[np.float32]:
    """The depths with each area at least as near as the one that it stands on.

    A cup on a saucer, a head on a collar, a badge on a coat: what is just below is another area,
    no narrower, and itself not so wide that it is ground. What lies within another area, such as
    the coffee within the rim, is no further than that.
    """
    count = len(depths)
    apart = labels[:-1] != labels[1:]
    borders = np.bincount(labels[:-1][apart] * np.int64(count) + labels[1:][apart])
    upper, lower = np.divmod(np.flatnonzero(borders), count)
    order = np.lexsort((lower, borders[borders > 0], upper))
    below = np.full(count, -1)
    below[upper[order]] = lower[order]  # the last one written has the longest border
    around = _around(labels, borders, bounds)
    found = depths.copy()
    for area in np.argsort(-bounds.bottom, kind="stable"):
        if around[area] >= 0:
            found[area] = max(found[area], found[around[area]])
        base = below[area]
        if base < 0 or bounds.share[base] > GROUND:
            continue
        slack = 0.25 * (bounds.right[area] - bounds.left[area])
        if bounds.left[base] - slack <= bounds.left[area] and (
            bounds.right[area] <= bounds.right[base] + slack
        ):
            found[area] = max(found[area], found[base] + FORWARD)
    return found


def _around(labels: Labels, borders: NDArray[np.int64], bounds: _Bounds) -> NDArray[np.int64]:
    """For each area the one that it lies within, -1 for most: its longest border is with an area
    that reaches further on all sides and is no ground."""
    count = len(bounds.share)
    shared = np.zeros(count * count, np.int64)
    shared[: len(borders)] = borders
    shared = shared.reshape(count, count)
    shared = shared + shared.T
    other = shared.argmax(axis=1)
    tops = np.full(count, labels.shape[0])
    np.minimum.at(tops, labels, np.indices(labels.shape)[0])
    within = (
        (tops[other] < tops)
        & (bounds.left[other] < bounds.left)
        & (bounds.right[other] > bounds.right)
        & (bounds.bottom[other] > bounds.bottom)
        & (bounds.share[other] <= GROUND)
        & (shared.max(axis=1) > 0)
    )
    return np.where(within, other, -1)


def _darkness(pixels: NDArray[np.uint8], side: float) -> Plane:
    """How dark the darkest channel gets nearby: haze leaves nothing dark (He et al., 2009)."""
    import cv2

    window = np.ones((max(3, round(side)),) * 2, np.uint8)
    darkest: Any = cv2.erode(pixels.min(axis=-1), window)
    return 1 - blurred(darkest.astype(np.float32) / 255, side)


def _contrast(light: Plane, side: float) -> Plane:
    """How much fine detail there is nearby."""
    fine = light - blurred(light, 1.2)
    return np.sqrt(blurred(fine * fine, side)).astype(np.float32)
