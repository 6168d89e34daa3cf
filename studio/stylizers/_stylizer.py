"""The contract of a stylizer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Style:
    """A picture whose look is wanted."""

    image: Image
    """RGB, any size."""
    weight: float
    """Share of the look that it gives, above 0.0; those of all styles sum to 1.0."""


def _ignored(done: int, steps: int, seconds_left: float | None) -> None:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Who waits for the picture. Asked and told often enough that nobody waits for a second."""

    check: Callable[[], None] = lambda: None
    """Raises once nobody wants the picture any more; whatever it raises goes up."""
    tell: Callable[[int, int, float | None], None] = _ignored
    """`tell(done, steps, seconds_left)`."""


NOBODY = Watch()

Run = Callable[[Image, tuple[Style, ...], float, Any, Watch], Image]
"""`run(image, styles, strength, params, watch)`: RGB in the size of `image`, which is RGB.

There is at least one style. A strength of 0.0 gives `image` back to the byte, 1.0 the whole look.
`params` is of the stylizer's own class. The same again gives the same bytes.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaint:
    """How a checkpoint is asked to paint the picture anew, from words."""

    reference: Literal["shared", "adapter"] | None = None
    """How it looks at the style pictures; None: not at all, and none are needed."""
    takes: Literal["all", "style", "composition"] = "style"
    """What an adapter takes from them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stylizer:
    """An entry of the drawer `stylizers/`: it works on the pixels of the picture (`run`), or has a
    checkpoint paint it anew (`repaint`)."""

    id: str
    label: str
    place: int
    """Order among the others, from the left."""
    about: str
    """A sentence for people: what of the look it carries over."""
    params: type
    """A frozen pydantic dataclass (`core.requests.STRICT`); every field has bounds, a default and a
    docstring."""
    run: Run | None = None
    repaint: Callable[[Any], Repaint] | None = None
    """From params."""
