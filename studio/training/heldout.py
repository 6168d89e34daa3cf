"""Prompts to judge the model by, in wordings that no caption of its training can have.

The things, colours and places are those it was shown; how the prompts ask for them is not. The text
encoder's teacher knows all these words: what is measured is whether the pictures follow.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from studio.training import captions, scenes, wordings
from studio.training.colours import COLOURS
from studio.training.compose import Library
from studio.training.concepts import MASS

SEED = 2024

NOUN = "noun"
TAUGHT = "synonym it was taught"
UNTAUGHT = "synonym it never saw"
STYLE = "style"
COLOUR = "colour"
COUNT = "count"
RELATION = "relation"
PLACE = "place"
HOUR = "hour"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A prompt and what a picture of it must show; what is empty is not asked for."""

    category: str
    prompt: str
    nouns: tuple[str, ...] = ()
    """Names of concepts; of two, the first stands in `relation` to the second."""
    style: str = ""
    colour: str = ""
    """Of the thing."""
    count: int = 0
    relation: str = ""
    """`left`, `right`, `above` or `below`."""
    place: str = ""
    hour: str = ""


NOUN_FORMS: tuple[str, ...] = (
    "a picture of {}", "show me {}", "draw {}, please", "an illustration with {}", "i want to see {}",
    "just {} and nothing else", "a lovely picture showing {}", "could you paint {} for me",
)  # fmt: skip

STYLE_FORMS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "3d render": (
            "a three-dimensional rendering of {}", "{} modelled and rendered in 3d software",
            "computer-generated 3d picture of {}", "{} like a 3d figurine", "rendered 3d model showing {}",
        ),
        "flat vector": (
            "a flat vector graphic showing {}", "{} as a flat vector icon",
            "simple flat illustration of {} made of vector shapes", "{} drawn flat, as vector graphics",
            "flat design picture of {}",
        ),
        "glossy cartoon": (
            "{} drawn as a cartoon character", "a shiny cartoon picture of {}", "{} from a cartoon",
            "cartoonish picture of {}", "glossy cartoon drawing showing {}",
        ),
        "sticker": (
            "{} printed on a sticker", "a die cut vinyl sticker showing {}", "{} as a peel-off sticker",
            "sticker design with {}", "one sticker that shows {}",
        ),
        "watercolor": (
            "{} painted with watercolors", "an aquarelle of {}", "a watercolor picture showing {}",
            "{} in soft watercolor paint", "watercolor art with {}",
        ),
        "pencil sketch": (
            "{} sketched with a pencil", "a graphite drawing of {}", "{} drawn by hand in pencil",
            "a rough pencil picture showing {}", "grey pencil study of {}",
        ),
        "pixel art": (
            "{} made of pixels", "a retro video game sprite of {}", "{} as pixel graphics",
            "low resolution pixel picture of {}", "16-bit pixel art showing {}",
        ),
        "oil painting": (
            "{} painted with oil paints", "an oil canvas showing {}", "{} as a classic oil picture",
            "thick oil paint picture of {}", "oil on canvas showing {}",
        ),
    }
)  # fmt: skip

COLOUR_FORMS: tuple[str, ...] = (
    "{a} {noun} that is {colour}", "{a} {noun} coloured {colour}", "a picture of a {colour} {noun}",
    "one {colour}-coloured {noun}", "{a} {noun} painted {colour}",
)  # fmt: skip

COUNT_FORMS: tuple[str, ...] = (
    "exactly {number} {nouns}", "a group of {number} {nouns}", "{nouns}, {number} of them",
    "a picture with {number} {nouns}", "there are {number} {nouns}", "{number} {nouns} together",
    "a set of {number} {nouns}", "show me {number} {nouns}",
)  # fmt: skip

ONE_FORMS: tuple[str, ...] = (
    "exactly one {noun}", "a single {noun}", "only one {noun}", "a picture with one {noun}",
    "there is one {noun}", "one lone {noun}", "{noun}, just one of them", "show me one {noun}",
)  # fmt: skip

