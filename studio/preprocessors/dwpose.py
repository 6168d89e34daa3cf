"""DWPose: people by two networks in ONNX, a detector and 133 points, of which 18 are drawn."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._people import ABSENT, Person, Point
from studio.preprocessors._preprocessor import (
    Kind,
    Map,
    Preprocessor,
    Run,
    Weights,
    skeletons,
)
from studio.preprocessors._stopping import Check, wanted

DETECTOR, POINTS = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"
DETECTOR_PX = 640
GREY = 114
"""What the detector was shown around a picture that is not square."""
WIDTH_PX, HEIGHT_PX = 288, 384
"""What the second network is shown of a person."""
AROUND = 1.25
"""How much more than the box of a person it is shown."""
STEPS = 2
"""Places that it tells apart in each of its pixels."""
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
"""Of ImageNet's pixels, which it was trained on."""
AS_OPENPOSE = (
    (0,), (5, 6), (6,), (8,), (10,), (5,), (7,), (9,), (12,), (14,), (16,), (11,), (13,), (15,),
    (2,), (1,), (4,), (3,),
)  # fmt: skip
"""For each of OpenPose's 18 points those of COCO that it lies in the middle of."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DwPose:
    most: Annotated[int, Ge(1), Le(32)] = 8
    """People to find at most, the surest first."""
    least: Annotated[float, Ge(0), Le(1)] = 0.5
    """How sure it must be that there is somebody."""
    visible: Annotated[float, Ge(0), Le(1)] = 0.3
    """How sure a joint must be to be drawn."""


def load(folder: Path) -> Run:
    import onnxruntime

    only = ["CPUExecutionProvider"]
    detector: Any = onnxruntime.InferenceSession(str(folder / DETECTOR), providers=only)
    network: Any = onnxruntime.InferenceSession(str(folder / POINTS), providers=only)

    def run(image: Image, params: DwPose, check: Check = wanted) -> Map:
        pixels = np.asarray(image)
        people: list[Person] = []
        for box in boxes(detector, pixels, params.least)[: params.most]:
            check()
            people.append(person(network, pixels, box, params.visible))
        return skeletons(people, image.size)

    return run


def boxes(detector: Any, pixels: NDArray[np.uint8], least: float) -> Any:
    """[people, 4]: left, top, right and bottom of each, the surest first."""
    import cv2

    share = min(DETECTOR_PX / side for side in pixels.shape[:2])
    size = [max(1, int(side * share)) for side in pixels.shape[1::-1]]
    shown = np.full((DETECTOR_PX, DETECTOR_PX, 3), GREY, np.uint8)
    shown[: size[1], : size[0]] = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    # YOLOX learned from what OpenCV reads: blue first, 0 … 255
    given = shown[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    (raw,) = detector.run(None, {detector.get_inputs()[0].name: given})
    middles, sizes = _unpacked(raw[0])
    sure = raw[0][:, 4] * raw[0][:, 5]  # that there is something, and that it is a person
    corners = np.concatenate([middles - sizes / 2, middles + sizes / 2], axis=1) / share
    spans = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    kept: Any = cv2.dnn.NMSBoxes(spans.tolist(), sure.tolist(), least, 0.45)
    return corners[np.asarray(kept, int).ravel()]


def _unpacked(raw: Any) -> tuple[Any, Any]:
    """Middles and sizes of all proposals in pixels of the detector."""
    cells, steps = [], []
    for step in (8, 16, 32):
        side = DETECTOR_PX // step
        rows, columns = np.indices((side, side))
        cells.append(np.stack([columns, rows], axis=-1).reshape(-1, 2))
        steps.append(np.full((side * side, 1), step))
    step = np.concatenate(steps)
    return (raw[:, :2] + np.concatenate(cells)) * step, np.exp(raw[:, 2:4]) * step


def person(network: Any, pixels: NDArray[np.uint8], box: Any, visible: float) -> Person:
    """The person in a box of the picture."""
    import cv2

    middle, sides = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * AROUND
    # as wide as the network's view, with nothing cut off
    scale = max(sides[0] / WIDTH_PX, sides[1] / HEIGHT_PX, 1e-3)
    corner = middle - np.array([WIDTH_PX, HEIGHT_PX]) / 2 * scale
    into = np.array([[1 / scale, 0, -corner[0] / scale], [0, 1 / scale, -corner[1] / scale]])
    shown: Any = cv2.warpAffine(pixels, into, (WIDTH_PX, HEIGHT_PX), flags=cv2.INTER_LINEAR)
    given = ((shown - MEAN) / DEVIATION).transpose(2, 0, 1)[None].astype(np.float32)
    across, down = network.run(None, {network.get_inputs()[0].name: given})
    places = np.stack([across[0].argmax(axis=-1), down[0].argmax(axis=-1)], axis=-1) / STEPS
    sure = np.minimum(across[0].max(axis=-1), down[0].max(axis=-1)).clip(0, 1)
    found = places * scale + corner
    return Person(tuple(_merged(found, sure, list(of), visible) for of in AS_OPENPOSE))


def _merged(places: Any, sure: Any, of: list[int], visible: float) -> Point:
    least = float(sure[of].min())
    if least < visible:
        return ABSENT
    x, y = places[of].mean(axis=0)
    return Point(float(x), float(y), least)


PREPROCESSOR = Preprocessor(
    id="dwpose",
    label="DWPose",
    about="People by DWPose: surer than OpenPose with crowds and odd poses.",
    kind=Kind.POSE,
    params=DwPose,
    needs=Weights(
        label="DWPose",
        repo="yzd-v/DWPose",
        files=(DETECTOR, POINTS),
        size_bytes=351_000_000,
        licence="Apache-2.0",
        instead="pose",
    ),
    load=load,
)
