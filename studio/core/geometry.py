"""Sizes and boxes in a picture, in pixels from its top left corner."""

from dataclasses import dataclass
from math import sqrt

Size = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels; `right` and `bottom` are the first ones outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def size(self) -> Size:
        return self.width, self.height

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """As Pillow's `crop` takes it."""
        return self.left, self.top, self.right, self.bottom

    def grown(self, px: int, within: Size) -> "Box":
        """With `px` more on each side, as far as there is picture."""
        return Box(
            max(0, self.left - px),
            max(0, self.top - px),
            min(within[0], self.right + px),
            min(within[1], self.bottom + px),
        )

    def shaped(self, aspect: float, within: Size) -> "Box":
        """Widened or heightened around its middle towards `aspect` (width / height).

        Nothing is cut off and nothing beyond `within` taken in, so that the shape may stay short
        of what was asked.
        """
        left, right = _stretched(self.left, self.right, round(self.height * aspect), within[0])
        top, bottom = _stretched(self.top, self.bottom, round(self.width / aspect), within[1])
        return Box(left, top, right, bottom)


def _stretched(low: int, high: int, wanted: int, limit: int) -> tuple[int, int]:
    length = min(max(high - low, wanted), limit)
    start = low - (length - (high - low)) // 2
    start = max(0, min(start, limit - length))
    return start, start + length


def whole(size: Size) -> Box:
    return Box(0, 0, *size)


def near(size: Size, side_px: int, multiple_px: int, *, least: int, most: int) -> Size:
    """A size of the shape of `size` with the area of a square of `side_px`.

    Both sides are multiples of `multiple_px`, and within `least` … `most`.
    """
    scale = side_px / sqrt(size[0] * size[1])
    width, height = (
        max(least, min(most // multiple_px * multiple_px, _nearest(side * scale, multiple_px)))
        for side in size
    )
    return width, height


def _nearest(length: float, multiple: int) -> int:
    return round(length / multiple) * multiple
