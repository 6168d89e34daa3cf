"""People that a person posed: read from what OpenPose and its editors write, drawn as a map."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from PIL.Image import Image

from studio.core.errors import InvalidRequest
from studio.core.geometry import Size
from studio.core.intake import MAX_PIXELS, MAX_SIDE_PX
from studio.preprocessors._people import (
    COLOURS,
    LIMB_LIGHT,
    LIMBS,
    POINTS,
    THICKNESS,
    Person,
    canvas_of,
    draw,
    from_json,
    to_json,
)

LEAST_SIDE_PX = 16
SKELETON = MappingProxyType(
    {
        "points": POINTS,
        "limbs": LIMBS,
        "colours": COLOURS,
        "limb_light": LIMB_LIGHT,
        "thickness": THICKNESS,
    }
)
"""What an editor must know to draw people as `draw` does."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Somebody at least, on a canvas of `size`."""

    people: tuple[Person, ...]
    """Hidden ones too."""
    size: Size

    @property
    def image(self) -> Image:
        """The map: RGB, coloured skeletons on black."""
        return draw(self.people, self.size)

    @property
    def data(self) -> dict[str, Any]:
        """As OpenPose writes it."""
        return to_json(self.people, self.size)


def read_pose(data: Mapping[str, Any], size: Size | None = None, field: str = "pose") -> Pose:
    """The people in `data`, scaled to a picture of `size`; None is the canvas that they name.

    Raises `InvalidRequest`, also where no joint of anybody is to be seen inside of the canvas: an
    empty map would be taken for a pose.
    """
    known = canvas_of(data)
    canvas = size or known
    people = from_json(data, canvas or (1, 1), field)
    if canvas is None:
        raise InvalidRequest(
            "This pose does not tell how large its picture is.",
            "Add 'canvas_width' and 'canvas_height' in pixels.",
            field=field,
        )
    if min(canvas) < LEAST_SIDE_PX or max(canvas) > MAX_SIDE_PX or _area(canvas) > MAX_PIXELS:
        raise InvalidRequest(
            f"A pose cannot be {canvas[0]} × {canvas[1]} px large.",
            f"Its sides may have {LEAST_SIDE_PX} to {MAX_SIDE_PX} px, and it "
            f"{MAX_PIXELS // 10**6} megapixels.",
            field=field,
        )
    joints = [point for person in people for point in person.points if point.confidence > 0]
    if not any(0 <= joint.x < canvas[0] and 0 <= joint.y < canvas[1] for joint in joints):
        raise InvalidRequest(
            "Nobody is to be seen in this pose.",
            "Everybody is outside of its picture: move somebody into it."
            if joints
            else "Add a person, or show a joint.",
            field=field,
        )
    return Pose(people, canvas)


def _area(size: Size) -> int:
    return size[0] * size[1]
