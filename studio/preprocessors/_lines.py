"""Lines out of a picture: flowing ones as a pen draws them, and how strong edges are."""

from typing import Any

import numpy as np

from studio.preprocessors._pixels import Colours, Plane, blurred
from studio.preprocessors._stopping import Check, wanted


def ink(
    light: Plane, *, width: float, sharpness: float, least: float, check: Check = wanted
) -> Plane:
    """Ink on paper: 1.0 is ink, 0.0 is paper.

    The extended difference of Gaussians (Winnemöller et al., XDoG, 2012), taken across the lines
    and smoothed along them (Kang et al., Coherent Line Drawing, 2007), so that lines hold together.
    `width` is their width in pixels, `sharpness` how much edges outweigh shades, `least` the depth
    of a dip that is drawn at all: less draws more.
    """
    import cv2

    sigma = max(0.4, width / 2)
    difference: Any = blurred(light, sigma) - blurred(light, sigma * 1.6)
    smooth = along(difference, flow(light, sigma * 2), round(4 * sigma) + 2, check)
    ink_there = np.clip((-smooth - least) * sharpness * 10, 0, None)
    drawn: Any = np.tanh(ink_there)
    return cv2.GaussianBlur(drawn.astype(np.float32), (0, 0), 0.5)


def flow(light: Plane, sigma: float) -> tuple[Plane, Plane]:
    """For each pixel the way an edge runs there: a unit vector (x, y)."""
    import cv2

    across: Any = cv2.Sobel(light, cv2.CV_32F, 1, 0, ksize=3, borderType=cv2.BORDER_REFLECT)
    down: Any = cv2.Sobel(light, cv2.CV_32F, 0, 1, ksize=3, borderType=cv2.BORDER_REFLECT)
    # the structure tensor: steep places lend their direction to flat ones around
    xx, yy, xy = (blurred(product, sigma) for product in (across**2, down**2, across * down))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def along(plane: Plane, way: tuple[Plane, Plane], steps: int, check: Check = wanted) -> Plane:
    """The mean of the values met when walking `steps` pixels both ways along `way`."""
    import cv2

    height, width = plane.shape
    rows, columns = np.indices((height, width), np.float32)
    total, weight = plane.copy(), 1.0
    for sign in (1.0, -1.0):
        x, y = columns.copy(), rows.copy()
        ahead = (sign * way[0], sign * way[1])
        for step in range(1, steps + 1):
            check()
            x, y = x + ahead[0], y + ahead[1]
            new_x: Any = cv2.remap(way[0], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            new_y: Any = cv2.remap(way[1], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            # a way has no front end: walk on, never back
            turn = np.where(new_x * ahead[0] + new_y * ahead[1] < 0, -1.0, 1.0).astype(np.float32)
            ahead = (new_x * turn, new_y * turn)
            share = float(np.exp(-2 * (step / steps) ** 2))
            met: Any = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            total, weight = total + share * met, weight + share
    return (total / weight).astype(np.float32)


def strength(colours: Colours, sigmas: tuple[float, ...], check: Check = wanted) -> Plane:
    """How strong an edge runs through each pixel, in colour distance for a pixel of the way.

    Only what is an edge at every one of these scales counts (a geometric mean), so that hair and
    grass give way to the outline of a head and a field.
    """
    found: list[Any] = []
    for sigma in sigmas:
        check()
        found.append(np.log(_steepness(colours, sigma) * sigma + 0.05))
    return (np.exp(np.mean(found, axis=0)) - 0.05).astype(np.float32)


def _steepness(colours: Colours, sigma: float) -> Any:
    import cv2

    soft: Any = blurred(colours, sigma)
    across: Any = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3, borderType=cv2.BORDER_REFLECT) / 8
    down: Any = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3, borderType=cv2.BORDER_REFLECT) / 8
    return np.sqrt((across**2 + down**2).sum(axis=-1))


def thinned(edges: Plane, way: tuple[Plane, Plane]) -> Plane:
    """Only the crests of `edges`, a pixel or two wide."""
    import cv2

    rows, columns = np.indices(edges.shape, np.float32)
    across = (-way[1], way[0])
    beside = [
        cv2.remap(
            edges,
            columns + side * across[0],
            rows + side * across[1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for side in (1.0, -1.0)
    ]
    crest: Any = (edges >= beside[0]) & (edges >= beside[1])
    return np.where(crest, edges, 0).astype(np.float32)


def joined(edges: Plane, *, low: float, high: float, least_px: int) -> Any:
    """True where `edges` reaches `low` in a stretch that reaches `high` and has `least_px` pixels."""
    import cv2

    faint = (edges > low).astype(np.uint8)
    found: Any = cv2.connectedComponents(faint, connectivity=8)
    count, labels = found
    sizes = np.bincount(labels.ravel(), minlength=count)
    peaks = np.zeros(count, np.float32)
    np.maximum.at(peaks, labels.ravel(), edges.ravel())
    kept = (sizes >= least_px) & (peaks > high)
    kept[0] = False
    return kept[labels]
