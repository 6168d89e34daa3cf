"""Say what a picture shows, in the many ways people write prompts."""

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from studio.training.concepts import MASS

Rng = np.random.Generator

NUMBERS: tuple[str, ...] = ("zero", "one", "two", "three", "four", "five")

STYLE_FORMS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "3d render": ("{}, 3d render", "{}, 3d", "3d render of {}", "a 3d render of {}", "{}, 3d rendered", "{} in 3d"),
        "flat vector": ("{}, flat vector", "flat vector illustration of {}", "{}, flat design", "{}, vector art", "{} in flat vector style"),
        "glossy cartoon": ("{}, glossy cartoon", "cartoon of {}", "a cartoon of {}", "{}, cartoon", "{} in cartoon style"),
        "sticker": ("{}, sticker", "sticker of {}", "a sticker of {}", "{}, die-cut sticker", "{} sticker"),
        "watercolor": ("{}, watercolor", "watercolor painting of {}", "a watercolor of {}", "{} in watercolor", "{}, watercolour"),
        "pencil sketch": ("{}, pencil sketch", "pencil drawing of {}", "a pencil sketch of {}", "{}, sketch", "{}, black and white sketch"),
        "pixel art": ("{}, pixel art", "pixel art of {}", "{} in pixel art style", "{}, 8-bit pixel art"),
        "oil painting": ("{}, oil painting", "oil painting of {}", "an oil painting of {}", "{} painted in oil"),
    }
)  # fmt: skip
"""Ways to name a style; the braces stand for the subject."""

RELATIONS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "left": ("{} to the left of {}", "{} left of {}", "{} on the left and {} on the right"),
        "right": ("{} to the right of {}", "{} right of {}", "{} on the right and {} on the left"),
        "above": ("{} above {}", "{} over {}"),
        "below": ("{} below {}", "{} under {}"),
        "beside": ("{} and {}", "{} next to {}", "{} beside {}"),
    }
)  # fmt: skip

WHITE_FORMS: tuple[str, ...] = ("on a white background", "isolated on white", "white background")

PLAIN_FORMS: tuple[str, ...] = (
    "on a {} background",
    "on {}",
    "{} background",
    "with a {} background",
)


def pick(rng: Rng, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def with_article(phrase: str, noun: str) -> str:
    """`a blue apple`; what is said of a mass stays bare."""
    return phrase if noun in MASS else f"{article(phrase)} {phrase}"


def plural(noun: str) -> str:
    """A good guess at the plural of a name; `of` and `with` keep what follows them."""
    for link in (" of ", " with ", " behind ", " on "):
        if link in noun:
            head, tail = noun.split(link, 1)
            return plural(head) + link + tail
    irregular = {"man": "men", "woman": "women", "mouse": "mice", "goose": "geese", "fish": "fish",
                 "sheep": "sheep", "deer": "deer", "wolf": "wolves", "leaf": "leaves", "bison": "bison",
                 "scarf": "scarves", "tooth": "teeth", "knife": "knives", "octopus": "octopuses"}  # fmt: skip
    start, _, last = noun.rpartition(" ")
    if last in irregular:
        word = irregular[last]
    elif last.endswith(("s", "sh", "ch", "x")):
        word = last + "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        word = last[:-1] + "ies"
    else:
        word = last + "s"
    return f"{start} {word}".strip()


def noun_phrase(rng: Rng, noun: str, colour: str | None, count: int = 1) -> str:
    """`a blue apple`, `three foxes`, or now and then the bare `blue apple`."""
    named = f"{colour} {noun}" if colour else noun
    if count > 1:
        number = NUMBERS[count] if rng.random() < 0.85 else str(count)
        several = named if noun in MASS else plural(named)
        return f"{number} {several}"
    if noun in MASS or rng.random() < 0.35:
        return named
    return f"the {named}" if rng.random() < 0.04 else f"{article(named)} {named}"


def sentence(rng: Rng, subject: str, place: str, style: str) -> str:
    """Join what is shown, where and in which style; empty parts are left out."""
    form = pick(rng, STYLE_FORMS[style]) if style else "{}"
    if not place:
        text = form.format(subject)
    elif form.startswith("{}") and rng.random() < 0.5:
        comma = ", " if rng.random() < 0.35 or place in WHITE_FORMS else " "
        text = form.format(subject + comma + place)
    else:
        text = form.format(subject) + (", " if form.startswith("{},") else " ") + place
    return text
