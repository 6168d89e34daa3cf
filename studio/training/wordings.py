"""The same said in another way: a caption as the UNet was taught, and a prompt as people write it.

None of these ways is one of `heldout`, by which the model is judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from studio.training import captions, scenes
from studio.training.captions import NUMBERS, Rng, pick, plural, with_article
from studio.training.colours import COLOUR_NAMES
from studio.training.compose import Library, draw_odds
from studio.training.concepts import FIRST

KIND_ODDS: tuple[tuple[str, float], ...] = (
    ("single", 0.13), ("coloured", 0.17), ("count", 0.1), ("pair", 0.6),
)  # fmt: skip
"""Who stands where is the hardest to hear."""

SCENE_SHARE, PLAIN_SHARE = 0.2, 0.1
"""How often a place is named, and how often a plain ground."""

STYLED_SHARE = 0.5

COLOURED_SHARE = 0.15
"""How often a thing has a colour where it is not all that is asked for."""

ADJECTIVES: tuple[str, ...] = (
    "cute", "little", "small", "big", "large", "tiny", "beautiful", "happy", "funny", "nice", "pretty", "cool",
    "simple", "old", "young", "sweet", "shiny", "huge", "adorable", "single", "lone", "friendly", "fat",
)  # fmt: skip
"""Words that change nothing that the model could draw."""

FRAMES: tuple[str, ...] = (
    "an image of {}", "image of {}", "a drawing of {}", "drawing of {}", "a photo of {}", "photo of {}",
    "an illustration of {}", "illustration of {}", "picture of {}", "please draw {}", "please paint {}", "{} please",
    "paint {}", "draw me {}", "paint me {}", "make {}", "make me {}", "create {}", "generate {}", "can you draw {}",
    "could you make {}", "i would like {}", "i'd like to have {}", "i need {}", "give me {}", "a scene with {}",
    "here is {}", "look at {}", "there is {}", "this is {}", "a close-up of {}", "an icon of {}", "an emoji of {}",
    "clip art of {}", "imagine {}", "think of {}", "a portrait of {}", "art of {}", "{} as a picture", "image with {}",
    "an image that shows {}", "a painting with {}", "what about {}", "a design with {}", "my {}", "some {}",
)  # fmt: skip

TAGS: tuple[str, ...] = (
    "masterpiece", "best quality", "highly detailed", "detailed", "high quality", "4k", "8k", "hd", "centered",
    "trending on artstation", "beautiful", "cute", "colorful", "sharp", "professional", "digital art", "concept art",
    "simple", "clean lines", "minimalist", "vibrant colors", "soft light", "award winning", "close-up", "full body",
    "no text", "illustration", "artwork", "high resolution", "front view", "kawaii", "nice",
)  # fmt: skip
"""What people put behind a prompt and the model cannot follow."""

STYLES: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "3d render": (
            "3d rendering of {}", "{} as a 3d render", "3d model of {}", "a 3d model of {}", "{}, cgi", "{} 3d model",
            "{}, rendered in 3d", "{}, blender 3d", "{}, octane render", "in the style of a 3d render, {}", "3d {}",
            "{} 3d icon", "{}, 3d art", "3d style {}", "cgi render of {}", "{}, pixar style", "{} with 3d shading",
            "three-dimensional {}", "{} as 3d object", "a plastic 3d toy of {}",
        ),
        "flat vector": (
            "{}, flat illustration", "a flat illustration of {}", "vector graphic of {}", "{}, flat icon", "flat icon of {}",
            "{}, minimal flat design", "{} as a vector graphic", "{} in flat design", "flat vector {}", "vector art of {}",
            "{}, flat colors", "a vector drawing of {}", "{}, vector", "flat style {}", "{}, simple vector shapes",
            "a flat design of {}", "{}, svg", "a logo-like flat vector of {}", "{} in a flat style",
        ),
        "glossy cartoon": (
            "{}, cartoon style", "{} as a cartoon", "a cartoon drawing of {}", "cartoony {}", "{}, toon", "cartoon {}",
            "a glossy cartoon of {}", "a shiny cartoon of {}", "{}, comic", "{} in the style of a cartoon", "{}, glossy",
            "a cartoon image of {}", "{}, cartoon illustration", "a children's cartoon with {}", "{}, shiny cartoon",
            "{} like in a cartoon", "comic style {}", "cartoon art of {}",
        ),
        "sticker": (
            "{} as a sticker", "sticker with {}", "vinyl sticker of {}", "die-cut sticker of {}", "{}, sticker style",
            "{}, sticker art", "a sticker with {}", "{} decal", "sticker art of {}", "{} with a white outline, sticker",
            "a cute sticker of {}", "{}, telegram sticker", "{} on a sticker", "in sticker style, {}", "a sticker showing {}",
        ),
        "watercolor": (
            "watercolor of {}", "watercolour of {}", "{}, watercolor painting", "{} in watercolour", "{}, watercolor style",
            "a watercolour painting of {}", "{} painted in watercolor", "watercolor style {}", "{}, aquarelle",
            "aquarelle of {}", "an aquarelle painting with {}", "{} as a watercolor", "{}, wet watercolor",
            "watercolor sketch of {}", "watercolors of {}", "a watercolor illustration of {}",
        ),
        "pencil sketch": (
            "{}, pencil drawing", "{} drawn in pencil", "a pencil drawing of {}", "sketch of {}", "a sketch of {}",
            "{}, graphite", "graphite sketch of {}", "{} as a pencil sketch", "{}, hand-drawn sketch", "pencil art of {}",
            "{} in pencil", "{}, black and white drawing", "a rough sketch of {}", "pencil sketch {}", "{}, grey pencil",
            "a hand drawn {} in pencil", "{}, monochrome pencil",
        ),
        "pixel art": (
            "{} as pixel art", "pixelated {}", "8-bit {}", "8 bit {}", "{} in 8-bit style", "{}, pixel style", "{}, pixels",
            "pixel style {}", "{}, retro game", "a pixel art picture of {}", "{}, 16 bit", "a pixel {}", "{} pixel sprite",
            "{} in pixel style", "game sprite of {}", "pixel art {}", "{}, pixelart", "{} in a retro video game",
        ),
        "oil painting": (
            "{}, oil on canvas", "{} in oil paint", "{} as an oil painting", "oil on canvas of {}", "oil paint {}",
            "{}, oil paint", "{} in oils", "a classical oil painting of {}", "{}, painted with oil", "{}, thick oil paint",
            "a painting of {} in oil", "{}, impressionist oil", "oil painting style {}", "an oil canvas of {}",
            "{}, old oil painting", "{}, brush strokes, oil",
        ),
    }
)  # fmt: skip

COLOUR_FORMS: tuple[str, ...] = (
    "{colour} {noun}", "{colour} {noun}", "{noun} in {colour}", "{colour} coloured {noun}", "{colour} colored {noun}",
    "{noun} of {colour} colour", "{noun} of {colour} color", "{noun} with {colour} colour", "{noun}, {colour}",
    "{noun} which is {colour}", "{noun} in {colour} colour", "all {colour} {noun}", "completely {colour} {noun}",
    "{noun} (it is {colour})", "{noun} and it should be {colour}", "{noun} being {colour}", "bright {colour} {noun}",
    "{noun} dyed {colour}", "{noun} made {colour}", "{noun} colored in {colour}", "{noun} in the colour {colour}",
    "{noun} having a {colour} colour", "{colour}ish {noun}", "{noun}, the colour is {colour}",
)  # fmt: skip

COUNT_FORMS: tuple[str, ...] = (
    "{number} {nouns}", "{number} {nouns}", "{number} {nouns} side by side", "{number} different {nouns}",
    "{nouns} x{digit}", "{digit} x {noun}", "{number} identical {nouns}", "a bunch of {number} {nouns}", "{digit} {nouns}",
    "a collection of {number} {nouns}", "{number} {nouns} in one image", "precisely {number} {nouns}",
    "{number} of the same {noun}", "{nouns}: {digit}", "not more than {number} {nouns}", "{number} {nouns} all at once",
    "several {nouns}, namely {number}", "{number} copies of {noun}", "{nouns}, {number} in total", "the {number} {nouns}",
)  # fmt: skip

WORDS_FOR_FEW: MappingProxyType[int, tuple[str, ...]] = MappingProxyType(
    {
        1: ("one {noun}", "1 {noun}", "one {noun} alone", "precisely one {noun}", "{noun} all alone", "no more than one {noun}"),
        2: ("a pair of {nouns}", "a couple of {nouns}", "both {nouns}", "two {nouns} next to each other"),
        3: ("a trio of {nouns}", "three {nouns} in a triangle", "three {nouns} in a row"),
        4: ("four {nouns} in a square", "a quartet of {nouns}"),
        5: ("a handful of five {nouns}", "five {nouns} arranged like on a die"),
    }
)  # fmt: skip

BESIDE: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "left": (
            "{0} to the left of {1}", "{0} left of {1}", "{1} to the right of {0}", "{1} right of {0}", "{0} left, {1} right",
            "left: {0}, right: {1}", "{0} on the left of {1}", "{1} on the right of {0}", "{0} and to its right {1}",
            "{1} and to its left {0}", "{1}, to the left of it {0}", "{0}, to the right of it {1}", "{0} followed by {1} on the right",
            "{0} standing to the left of {1}", "{1} having {0} to the left", "{0} having {1} to the right",
            "left there is {0}, right there is {1}", "{0} in the left half, {1} in the right half", "{1} that has {0} on the left side",
            "{0} that has {1} on the right side", "{0} placed left from {1}", "{1} placed right from {0}",
            "{0} on the left side, {1} on the other side", "{1} on the right hand, {0} on the left hand",
            "{0}, and {1} is to the right of it", "{1}, and {0} is to the left of it", "{0} leftmost and {1} rightmost",
            "{1} with {0} standing left of it", "{0} with {1} standing right of it", "{1} with {0} to the left", "{0} with {1} to the right",
        ),
        "above": (
            "{0} above {1}", "{0} over {1}", "{1} below {0}", "{1} under {0}", "{0} sitting on {1}", "{0} standing on {1}",
            "{0} placed above {1}", "{1} and above that {0}", "{0} at the top, {1} at the bottom", "top: {0}, bottom: {1}",
            "{0} hovering over {1}", "{0} flying over {1}", "{1} with {0} over it", "{0} upon {1}", "{0} and under it {1}",
            "{0} resting on {1}", "{1} placed below {0}", "up {0}, down {1}", "{0} in the upper half, {1} in the lower half",
            "{0} with {1} under it", "{1} having {0} on its top", "{0}, and {1} is below", "{1}, and {0} is above",
            "{0} stacked on {1}", "{0} lying on {1}", "at the bottom {1}, at the top {0}", "the upper one is {0}, the lower one is {1}",
            "{1} that has {0} over it", "{0} that has {1} under it", "{1} carrying {0}", "{1} down below {0}", "{0} up over {1}",
        ),
        "beside": (
            "{0} and {1}", "{0} next to {1}", "{0} beside {1}", "{0} together with {1}", "{0} with {1}", "{0} plus {1}",
            "{0} by the side of {1}", "{0}, {1}", "{0} along with {1}", "both {0} and {1}", "{0} & {1}", "{0} close to {1}",
        ),
    }
)  # fmt: skip
"""By how the first stands to the second; right and below are the same the other way round."""

PLACES: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "snow": ("in snow", "in winter", "in a snowy landscape", "on snow", "in the cold snow", "standing in deep snow", "with snow around", "on a snow field"),
        "meadow": ("on a meadow", "in the grass", "in a field", "on a green hill", "in the countryside", "on a green meadow", "with grass around", "in green hills"),
        "beach": ("at the beach", "on sand by the sea", "by the seaside", "at the coast", "on a sunny beach", "with a beach behind"),
        "sea": ("in the sea", "on water", "on the waves", "in the ocean", "floating on the sea", "on a blue ocean"),
        "desert": ("in a desert", "on sand", "in the sahara", "on a dune", "with sand dunes behind", "in a hot desert"),
        "mountains": ("before mountains", "in front of a mountain", "in the alps", "with a mountain range behind", "near mountains", "over mountains"),
        "forest": ("in the forest", "between trees", "in a pine forest", "in the wood", "with a forest behind", "inside a dark forest"),
        "city": ("in a city", "in town", "on the street", "in new york", "with skyscrapers behind", "on a city road", "in a big town"),
        "rain": ("in heavy rain", "on a wet day", "with rain", "under the rain", "in a rainstorm", "while it rains"),
        "space": ("in the universe", "among stars", "in deep space", "in the galaxy", "with planets behind", "out in space"),
        "underwater": ("beneath the waves", "below the sea", "under the sea", "in deep water", "in an underwater world", "at the sea bottom"),
        "sky": ("up in the sky", "among the clouds", "in the blue sky", "high in the air", "flying", "above the clouds"),
        "room": ("inside a room", "in a house", "in the living room", "at home", "in an apartment", "inside"),
    }
)  # fmt: skip

HOURS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "day": ("during the day", "in the daytime", "in sunlight", "in the morning", "at midday", "under a blue sky"),
        "sunset": ("at dawn", "in the evening", "during sunset", "in the sunset", "when the sun sets", "in evening light", "at twilight"),
        "night": ("by night", "in the night", "during the night", "in moonlight", "at midnight", "on a dark night"),
    }
)  # fmt: skip

GROUNDS: tuple[str, ...] = (
    "against a {} background", "on a plain {} background", "{} backdrop", "in front of a {} wall", "plain {} background",
    "against {}", "with {} background", "the background is {}", "before a {} background", "{} bg",
)  # fmt: skip

WHITE: tuple[str, ...] = (
    "on white",
    "plain white background",
    "no background",
    "isolated",
    "on a blank page",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two texts that ask for the same picture."""

    caption: str
    """As `captions` says it, by the commonest name of everything."""
    prompt: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """A thing in both texts."""

    caption: str
    prompt: str


