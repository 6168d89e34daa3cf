"""A control map of a picture, to look at and to keep."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from studio.core.records import Picture
from studio.core.requests import STRICT, ImageRef, Name
from studio.preprocessors._people import to_json
from studio.tasks._maps import check_map, named, require_weights
from studio.tasks._over import flat
from studio.tasks._task import Facts, Resolved, Task, Tools


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Preprocess:
    """Take edges, depth, people or the like out of a picture."""

    image: ImageRef
    """The picture: the ref of an upload, or the id of a picture in the gallery."""
    preprocessor: Name = "canny"
    """What makes the map, by id."""
    params: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Settings of the preprocessor, as its schema says; what is left out has its default."""


def resolve(request: Preprocess, facts: Facts) -> Resolved:
    entry = named(request.preprocessor, field="preprocessor")
    _, params = check_map(entry.id, entry.kind, request.params)
    require_weights(entry.id, facts, field="preprocessor")
    width, height = facts.size(request.image)
    return Resolved(
        request=replace(request, params=params),
        pixels=width * height,
        by=f"preprocessor:{entry.id}",
    )


def run(request: Preprocess, tools: Tools) -> Iterator[Picture]:
    began = time.monotonic()
    made = tools.control_map(
        request.preprocessor, request.params, flat(tools.picture(request.image))
    )
    image = made.image
    told: dict[str, Any] = {
        "preprocessor": request.preprocessor,
        "kind": named(request.preprocessor).kind.value,
        "params": dict(request.params),
        "seconds": round(time.monotonic() - began, 3),
    }
    if made.people:
        told["pose"] = to_json(made.people, image.size)
    yield Picture(
        index=0,
        seed=0,
        width=image.width,
        height=image.height,
        pixels=image.tobytes(),
        facts=told,
    )


def pictures(request: Preprocess) -> tuple[str, ...]:
    return (request.image,)


TASK = Task(
    id="preprocess",
    label="Control map",
    request=Preprocess,
    resolve=resolve,
    run=run,
    pictures=pictures,
)
