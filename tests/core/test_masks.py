"""What a mask means, in numbers."""

import time
import tracemalloc
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from studio.core import masks
from studio.core.geometry import Box, near


def square(side: int = 40, low: int = 15, high: int = 25, value: int = 255) -> masks.Mask:
    mask = np.zeros((side, side), np.uint8)
    mask[low:high, low:high] = value
    return mask


def effective(mask: masks.Mask, **changes: Any) -> masks.Mask:
    return masks.effective(mask, **{"invert": False, "grow_px": 0, "feather_px": 0, **changes})


@pytest.mark.parametrize(
    ("mode", "white", "black"),
    [
        ("1", 1, 0),
        ("L", 255, 0),
        ("RGB", (255, 255, 255), (0, 0, 0)),
        ("RGBA", (255, 255, 255, 255), (255, 255, 255, 0)),
        ("RGBA", (255, 255, 255, 255), (0, 0, 0, 255)),
    ],
)
def test_white_is_repainted_and_black_or_transparent_stays(
    mode: str, white: Any, black: Any
) -> None:
    drawn = Image.new(mode, (4, 2), black)
    drawn.putpixel((3, 1), white)
    assert masks.read(drawn).tolist() == [[0, 0, 0, 0], [0, 0, 0, 255]]


def test_the_mask_of_what_is_transparent() -> None:
    picture = Image.new("RGBA", (2, 1), (9, 9, 9, 255))
    picture.putpixel((1, 0), (9, 9, 9, 0))
    assert masks.of_transparency(picture).tolist() == [[0, 255]]
    assert not masks.of_transparency(picture.convert("RGB")).any()


def test_growing_and_shrinking_go_by_distance() -> None:
    rows, columns = np.mgrid[:40, :40]
    outside = np.hypot(
        np.maximum(0, np.maximum(15 - rows, rows - 24)),
        np.maximum(0, np.maximum(15 - columns, columns - 24)),
    )
    assert ((effective(square(), grow_px=5) == 255) == (outside <= 5)).all()
    assert (effective(square(), grow_px=-3) == square(low=18, high=22)).all()
    assert not effective(square(), grow_px=-6).any()


def test_a_feather_lies_outside_and_ends_where_it_says() -> None:
    soft = effective(square(), feather_px=6)
    assert (soft[square() == 255] == 255).all()
    row = soft[20, 25:33].tolist()
    assert row == sorted(row, reverse=True) and len(set(row[:6])) == 6
    assert row[0] > 200 and row[5:] == [0, 0, 0]


def test_inverting_comes_first() -> None:
    turned = effective(square(), invert=True, grow_px=2)
    assert (turned == 255 - square(low=17, high=23)).all()


def test_share_and_box_count_what_is_touched_at_all() -> None:
    mask = square(value=1)
    assert masks.share(mask) == 100 / 1600
    assert masks.box(mask) == Box(15, 15, 25, 25)
    assert masks.box(np.zeros((3, 3), np.uint8)) is None


def test_blocks_take_in_every_touched_pixel() -> None:
    mask = np.zeros((16, 24), np.uint8)
    mask[9, 23] = 1
    expected = np.zeros((16, 24), np.uint8)
    expected[8:, 16:] = 255
    assert (masks.blocks(mask, 8) == expected).all()


def test_mixing_keeps_bytes_where_the_mask_is_0_and_takes_them_where_it_is_255() -> None:
    rng = np.random.default_rng(0)
    old, new = rng.integers(0, 256, (2, 9, 9, 3), dtype=np.uint8)
    mask = rng.choice(np.array([0, 255, 100], np.uint8), (9, 9))
    mixed = masks.mixed(old, new, mask)
    assert (mixed[mask == 0] == old[mask == 0]).all()
    assert (mixed[mask == 255] == new[mask == 255]).all()
    between = mask == 100
    exact = (old[between].astype(float) * 155 + new[between] * 100.0) / 255
    assert np.abs(mixed[between] - exact).max() <= 0.5


