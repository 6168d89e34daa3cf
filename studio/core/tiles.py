"""Working on a picture a tile at a time, so that memory follows the tile and not the picture.

Each tile looks a margin further than it contributes, and what it contributes overlaps its
neighbours by a band over which one fades into the other: no seam is left to be seen.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from studio.core.geometry import Box, Size

Pixels = NDArray[np.uint8]
"""[height, width, channels]"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One piece of the work, in pixels of the picture that is cut."""

    box: Box
    """What it contributes."""
    seen: Box
    """What it looks at: the box and its margin, as far as there is picture."""
    over_left: int
    """Columns of the box that the tile to the left has contributed before."""
    over_top: int
    """Rows of the box that the tile above has contributed before."""


def cut(size: Size, side_px: int, *, margin_px: int, blend_px: int) -> tuple[Tile, ...]:
    """Tiles that cover a picture, row by row, about equal and of at most `side_px` a side before
    their overlap is added.

    Neighbours overlap by twice `blend_px`; each looks at least `margin_px` further than its own
    share, which must not be less than `blend_px`. A picture that is no larger is one tile.
    """
    width, height = size
    return tuple(
        Tile(
            box=Box(left, top, right, bottom),
            seen=Box(
                max(0, x - margin_px),
                max(0, y - margin_px),
                min(width, x_end + margin_px),
                min(height, y_end + margin_px),
            ),
            over_left=over_left,
            over_top=over_top,
        )
        for y, y_end, top, bottom, over_top in _spans(height, side_px, blend_px)
        for x, x_end, left, right, over_left in _spans(width, side_px, blend_px)
    )


def _spans(length: int, side_px: int, blend_px: int) -> list[tuple[int, int, int, int, int]]:
    """For each tile along one side: its own share, what it contributes, and the overlap before."""
    count = -(-length // side_px)
    marks = [length * n // count for n in range(count + 1)]
    spans: list[tuple[int, int, int, int, int]] = []
    reached = 0
    for start, end in pairwise(marks):
        low, high = max(0, start - blend_px), min(length, end + blend_px)
        spans.append((start, end, low, high, max(0, reached - low)))
        reached = high
    return spans


def lay(canvas: Pixels, piece: Pixels, left: int, top: int, over_left: int, over_top: int) -> None:
    """Puts a piece into `canvas` at that corner; tiles must come in the order of `cut`.

    Over its first `over_left` columns and `over_top` rows it fades in over what is there.
    """
    height, width, _ = piece.shape
    place = canvas[top : top + height, left : left + width]
    if not over_left and not over_top:
        place[:] = piece
        return
    weight = _ramp(height, over_top)[:, None, None] * _ramp(width, over_left)[None, :, None]
    for band in (np.s_[:over_top], np.s_[over_top:, :over_left]):
        share = weight[band]
        place[band] = np.rint(place[band] * (1 - share) + piece[band] * share).astype(np.uint8)
    place[over_top:, over_left:] = piece[over_top:, over_left:]


def _ramp(length: int, over: int) -> NDArray[np.float32]:
    """From nearly 0 to nearly 1 over the first `over` places, then 1."""
    ramp = np.ones(length, np.float32)
    ramp[:over] = (np.arange(min(over, length), dtype=np.float32) + 0.5) / max(1, over)
    return ramp
