"""Tiles cover a picture without a seam."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from studio.core.tiles import cut, lay

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 300))


@given(size=SIZES, side=st.integers(16, 128), blend=st.integers(0, 8), more=st.integers(0, 8))
def test_what_is_cut_and_laid_is_the_picture(
    size: tuple[int, int], side: int, blend: int, more: int
) -> None:
    width, height = size
    picture = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    canvas = np.zeros_like(picture)
    for tile in cut(size, side, margin_px=blend + more, blend_px=blend):
        box, seen = tile.box, tile.seen
        assert seen.left <= box.left < box.right <= seen.right
        assert seen.top <= box.top < box.bottom <= seen.bottom
        assert seen.width <= side + 2 * (blend + more)
        piece = picture[box.top : box.bottom, box.left : box.right]
        lay(canvas, piece, box.left, box.top, tile.over_left, tile.over_top)
    assert np.array_equal(canvas, picture)


def test_a_picture_that_is_small_enough_is_one_tile() -> None:
    [tile] = cut((128, 128), 128, margin_px=16, blend_px=8)
    assert tile.box.size == tile.seen.size == (128, 128)


def test_tiles_are_about_equal() -> None:
    tiles = cut((129, 10), 128, margin_px=16, blend_px=8)
    assert [tile.box.width for tile in tiles] == [64 + 8, 65 + 8]


def test_neighbours_that_differ_fade_into_each_other() -> None:
    """Where one tile says black and the next one white, no step is larger than the ramp's."""
    canvas = np.zeros((64, 200, 3), np.uint8)
    for number, tile in enumerate(cut((200, 64), 100, margin_px=16, blend_px=8)):
        piece = np.full((tile.box.height, tile.box.width, 3), 255 * number, np.uint8)
        lay(canvas, piece, tile.box.left, tile.box.top, tile.over_left, tile.over_top)
    row = canvas[30, :, 0].astype(int)
    assert (row[:92] == 0).all() and (row[108:] == 255).all()
    assert (np.diff(row) >= 0).all() and np.diff(row).max() <= 255 / 16 + 1