def test_what_is_filled_takes_the_colours_around() -> None:
    picture = np.full((40, 40, 3), 200, np.uint8)
    picture[square() > 0] = 0
    picture[:, :12] = (200, 0, 0)
    filled = masks.filled(picture, square())
    assert (filled[square() == 0] == picture[square() == 0]).all()
    inside = filled[square() > 0]
    assert inside[:, 0].min() > 190
    assert filled[20, 15, 1] < filled[20, 24, 1]


def test_colours_that_are_off_outside_are_mended_inside() -> None:
    old = np.full((64, 64, 3), 100, np.uint8)
    mask = square(64, 24, 40)
    mended = masks.attuned(old + 20, old, mask)
    off = np.abs(mended.astype(int) - 100).max(-1)
    assert off[mask == 0].max() <= 1
    assert off[24:26, 24:40].max() <= 2 < off[32, 32]  # at the seam, and less and less further in


SKY, NIGHT, HOUSE = (120, 170, 235), (14, 20, 52), (250, 200, 60)


def other_half(colour: tuple[int, int, int]) -> tuple[masks.Pixels, masks.Pixels, masks.Mask]:
    """A picture of one colour whose right half was painted in another tone, blurred where they
    meet, with a house in it at the seam and a moon far off; the picture drawn out; the mask."""
    old = np.full((128, 128, 3), colour, np.uint8)
    mask = np.zeros((128, 128), np.uint8)
    mask[:, 64:] = 255
    new = old.astype(float)
    new += np.clip((np.arange(128) - 64) / 10, 0, 1)[None, :, None] * (30, 35, 20)
    new[80:110, 68:100] = HOUSE
    new[10:24, 100:114] = 255
    return np.rint(new).clip(0, 255).astype(np.uint8), old, mask


@pytest.mark.parametrize("colour", [SKY, NIGHT])
def test_a_sky_that_was_painted_in_another_tone_is_brought_back_to_its_own(
    colour: tuple[int, int, int],
) -> None:
    new, old, mask = other_half(colour)
    mended = masks.harmonised(new, old, mask)
    off = np.abs(mended[30:70].astype(int) - colour).max(-1)
    assert off.max() <= 8
    assert off[:, 110:].max() <= 8  # as far away as at the seam
    assert np.abs(mended[84:106, 74:96].astype(int) - HOUSE).max() <= 6
    assert mended[13:21, 103:111].min() >= 250


def test_a_tone_that_drifts_away_is_held_near_the_seam() -> None:
    old = np.full((96, 192, 3), (14, 20, 52), np.uint8)
    new, mask = old.copy(), np.zeros((96, 192), np.uint8)
    new[:, 96:] = old[:, 96:] + np.linspace(0, 40, 96).astype(np.uint8)[:, None]
    mask[:, 96:] = 255
    drift = masks.harmonised(new, old, mask)[48, 96:, 0].astype(int) - 14
    assert abs(drift[:24]).max() <= 3 < (new[48, 96 + 23, 0] - 14)
    assert drift[-1] > 20


def test_what_is_another_thing_is_not_taken_for_another_tone() -> None:
    """A beach that goes on from the sea is not painted blue."""
    old = np.full((96, 96, 3), (50, 100, 130), np.uint8)
    new, mask = old.copy(), np.zeros((96, 96), np.uint8)
    new[:, 48:] = (205, 160, 105)
    mask[:, 48:] = 255
    assert np.abs(masks.harmonised(new, old, mask).astype(int) - new).max() <= 3


