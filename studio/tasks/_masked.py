"""The mask of an inpainting request: one way to it, for the page and for the painting."""

from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic.dataclasses import dataclass

from studio.core import masks
from studio.core.errors import InvalidRequest
from studio.core.geometry import Box, Size, whole
from studio.core.masks import Mask
from studio.core.requests import STRICT, Feather, ImageRef, Padding
from studio.tasks._task import Facts, Tools

Grow = Annotated[int, Ge(-512), Le(512)]


# without slots: a class with slots cannot be mixed into another one that has them
@dataclass(frozen=True, kw_only=True, config=STRICT)
class Masking:
    """How a mask is understood."""

    invert: bool = False
    """Repaint what is black instead."""
    grow_px: Grow = 0
    """Pixels of the picture by which the mask grows, below 0 shrinks."""
    feather_px: Feather = 8
    """Pixels outside of the mask over which old and new are mixed. All further out stays as it is,
    to the byte."""
    area: Literal["masked", "whole"] = "masked"
    """What is looked at and painted at full resolution: the mask and what lies around it, or the
    whole picture."""
    padding_px: Padding = 32
    """Pixels of the picture around the mask that are looked at, where the area is masked."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Masked(Masking):
    """A picture, and what of it is painted anew."""

    image: ImageRef
    """The picture: the ref of an upload, or the id of a picture in the gallery."""
    mask: ImageRef
    """A picture of the same size: white is repainted, black and transparent stay as they are."""


@plain_dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A mask as it will be used."""

    mask: Mask
    """After inverting, growing and feathering; see `core.masks`."""
    box: Box
    """What is looked at and painted, before it is widened to the shape of the canvas."""

    @property
    def share(self) -> float:
        """Of the picture that changes at all, 0.0 … 1.0."""
        return masks.share(self.mask)

    def shaped(self, size: Size) -> Box:
        """The box in the shape of a canvas of that size, as far as there is picture."""
        height, width = self.mask.shape
        return self.box.shaped(size[0] / size[1], (width, height))


def view(request: Masked, seen: Facts | Tools) -> View:
    """Raises `InvalidRequest` for a mask of another size, or one that leaves nothing to repaint."""
    image, drawn = seen.picture(request.image), seen.picture(request.mask)
    if image.size != drawn.size:
        raise InvalidRequest(
            f"The mask is {drawn.width}×{drawn.height} px and the picture "
            f"{image.width}×{image.height} px.",
            "Give the mask the size of the picture, upright as it is shown.",
            field="mask",
        )
    mask = masks.effective(
        masks.read(drawn),
        invert=request.invert,
        grow_px=request.grow_px,
        feather_px=request.feather_px,
    )
    found = masks.box(mask)
    if found is None:
        raise InvalidRequest(
            "The mask is empty: nothing would be repainted.",
            "Paint over what you want to change, or invert the mask.",
            field="mask",
        )
    if request.area == "whole":
        return View(mask=mask, box=whole(image.size))
    return View(mask=mask, box=found.grown(request.padding_px, image.size))
