"""Normals: which way surfaces face, from depth."""

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._depth import estimated
from studio.preprocessors._pixels import Plane, blurred, bytes_of, scaled
from studio.preprocessors._preprocessor import Detail, Kind, Map, Preprocessor
from studio.preprocessors._stopping import Check, wanted


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Normals(Detail):
    from_depth: bool = False
    """The picture is a depth map (white is near) of its own; otherwise depth is estimated."""
    height: Annotated[float, Ge(0.01), Le(4)] = 0.5
    """How deep the picture is, in lengths of its shorter side: more makes slopes steeper."""


def run(image: Image, params: Normals, check: Check = wanted) -> Map:
    def look(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if params.from_depth:
            near = pixels.astype(np.float32).mean(axis=-1) / 255
        else:
            near = estimated(pixels, check)
        return bytes_of(_facing(near, params.height) / 2 + 0.5)

    return Map(scaled(image, params.detail_px, look))


def _facing(near: Plane, height: float) -> Any:
    """Unit vectors [height, width, 3]: x to the right, y up, z towards the viewer."""
    import cv2

    soft: Any = blurred(near, 1.0) * height * min(near.shape)
    right: Any = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3, borderType=cv2.BORDER_REFLECT) / 8
    down: Any = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3, borderType=cv2.BORDER_REFLECT) / 8
    facing = np.stack([-right, down, np.ones_like(soft)], axis=-1)
    return facing / np.linalg.norm(facing, axis=-1, keepdims=True)


PREPROCESSOR = Preprocessor(
    id="normals",
    label="Normals",
    about="Which way surfaces face, as colours: from a depth map, or from an estimate of depth.",
    kind=Kind.NORMALS,
    params=Normals,
    run=run,
)
