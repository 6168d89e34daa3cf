"""Picture sizes: a shape and a scale around the checkpoint's native size."""

from math import sqrt
from types import MappingProxyType

SHAPES = MappingProxyType(
    {
        "1:1": (1, 1),
        "4:3": (4, 3),
        "3:2": (3, 2),
        "16:9": (16, 9),
        "3:4": (3, 4),
        "2:3": (2, 3),
        "9:16": (9, 16),
    }
)
SCALES = MappingProxyType({"Small": 0.75, "Medium": 1.0, "Large": 1.5})
"""Side of a square as a multiple of the checkpoint's native side."""

LEAST_PX, MOST_PX = 64, 2048


def fitted(shape: str, scale: str, native_px: int, multiple_px: int) -> tuple[int, int]:
    """Width and height in px with the area that `scale` asks for, near enough to `shape`."""
    across, down = SHAPES[shape]
    side = native_px * SCALES[scale]
    width, height = side * sqrt(across / down), side * sqrt(down / across)
    return _snapped(width, multiple_px), _snapped(height, multiple_px)


def named(
    width: int | None, height: int | None, native_px: int, multiple_px: int
) -> tuple[str | None, str | None]:
    """The shape and the scale that give this size; None and None if it is a size of one's own."""
    # at the bounds several presets come to the same size: the plainest name is meant
    for shape in SHAPES:
        for scale in sorted(SCALES, key=lambda name: abs(SCALES[name] - 1)):
            if fitted(shape, scale, native_px, multiple_px) == (width, height):
                return shape, scale
    return None, None


def _snapped(side: float, multiple_px: int) -> int:
    snapped = round(side / multiple_px) * multiple_px
    return max(LEAST_PX, min(MOST_PX // multiple_px * multiple_px, snapped))
