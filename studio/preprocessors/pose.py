"""Pose without a download: people found by BlazePose, drawn as OpenPose draws them."""

from dataclasses import replace
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._blazepose import find
from studio.preprocessors._people import ABSENT, Person
from studio.preprocessors._preprocessor import Kind, Map, Preprocessor, skeletons
from studio.preprocessors._stopping import Check, wanted

Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pose:
    most: Annotated[int, Ge(1), Le(32)] = 8
    """People to find at most, the surest first."""
    least: Share = 0.5
    """How sure it must be that there is somebody; less finds more people, and more that are none."""
    visible: Share = 0.5
    """How sure a joint must be to be drawn; less also draws joints that are hidden."""


def run(image: Image, params: Pose, check: Check = wanted) -> Map:
    found = find(np.asarray(image), most=params.most, least=params.least, check=check)
    return skeletons([_visible(person, params.visible) for person in found], image.size)


def _visible(person: Person, least: float) -> Person:
    points = (point if point.confidence >= least else ABSENT for point in person.points)
    return replace(person, points=tuple(points))


PREPROCESSOR = Preprocessor(
    id="pose",
    label="Pose",
    about="People as skeletons of 18 points (BlazePose); comes with the studio.",
    kind=Kind.POSE,
    params=Pose,
    run=run,
)