RELATION_FORMS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "left": ("{0} with {1} on its right", "{0} at the left side of {1}", "on the left {0}, on the right {1}"),
        "right": ("{0} with {1} on its left", "{0} at the right side of {1}", "on the right {0}, on the left {1}"),
        "above": ("{0} on top of {1}", "{0} higher up than {1}", "{1} with {0} above it"),
        "below": ("{0} beneath {1}", "{0} underneath {1}", "{1} with {0} below it"),
    }
)  # fmt: skip

PLACE_FORMS: MappingProxyType[str, tuple[str, str]] = MappingProxyType(
    {
        "snow": ("{} surrounded by snow", "{} out in a snowy winter landscape"),
        "meadow": ("{} in a green field", "{} standing on grassy hills"),
        "beach": ("{} at the sandy shore", "{} spending a day at the beach"),
        "sea": ("{} out on the open sea", "{} in the middle of the ocean"),
        "desert": ("{} lost in a sandy desert", "{} between desert dunes"),
        "mountains": ("{} high up in the mountains", "{} before a range of mountain peaks"),
        "forest": ("{} among the trees of a forest", "{} deep in the pine woods"),
        "city": ("{} downtown between buildings", "{} on a street of a big city"),
        "rain": ("{} while it is raining", "{} getting wet in heavy rain"),
        "space": ("{} floating through outer space", "{} far away in the cosmos"),
        "underwater": ("{} deep below the water", "{} on the sea floor"),
        "sky": ("{} high up in the cloudy sky", "{} flying through the air"),
        "room": ("{} inside a room with a window", "{} in somebody's living room"),
    }
)  # fmt: skip

HOUR_FORMS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "day": ("{} in broad daylight", "{} on a bright day", "{} at noon", "{} on a clear sunny morning"),
        "sunset": ("{} while the sun goes down", "{} in the evening glow", "sundown and {}", "{} as the sun is setting"),
        "night": ("{} in the dark of the night", "{} after midnight", "night time, {}", "{} under the moon and stars"),
    }
)  # fmt: skip

HOUR_PLACES: tuple[str, ...] = ("in a meadow", "on a beach", "in the mountains", "in the city")

UNTAUGHT_WORDS: MappingProxyType[str, str] = MappingProxyType(
    {
        "cat": "tabby", "dog": "pooch", "car": "motorcar", "house": "bungalow", "airplane": "airliner",
        "sailboat": "sailing ship", "bicycle": "pushbike", "bus": "omnibus", "fish": "trout",
        "bird": "songbird", "horse": "stallion", "pig": "swine", "rabbit": "hare", "bear": "grizzly",
        "hamburger": "beefburger", "birthday cake": "gateau", "cup of coffee": "espresso",
        "castle": "citadel", "fire": "blaze", "gift": "wrapped surprise", "rocket": "spacecraft",
        "ghost": "phantom", "robot": "droid", "alien": "martian", "santa claus": "saint nick",
        "mushroom": "fungus", "tree": "maple", "pine tree": "spruce", "crown": "diadem",
        "light bulb": "electric bulb", "girl": "schoolgirl", "man": "gentleman", "woman": "madam",
        "taxi": "hackney", "steam train": "steam engine", "umbrella": "brolly", "red heart": "valentine",
        "elephant": "pachyderm", "turtle": "terrapin", "frog": "bullfrog", "crescent moon": "half moon",
        "smiley face": "grinning emoji",
    }
)  # fmt: skip
"""By concept, a word for it that is in no caption."""

UNKNOWN: tuple[str, ...] = (
    "quantum chromodynamics", "photosynthesis", "asdf qwer zxcv", "the categorical imperative",
    "blorptang", "tax return 2019", "π ≈ 3.14159", "???", "", "", "", "",
)  # fmt: skip
"""What means nothing to the model, and the empty prompt; pictures of these are to be harmless."""


def is_a(found: str, wanted: str) -> bool:
    """Whether the one concept is the other or a kind of it: a green apple is an apple."""
    return found == wanted or f" {wanted} " in f" {found} "