def draw(rng: Rng, library: Library, nearby: Mapping[str, Sequence[str]]) -> Pair:
    """Think up something to ask for and say it twice; `nearby` has more words for the things, by name."""
    kind = draw_odds(rng, KIND_ODDS)
    if kind == "pair":
        subject = _two(rng, library, nearby)
    elif kind == "count":
        subject = _several(rng, library, nearby)
    else:
        subject = _one(rng, library, nearby, 1.0 if kind == "coloured" else COLOURED_SHARE)
    where = _where(rng)
    style = pick(rng, tuple(STYLES)) if rng.random() < STYLED_SHARE else ""
    caption = " ".join(filter(None, (subject.caption, where.caption)))
    said = _joined(rng, subject.prompt, where.prompt)
    if style:
        caption = f"{caption}, {style}"
        said = pick(rng, (*STYLES[style], *captions.STYLE_FORMS[style])).format(said)
    elif rng.random() < 0.5:
        said = pick(rng, FRAMES).format(said)
    if rng.random() < 0.15:
        tags = (pick(rng, TAGS) for _ in range(int(rng.integers(1, 4))))
        said = ", ".join((said, *tags))
    return Pair(caption=caption, prompt=said + pick(rng, ("", "", "", "", ".", "!")))


def _name(rng: Rng, library: Library, nearby: Mapping[str, Sequence[str]]) -> _Asked:
    """A thing by its commonest name and by another."""
    known = tuple(k for k, name in enumerate(library.names) if name in FIRST) or range(
        len(library.names)
    )
    concept = int(rng.choice(known))
    name, dice = library.names[concept], rng.random()
    others = library.words[concept] if dice < 0.3 else tuple(nearby.get(name, ()))
    return _Asked(caption=name, prompt=pick(rng, others) if dice < 0.5 and others else name)


