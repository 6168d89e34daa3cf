"""A picture in the look of others."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen
from PIL import Image
from pydantic import Field
from pydantic.dataclasses import dataclass

from studio.core.errors import InvalidRequest, StudioError
from studio.core.records import Picture
from studio.core.requests import STRICT, ImageRef, Name, Pixels, Strength, Text, dump, parse
from studio.costs.work import Work
from studio.discovery import open_drawer
from studio.stylizers._colours import recoloured
from studio.stylizers._stylizer import Repaint, Style, Stylizer, Watch
from studio.tasks import img2img
from studio.tasks._over import fitted, flat
from studio.tasks._presets import Presets
from studio.tasks._references import LEAST_PX, MOST_REFERENCES, Reference
from studio.tasks._sampled import Painted
from studio.tasks._task import Facts, Resolved, Task, Tools
from studio.tasks._units import Unit, Units, refs, weighty

EDGES = "edges"


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class StylePicture:
    """A picture whose look is wanted, and how much of it."""

    image: ImageRef
    """The ref of an upload, or the id of a picture in the gallery."""
    weight: Annotated[float, Ge(0), Le(100)] = 1.0
    """Its share beside the other styles: only how the weights compare matters."""


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Restyle(Painted):
    """Give a picture the look of one or several others. What a checkpoint is told is for the methods
    that paint anew."""

    prompt: Text = ""
    """What to paint, for the methods that paint anew. `(word:1.3)` weighs a word more, `[word]` less,
    BREAK starts a new chunk, `<lora:name:0.8>` adds a LoRA."""
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
    presets: Presets = ()
    """Names of styles in words that are written into the prompt."""
    structure: Literal["edges", "depth", "none"] | None = None
    """What of the picture a ControlNet holds on to. The default is edges, where one fits."""
    units: Units = ()
    """The maps that hold it; what the studio makes of `structure`."""
    denoising: Strength | None = None
    """Set by the studio: how much of the picture is painted anew, by the methods that paint anew."""
    width: Pixels | None = None
    """Pixels; the default is of the picture's shape, about as large as the checkpoint knows them."""
    height: Pixels | None = None
    """Pixels; as `width`."""


DECIDED = tuple(field.name for field in fields(Painted))
"""Fields of a painting that a resolved request keeps."""
AS_ASKED = {"styles": "presets", "references": "styles"}
"""Fields of a painting that are called otherwise here."""
HELD, LOOSE = 0.85, 0.6
"""How much is painted anew at a strength of 1.0: where a ControlNet holds the structure, and where
nothing does but what is left of the picture."""


@cache
def stylizers() -> Mapping[str, Stylizer]:
    """The drawer of stylizers, opened once, in their order."""
    found = open_drawer("studio.stylizers", Stylizer).values()
    return {one.id: one for one in sorted(found, key=lambda one: (one.place, one.id))}


def resolve(request: Restyle, facts: Facts) -> Resolved:
    method = _named(request.method)
    params = parse(method.params, request.params)
    request = replace(request, params=dump(params))
    how = method.repaint(params) if method.repaint else None
    if how is None or how.reference is not None:
        _require_styles(request, facts)
    if how is not None:
        return _resolved_painting(request, how, facts)
    width, height = facts.size(request.image)
    return Resolved(request=request, pixels=width * height)


def _require_styles(request: Restyle, facts: Facts) -> None:
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
        if min(width, height) < LEAST_PX:
            raise InvalidRequest(
                f"The style picture is only {width}×{height} px.",
                f"Choose one with at least {LEAST_PX} px a side.",
                field="styles",
            )


def _resolved_painting(request: Restyle, how: Repaint, facts: Facts) -> Resolved:
    if not request.prompt.strip():
        raise InvalidRequest(
            "There are no words to paint from.",
            "Say in a few words what the picture shows.",
            field="prompt",
        )
    if how.reference is not None and len(request.styles) > MOST_REFERENCES:
        raise InvalidRequest(
            f"At most {MOST_REFERENCES} style pictures can be looked at while painting.",
            "Remove some of them.",
            field="styles",
        )
    held, notes = _held(request, facts)
    try:
        found = img2img.TASK.resolve(_painting(replace(held, denoising=None), how), facts)
    except StudioError as error:
        error.field = AS_ASKED.get(error.field or "", error.field)
        raise
    decided = {name: getattr(found.request, name) for name in DECIDED}
    request = replace(held, presets=(), denoising=found.request.strength, **decided)
    return replace(found, request=request, notes=(*notes, *found.notes))