def prompts(library: Library) -> tuple[Wanted, ...]:
    """The held-out prompts for what a library shows; the same for the same library.

    Raises `ValueError` if a caption of the training could be one of them, or if the text encoder
    learns from one of their ways to ask.
    """
    rng = np.random.default_rng(SEED)
    every = (*_nouns(rng, library), *_synonyms(rng, library), *_styles(rng, library),
             *_colours(rng, library), *_counts(rng, library), *_relations(rng, library),
             *_places(rng, library))  # fmt: skip
    can_be_caption = caption_grammar(library)
    if wrong := [w.prompt for w in every if can_be_caption(w.prompt)]:
        message = f"Training captions can read like this: {'; '.join(wrong)}."
        raise ValueError(message)
    if learnt := {bare(form) for form in forms()} & {bare(form) for form in wordings.forms()}:
        message = f"The text encoder learns from these: {'; '.join(sorted(learnt))}."
        raise ValueError(message)
    return every


def forms() -> tuple[str, ...]:
    """Every way in which the prompts ask, with its gaps."""
    many = (STYLE_FORMS, RELATION_FORMS, PLACE_FORMS, HOUR_FORMS)
    asked = (form for table in many for some in table.values() for form in some)
    return (*NOUN_FORMS, *COLOUR_FORMS, *COUNT_FORMS, *ONE_FORMS, *asked)


def bare(form: str) -> str:
    """The form without an article before its gaps, in whatever order they come."""
    return re.sub(r"\{\d\}", "{}", form.replace("{a} ", "")).lower()


def caption_grammar(library: Library) -> Callable[[str], bool]:
    """Tells whether a text can be a caption of `compose.plan`; it takes some more for one."""
    names = {n for c, name in enumerate(library.names) for n in (name, *library.words[c])}
    noun = _any(names | {captions.plural(n) for n in names})
    colour = _any(c.name for c in COLOURS)
    number = _any(f"{n}" for n in (*captions.NUMBERS[2:], *range(2, 6)))
    thing = f"(?:(?:an?|the|{number}) )?(?:{colour} )?{noun}"
    pair = _any((form for forms in captions.RELATIONS.values() for form in forms), thing)
    hour = f"(?: {_any(w for h in scenes.HOURS for w in h.words if w)})?"
    alone = _any(words for place in scenes.PLACES for words in place.alone) + hour
    inside = _any(words for place in scenes.PLACES for words in place.inside) + hour
    where = f"(?:{inside}|{_any(captions.WHITE_FORMS)}|{_any(captions.PLAIN_FORMS, colour)})"
    subject = re.compile(f"(?:{pair}|{thing}|{alone})(?:,? {where})?", re.IGNORECASE)
    forms = {"{}", *(form for forms in captions.STYLE_FORMS.values() for form in forms)}
    frames = [re.compile(f"{_any([form], '(.+)')}(?:,? {where})?", re.IGNORECASE) for form in forms]

    def fits(text: str) -> bool:
        found = (frame.fullmatch(text) for frame in frames)
        return any(match and subject.fullmatch(match.group(1)) for match in found)

    return fits


def _any(words: Iterable[str], filling: str = "") -> str:
    """A pattern for any of the words, whose braces stand for `filling`."""
    longest_first = sorted(set(words), key=len, reverse=True)
    alternatives = (filling.join(map(re.escape, word.split("{}"))) for word in longest_first)
    return f"(?:{'|'.join(alternatives)})"


