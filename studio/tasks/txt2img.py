"""A picture from words alone."""

from collections.abc import Iterator

from pydantic.dataclasses import dataclass

from studio.core.records import Picture
from studio.core.requests import STRICT
from studio.families._family import Role
from studio.tasks._sampled import Sampled, brush, resolve
from studio.tasks._task import Task, Tools


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Txt2Img(Sampled):
    """Paint from a prompt, starting at pure noise."""


def run(request: Txt2Img, tools: Tools) -> Iterator[Picture]:
    with tools.pipeline(request.checkpoint or "", Role.TEXT) as painter:
        for index in range(request.count):
            yield painter.paint(brush(request, index), index=index, pictures=request.count)


TASK = Task(id="txt2img", label="Text to image", request=Txt2Img, resolve=resolve, run=run)