def _held(request: Restyle, facts: Facts) -> tuple[Restyle, tuple[str, ...]]:
    """The request with a unit that holds the structure, as far as there is a ControlNet."""
    kind = request.structure or EDGES
    if weighty(request.units) or kind == "none":
        return request, ()
    checkpoint = facts.checkpoint(request.checkpoint)
    try:
        facts.controlnet(None, kind, checkpoint)
    except InvalidRequest:
        if request.structure is not None:
            raise
        note = (
            f"No ControlNet for {kind} fits '{checkpoint.label}', so less is painted anew instead."
        )
        return replace(request, structure="none"), (note,)
    return replace(request, structure=kind, units=(Unit(kind=kind, image=request.image),)), ()


def _painting(request: Restyle, how: Repaint) -> img2img.Img2Img:
    """The request as one to paint over the picture."""
    most = max((style.weight for style in request.styles), default=1.0)
    references = tuple(
        Reference(
            image=style.image,
            method=how.reference,
            takes=how.takes,
            weight=style.weight / most,
        )
        for style in request.styles
        if how.reference is not None and style.weight
    )
    strength = request.denoising
    if strength is None:
        strength = request.strength * (HELD if weighty(request.units) else LOOSE)
    return img2img.Img2Img(
        image=request.image,
        strength=strength,
        styles=request.presets,
        references=references,
        **{name: getattr(request, name) for name in DECIDED},
    )


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
    method = _named(request.method)
    params = parse(method.params, request.params)
    image = flat(tools.picture(request.image))
    if method.repaint is not None:
        painting = _painting(request, method.repaint(params))
        for made in img2img.TASK.run(painting, tools):
            facts = {**made.facts, "strength": painting.strength}
            yield _finished(replace(made, facts=facts), image, request)
        return
    if method.run is None:
        raise ValueError(f"the stylizer {method.id} can do nothing")
    began = time.monotonic()
    total = sum(style.weight for style in request.styles)
    styles = tuple(
        Style(flat(tools.picture(style.image)), style.weight / total)
        for style in request.styles
        if style.weight
    )
    made = method.run(image, styles, request.strength, params, _watch(tools))
    seconds = {"seconds": round(time.monotonic() - began, 3)}
    picture = Picture(
        index=0,
        seed=0,
        width=made.width,
        height=made.height,
        pixels=made.tobytes(),
        facts=seconds,
    )
    yield _finished(picture, image, request)


def _finished(picture: Picture, image: Image.Image, request: Restyle) -> Picture:
    """The picture in the colours it is to have, with what is to be known of it."""
    pixels = picture.pixels
    if request.keep_colours and request.strength:
        size = (picture.width, picture.height)
        below = fitted(image, size, "crop")
        pixels = recoloured(Image.frombytes("RGB", size, pixels), below).tobytes()
    facts = {**picture.facts, "stylizer": request.method, "params": dict(request.params)}
    return replace(picture, pixels=pixels, facts=facts)


def _watch(tools: Tools) -> Watch:
    def tell(done: int, steps: int, seconds_left: float | None) -> None:
        tools.progress(picture=0, pictures=1, step=done, steps=steps, seconds_left=seconds_left)

    return Watch(check=tools.check, tell=tell)


def pictures(request: Restyle) -> tuple[str, ...]:
    named = (request.image, *(style.image for style in request.styles), *refs(request.units))
    return tuple(dict.fromkeys(named))


def work(request: Restyle) -> Work | None:
    method = _named(request.method)
    if method.repaint is None:
        return None
    how = method.repaint(parse(method.params, request.params))
    return img2img.work(_painting(request, how))


TASK = Task(
    id="style",
    label="Style transfer",
    request=Restyle,
    resolve=resolve,
    run=run,
    pictures=pictures,
    work=work,
)