def _one(
    rng: Rng,
    library: Library,
    nearby: Mapping[str, Sequence[str]],
    coloured: float = COLOURED_SHARE,
) -> _Asked:
    """`a blue apple` and, perhaps, `an apple which is blue`."""
    noun = _name(rng, library, nearby)
    if rng.random() < coloured and not any(name in noun.caption for name in COLOUR_NAMES):
        colour = pick(rng, COLOUR_NAMES)
        caption = f"{colour} {noun.caption}"
        prompt = pick(rng, COLOUR_FORMS).format(colour=colour, noun=noun.prompt)
    else:
        caption, prompt = noun.caption, noun.prompt
    if rng.random() < 0.15:
        prompt = f"{pick(rng, ADJECTIVES)} {prompt}"
    return _Asked(
        caption=with_article(caption, noun.caption), prompt=_introduced(rng, prompt, noun.prompt)
    )


def _introduced(rng: Rng, phrase: str, noun: str) -> str:
    dice = rng.random()
    if dice < 0.3:
        return phrase
    return f"the {phrase}" if dice < 0.36 else with_article(phrase, noun)


def _several(rng: Rng, library: Library, nearby: Mapping[str, Sequence[str]]) -> _Asked:
    """`three red mushrooms` and, perhaps, `a trio of red mushrooms`."""
    noun, count = _name(rng, library, nearby), int(rng.integers(1, 6))
    colour = pick(rng, COLOUR_NAMES) if rng.random() < COLOURED_SHARE else ""
    if any(name in noun.caption for name in COLOUR_NAMES):
        colour = ""
    caption, prompt = (f"{colour} {text}".strip() for text in (noun.caption, noun.prompt))
    forms = WORDS_FOR_FEW[count] if count == 1 or rng.random() < 0.2 else COUNT_FORMS
    said = pick(rng, forms).format(
        number=NUMBERS[count], digit=count, noun=prompt, nouns=plural(prompt)
    )
    taught = (
        f"{NUMBERS[count]} {plural(caption)}" if count > 1 else with_article(caption, noun.caption)
    )
    return _Asked(caption=taught, prompt=said)


