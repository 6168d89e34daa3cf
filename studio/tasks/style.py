"""A picture in the look of others."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen
from pydantic import Field
from pydantic.dataclasses import dataclass

from studio.core.errors import InvalidRequest
from studio.core.records import Picture
from studio.core.requests import STRICT, ImageRef, Name, Strength, dump, parse
from studio.discovery import open_drawer
from studio.stylizers._colours import recoloured
from studio.stylizers._stylizer import Style, Stylizer, Watch
from studio.tasks._over import flat
from studio.tasks._task import Facts, Resolved, Task, Tools

LEAST_STYLE_PX = 16
"""A side of a style picture that still shows more than a colour."""


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class StylePicture:
    """A picture whose look is wanted, and how much of it."""

    image: ImageRef
    """The ref of an upload, or the id of a picture in the gallery."""
    weight: Annotated[float, Ge(0), Le(100)] = 1.0
    """Its share beside the other styles: only how the weights compare matters."""


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Restyle:
    """Give a picture the look of one or several others."""

    image: ImageRef
    """The picture to keep the content of: the ref of an upload, or the id of a picture in the
    gallery. What is transparent in it lies on white."""
    styles: Annotated[tuple[StylePicture, ...], MaxLen(8)] = ()
    """One to eight pictures whose look is mixed."""
    method: Name = "neural"
    """How the look is carried over, by id."""
    strength: Strength = 1.0
    """How much of the look is taken: 0 keeps the picture, 1 takes all of it."""
    keep_colours: bool = False
    """Take light and dark from the result, and hues from the picture as it was."""
    params: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Settings of the method, as its schema says; what is left out has its default."""


@cache
def stylizers() -> Mapping[str, Stylizer]:
    """The drawer of stylizers, opened once."""
    return open_drawer("studio.stylizers", Stylizer)


def resolve(request: Restyle, facts: Facts) -> Resolved:
    method = _named(request.method)
    if not request.styles:
        raise InvalidRequest(
            "No style picture is chosen.", "Add at least one to 'styles'.", field="styles"
        )
    if not sum(style.weight for style in request.styles):
        raise InvalidRequest(
            "The weights of all style pictures are 0.",
            "Give at least one of them more.",
            field="styles",
        )
    for style in request.styles:
        width, height = facts.size(style.image)
        if min(width, height) < LEAST_STYLE_PX:
            raise InvalidRequest(
                f"The style picture is only {width}×{height} px.",
                f"Choose one with at least {LEAST_STYLE_PX} px a side.",
                field="styles",
            )
    width, height = facts.size(request.image)
    params = dump(parse(method.params, request.params))
    return Resolved(request=replace(request, params=params), pixels=width * height)


def _named(method: str) -> Stylizer:
    found = stylizers().get(method)
    if found is None:
        raise InvalidRequest(
            f"There is no style method '{method[:60]}'.",
            f"There are {', '.join(stylizers())}.",
            field="method",
        )
    return found


def run(request: Restyle, tools: Tools) -> Iterator[Picture]:
    began = time.monotonic()
    method = _named(request.method)
    image = flat(tools.picture(request.image))
    total = sum(style.weight for style in request.styles)
    styles = tuple(
        Style(flat(tools.picture(style.image)), style.weight / total)
        for style in request.styles
        if style.weight
    )
    params = parse(method.params, request.params)
    made = method.run(image, styles, request.strength, params, _watch(tools))
    if request.keep_colours and request.strength:
        made = recoloured(made, image)
    yield Picture(
        index=0,
        seed=0,
        width=made.width,
        height=made.height,
        pixels=made.tobytes(),
        facts={
            "stylizer": method.id,
            "params": dict(request.params),
            "seconds": round(time.monotonic() - began, 3),
        },
    )


def _watch(tools: Tools) -> Watch:
    def tell(done: int, steps: int, seconds_left: float | None) -> None:
        tools.progress(picture=0, pictures=1, step=done, steps=steps, seconds_left=seconds_left)

    return Watch(check=tools.check, tell=tell)


def pictures(request: Restyle) -> tuple[str, ...]:
    refs = (request.image, *(style.image for style in request.styles))
    return tuple(dict.fromkeys(refs))


TASK = Task(
    id="style",
    label="Style transfer",
    request=Restyle,
    resolve=resolve,
    run=run,
    pictures=pictures,
)
