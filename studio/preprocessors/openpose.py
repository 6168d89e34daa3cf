"""OpenPose's own body network, through controlnet-aux."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from studio.preprocessors._people import ABSENT, Person, Point
from studio.preprocessors._preprocessor import (
    Detail,
    Kind,
    Map,
    Preprocessor,
    Run,
    Weights,
    skeletons,
)
from studio.preprocessors._stopping import Check, between_layers, wanted


def load(folder: Path) -> Run:
    from controlnet_aux.open_pose.body import Body

    network: Any = Body(str(folder / "body_pose_model.pth"))

    def run(image: Image, params: Detail, check: Check = wanted) -> Map:
        share = min(1.0, params.detail_px / min(image.size))
        size = (max(8, round(image.width * share)), max(8, round(image.height * share)))
        shown = np.asarray(image.resize(size))[..., ::-1]
        with between_layers(check):
            bodies = network(np.ascontiguousarray(shown))
        found = network.format_body_result(*bodies)
        across, down = image.width / size[0], image.height / size[1]
        people = [
            Person(tuple(_point(point, across, down) for point in body.keypoints)) for body in found
        ]
        return skeletons(people, image.size)

    return run


def _point(point: Any, across: float, down: float) -> Point:
    if point is None:
        return ABSENT
    return Point(float(point.x) * across, float(point.y) * down, float(min(1.0, point.score)))


PREPROCESSOR = Preprocessor(
    id="openpose",
    label="OpenPose",
    about="People as OpenPose finds them: what the first pose ControlNets were trained with.",
    kind=Kind.POSE,
    params=Detail,
    needs=Weights(
        label="OpenPose (body)",
        repo="lllyasviel/Annotators",
        files=("body_pose_model.pth",),
        size_bytes=209_267_595,
        licence="for research, not for business",
        instead="pose",
    ),
    load=load,
)