def _two(rng: Rng, library: Library, nearby: Mapping[str, Sequence[str]]) -> _Asked:
    """`a cat to the left of a house` and, perhaps, `a house, to the left of it a cat`."""
    first, second = _one(rng, library, nearby), _one(rng, library, nearby)
    relation = pick(rng, ("left", "left", "above", "above", "beside"))
    said = pick(rng, BESIDE[relation]).format(first.prompt, second.prompt)
    taught = captions.RELATIONS[relation][0]
    return _Asked(caption=taught.format(first.caption, second.caption), prompt=said)


def _where(rng: Rng) -> _Asked:
    """A place with its hour, a plain ground, or nothing."""
    dice = rng.random()
    if dice < SCENE_SHARE:
        place = scenes.PLACES[int(rng.integers(len(scenes.PLACES)))]
        taught, said = place.inside[0], pick(rng, (*PLACES[place.name], *place.inside))
        hours = [h for h in scenes.HOURS if h.name in place.hours]
        if len(hours) > 1 and rng.random() < 0.6:
            hour = hours[int(rng.integers(len(hours)))]
            named = tuple(filter(None, hour.words))
            taught += f" {named[0]}"
            said += f" {pick(rng, (*HOURS[hour.name], *named))}"
        return _Asked(caption=taught, prompt=said)
    if dice < SCENE_SHARE + PLAIN_SHARE:
        if rng.random() < 0.25:
            return _Asked(caption=captions.WHITE_FORMS[0], prompt=pick(rng, WHITE))
        colour = pick(rng, tuple(name for name in COLOUR_NAMES if name != "white"))
        taught = captions.PLAIN_FORMS[0].format(colour)
        return _Asked(
            caption=taught, prompt=pick(rng, (*GROUNDS, *captions.PLAIN_FORMS)).format(colour)
        )
    return _Asked(caption="", prompt="")


def _joined(rng: Rng, subject: str, where: str) -> str:
    if not where:
        return subject
    dice = rng.random()
    if dice < 0.5:
        return f"{subject} {where}"
    return f"{subject}, {where}" if dice < 0.8 else f"{where}, {subject}"


def forms() -> tuple[str, ...]:
    """Every way to say something, with its gaps."""
    places = (f"{{}} {words}" for many in (*PLACES.values(), *HOURS.values()) for words in many)
    many = (*STYLES.values(), *BESIDE.values(), *WORDS_FOR_FEW.values())
    said = (form for some in many for form in some)
    return (*FRAMES, *COLOUR_FORMS, *COUNT_FORMS, *places, *said)
