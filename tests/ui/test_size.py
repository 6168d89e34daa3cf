import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.ui.widgets.size import MOST_PX, SCALES, SHAPES, fitted, named

shapes = st.sampled_from(list(SHAPES))
scales = st.sampled_from(list(SCALES))
natives = st.sampled_from([64, 256, 512, 1024])


def test_a_medium_square_is_the_native_size() -> None:
    assert fitted("1:1", "Medium", 512, 8) == (512, 512)


def test_every_shape_has_about_the_same_area() -> None:
    areas = [width * height for width, height in (fitted(s, "Medium", 512, 8) for s in SHAPES)]
    assert max(areas) / min(areas) < 1.05


@given(shapes, scales, natives)
def test_sizes_are_multiples_and_within_bounds(shape: str, scale: str, native_px: int) -> None:
    for side in fitted(shape, scale, native_px, 8):
        assert side % 8 == 0
        assert 64 <= side <= MOST_PX


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", SCALES)
def test_a_preset_is_known_by_its_size(shape: str, scale: str) -> None:
    width, height = fitted(shape, scale, 512, 8)
    assert named(width, height, 512, 8) == (shape, scale)


def test_a_size_of_ones_own_has_no_name() -> None:
    assert named(500, 333, 512, 8) == (None, None)
    assert named(None, 512, 512, 8) == (None, None)


def test_of_several_presets_with_one_size_the_plainest_is_named() -> None:
    assert fitted("1:1", "Small", 64, 8) == fitted("1:1", "Medium", 64, 8)
    assert named(64, 64, 64, 8) == ("1:1", "Medium")