def _pick_names(rng: np.random.Generator, names: tuple[str, ...], count: int) -> list[str]:
    """`count` names, each as often as any other, give or take one."""
    rounds = -(-count // len(names))
    return [n for _ in range(rounds) for n in rng.permutation(names).tolist()][:count]


def _a(noun: str) -> str:
    return captions.with_article(noun, noun)


def _nouns(rng: np.random.Generator, library: Library) -> list[Wanted]:
    return [
        Wanted(category=NOUN, prompt=NOUN_FORMS[k % len(NOUN_FORMS)].format(_a(name)), nouns=(name,))
        for k, name in enumerate(_pick_names(rng, library.names, min(80, len(library.names))))
    ]  # fmt: skip


def _synonyms(rng: np.random.Generator, library: Library) -> list[Wanted]:
    taught = {
        name: captions.pick(rng, words)
        for name, words in zip(library.names, library.words, strict=True)
        if words
    }
    known = {*library.names, *(w for words in library.words for w in words)}
    new = {n: w for n, w in UNTAUGHT_WORDS.items() if n in library.names and w not in known}
    some = _pick_names(rng, tuple(taught), min(36, len(taught)))
    return [
        Wanted(category=category, prompt=NOUN_FORMS[k % len(NOUN_FORMS)].format(_a(word)), nouns=(name,))
        for category, words in ((TAUGHT, {n: taught[n] for n in some}), (UNTAUGHT, new))
        for k, (name, word) in enumerate(words.items())
    ]  # fmt: skip


def _styles(rng: np.random.Generator, library: Library) -> list[Wanted]:
    forms = [(style, form) for style, many in STYLE_FORMS.items() for form in many]
    return [
        Wanted(category=STYLE, prompt=form.format(_a(name)), nouns=(name,), style=style)
        for (style, form), name in zip(
            forms, _pick_names(rng, library.names, len(forms)), strict=True
        )
    ]


def paintable(library: Library) -> tuple[str, ...]:
    """Names of things that most sets draw in one main colour, so that captions give them others."""
    return tuple(
        name
        for concept, name in enumerate(library.names)
        if sum(c == concept and h is not None for c, h in zip(library.concept, library.hue, strict=True)) >= 3
        and not library.kinds[concept].startswith(("person", "face"))
        and not any(c.name in name for c in COLOURS)
    )  # fmt: skip


def _colours(rng: np.random.Generator, library: Library) -> list[Wanted]:
    asked = [(colour.name, form) for colour in COLOURS for form in COLOUR_FORMS]
    names = _pick_names(rng, paintable(library), len(asked))
    return [
        Wanted(category=COLOUR, nouns=(name,), colour=colour,
               prompt=form.format(a=captions.article(name), noun=name, colour=colour))
        for (colour, form), name in zip(asked, names, strict=True)
    ]  # fmt: skip


def _counts(rng: np.random.Generator, library: Library) -> list[Wanted]:
    countable = tuple(n for n in library.names if n not in MASS)
    asked = [(n, form) for n in range(1, 6) for form in (ONE_FORMS if n == 1 else COUNT_FORMS)]
    return [
        Wanted(category=COUNT, nouns=(name,), count=count,
               prompt=form.format(number=captions.NUMBERS[count], noun=name, nouns=captions.plural(name)))
        for (count, form), name in zip(asked, _pick_names(rng, countable, len(asked)), strict=True)
    ]  # fmt: skip


def _relations(rng: np.random.Generator, library: Library) -> list[Wanted]:
    found = []
    for relation, forms in RELATION_FORMS.items():
        for k in range(10):
            first, second = rng.permutation(library.names).tolist()[:2]
            while len(library.names) > 1 and (is_a(first, second) or is_a(second, first)):
                first, second = rng.permutation(library.names).tolist()[:2]
            prompt = forms[k % len(forms)].format(_a(first), _a(second))
            found.append(
                Wanted(category=RELATION, prompt=prompt, nouns=(first, second), relation=relation)
            )
    return found


def _places(rng: np.random.Generator, library: Library) -> list[Wanted]:
    places = [(place, form) for place, forms in PLACE_FORMS.items() for form in forms]
    hours = [
        (hour, form, where)
        for hour, forms in HOUR_FORMS.items()
        for form, where in zip(forms, HOUR_PLACES, strict=True)
    ]
    names = iter(_pick_names(rng, library.names, len(places) + len(hours)))
    return [
        *(Wanted(category=PLACE, prompt=form.format(_a(name)), nouns=(name,), place=place)
          for (place, form), name in zip(places, names, strict=False)),
        *(Wanted(category=HOUR, prompt=form.format(f"{_a(name)} {where}"), nouns=(name,), hour=hour)
          for (hour, form, where), name in zip(hours, names, strict=False)),
    ]  # fmt: skip