def test_a_thin_strip_is_harmonised_too() -> None:
    old = np.full((600, 1000, 3), (60, 90, 160), np.uint8)
    new, mask = old + np.uint8(20), np.zeros((600, 1000), np.uint8)
    mask[:, 997:] = 255
    strip = masks.harmonised(new, old, mask)[:, 997:].astype(int)
    assert np.abs(strip - old[:, 997:]).max() < 10


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (9, 3), (700, 20)])
def test_any_size_can_be_harmonised(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    new, old = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
    for mask in (np.zeros(size, np.uint8), np.full(size, 255, np.uint8)):
        assert (masks.harmonised(new, old, mask) == new).all()
    mask = np.where(np.arange(size[1]) >= size[1] // 2, 255, 0).astype(np.uint8)
    mended = masks.harmonised(new, old, np.broadcast_to(mask, size))
    assert mended.shape == (*size, 3)


def test_a_mask_over_everything_leaves_nothing_to_go_by() -> None:
    everything = np.full((5, 5), 255, np.uint8)
    picture = np.full((5, 5, 3), 7, np.uint8)
    assert (masks.filled(picture, everything) == picture).all()
    assert (masks.attuned(picture, picture, everything) == picture).all()


@settings(max_examples=60)
@given(
    box=st.tuples(*[st.integers(0, 60)] * 4),
    within=st.tuples(st.integers(61, 200), st.integers(61, 200)),
    aspect=st.floats(0.1, 10),
    padding=st.integers(0, 300),
)
def test_a_shaped_box_holds_the_old_one_and_stays_in_the_picture(
    box: tuple[int, ...], within: tuple[int, int], aspect: float, padding: int
) -> None:
    left, right = sorted(box[:2])
    top, bottom = sorted(box[2:])
    old = Box(left, top, right + 1, bottom + 1)
    for new in (old.grown(padding, within), old.shaped(aspect, within)):
        assert 0 <= new.left <= old.left < old.right <= new.right <= within[0]
        assert 0 <= new.top <= old.top < old.bottom <= new.bottom <= within[1]


def test_a_near_size_has_the_shape_and_the_area() -> None:
    assert near((4000, 3000), 512, 8, least=64, most=2048) == (592, 440)
    assert near((128, 128), 1024, 8, least=64, most=2048) == (1024, 1024)
    assert near((5000, 10), 512, 8, least=64, most=2048) == (2048, 64)


def test_photographs_take_seconds_and_look_as_their_small_copies_do() -> None:
    size, small = (2400, 1600), (600, 400)
    colours = np.random.default_rng(3).integers(0, 255, (4, 6, 3), np.uint8)
    picture = cv2.resize(colours, size, interpolation=cv2.INTER_CUBIC)
    mask = np.zeros(size[::-1], np.uint8)
    mask[240:1360, 320:2080] = 255
    began = time.process_time()
    filled = masks.filled(picture, mask)
    attuned = masks.attuned(np.clip(picture, 20, 255) - 20, picture, mask)
    assert time.process_time() - began < 10
    kept = mask == 0
    assert (filled[kept] == picture[kept]).all()
    fewer = [cv2.resize(one, small, interpolation=cv2.INTER_AREA) for one in (picture, mask)]
    expected = masks.filled(*fewer)
    found = cv2.resize(filled, small, interpolation=cv2.INTER_AREA)
    assert np.abs(found.astype(int) - expected).mean() < 2
    assert np.abs(attuned[kept].astype(int) - picture[kept]).mean() < 2


@pytest.mark.parametrize(
    ("work", "times"), [("filled", 6), ("attuned", 8), ("harmonised", 5), ("mixed", 3.5)]
)
def test_photographs_take_a_few_times_their_own_size_of_memory(
    work: str, times: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 40 megapixels, which have 120 MB, some hundreds more."""
    monkeypatch.setattr(masks, "_FILL_PX", 256)  # what is filled is as small beside a photograph
    height, width = 1200, 2000
    new, old = np.random.default_rng(5).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[200:900, 300:1500] = 255
    takes = {"filled": (old, mask), "mixed": (old, new, mask)}.get(work, (new, old, mask))
    getattr(masks, work)(*takes)  # what is imported on the way is not counted
    tracemalloc.start()
    try:
        getattr(masks, work)(*takes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < times * old.nbytes, peak / old.nbytes
