"""Put sprites into scenes: every picture comes with a caption that is exactly true of it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from studio.preprocessors._people import ABSENT, Person, Point
from studio.training import captions, figures, scenes
from studio.training.colours import COLOURS, Colour, colour_of, main_hue, recolour
from studio.training.concepts import FIRST
from studio.training.filters import FILTERS, outline
from studio.training.sources import SIDE, load_json

Rng = np.random.Generator

DRAWN_STYLES: tuple[str, ...] = ("3d render", "flat vector", "glossy cartoon", "sticker")

STYLE_ODDS: tuple[tuple[str, float], ...] = (
    ("3d render", 0.18), ("flat vector", 0.16), ("glossy cartoon", 0.14), ("sticker", 0.16),
    ("watercolor", 0.09), ("pencil sketch", 0.09), ("pixel art", 0.09), ("oil painting", 0.09),
)  # fmt: skip

KIND_ODDS: tuple[tuple[str, float], ...] = (
    ("single", 0.3), ("plain", 0.1), ("scene", 0.19), ("count", 0.1), ("pair", 0.28), ("empty", 0.03),
)  # fmt: skip
"""How often a picture shows one thing on white, on a colour, in a scene; several; two; none."""

PEOPLE_SHARE = 0.1
"""How often a picture is about people with bodies."""

PEOPLE_ODDS: tuple[tuple[str, float], ...] = (
    ("single", 0.25), ("plain", 0.15), ("scene", 0.35), ("two", 0.1), ("company", 0.15),
)  # fmt: skip
"""Somebody on white, on a colour, in a scene; two; somebody with a thing or an animal."""

RARE_SHARE = 0.12
"""How often a thing that few people ask for is drawn, against 1.0 for all others."""

SPOTS: dict[int, tuple[tuple[tuple[float, float], ...], ...]] = {
    2: (((0.27, 0.5), (0.73, 0.5)),),
    3: (((0.5, 0.27), (0.27, 0.72), (0.73, 0.72)), ((0.19, 0.5), (0.5, 0.5), (0.81, 0.5))),
    4: (((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)),),
    5: (((0.22, 0.22), (0.78, 0.22), (0.5, 0.5), (0.22, 0.78), (0.78, 0.78)),),
}
"""Centres of several things, 0.0–1.0."""

SQUARE_ICONS: frozenset[str] = frozenset({"place-geographic", "place-other"})
"""Kinds that are scenes of their own and look odd when set into another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """The sprites and what is known of each; rows of all tuples go together."""

    pixels: np.ndarray
    """[n, 128, 128, 4] uint8."""
    concept: tuple[int, ...]
    style: tuple[str, ...]
    hue: tuple[float | None, ...]
    """See `colours.main_hue`."""
    colour: tuple[str | None, ...]
    names: tuple[str, ...]
    """By concept."""
    words: tuple[tuple[str, ...], ...]
    """By concept: other names."""
    kinds: tuple[str, ...]
    """By concept."""

    def of(self, concept: int, style: str) -> int | None:
        """A concept's row in a set, or None."""
        for row, (c, s) in enumerate(zip(self.concept, self.style, strict=True)):
            if c == concept and s == style:
                return row
        return None


def load(folder: Path) -> Library:
    """Read what `sources.build` wrote."""
    pixels = np.load(folder / "sprites.npy")
    sprites, concepts = load_json(folder / "sprites.json"), load_json(folder / "concepts.json")
    hues = tuple(main_hue(p) for p in pixels)
    return Library(
        pixels=pixels,
        concept=tuple(s["concept"] for s in sprites),
        style=tuple(s["style"] for s in sprites),
        hue=hues,
        colour=tuple(
            None if h is None else colour_of(p, h) for p, h in zip(pixels, hues, strict=True)
        ),
        names=tuple(c["name"] for c in concepts),
        words=tuple(tuple(c["words"]) for c in concepts),
        kinds=tuple(c["kind"] for c in concepts),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One sprite in a picture."""

    row: int
    """Into the library."""
    colour: Colour | None
    """The colour it is given, None leaves its own."""
    x: float
    """Centre, 0.0 left to 1.0 right."""
    y: float
    """Centre, 0.0 top to 1.0 bottom."""
    size: float
    """Longer side as a share of the picture's."""
    mirrored: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A figure in a picture."""

    figure: figures.Figure
    x: float
    """Centre, 0.0 left to 1.0 right."""
    ground: float
    """Height of what it stands on, 0.0 top to 1.0 bottom."""
    size: float
    """Longer side as a share of the picture's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A picture before it is drawn."""

    items: tuple[Item, ...]
    scene: scenes.Scene | None
    plain: tuple[int, int, int]
    """Background colour where there is no scene."""
    style: str
    caption: str
    people: tuple[Placed, ...] = ()


def draw_odds(rng: Rng, odds: tuple[tuple[str, float], ...]) -> str:
    weights = np.array([w for _, w in odds])
    return odds[int(rng.choice(len(odds), p=weights / weights.sum()))][0]


def choose_row(rng: Rng, library: Library, style: str, *, in_scene: bool) -> int:
    """A sprite fit for the style; painterly styles take from every set."""
    while True:
        row = int(rng.integers(len(library.concept)))
        concept, own = library.concept[row], library.style[row]
        fits = own == style or style in FILTERS or (style == "sticker" and rng.random() < 0.25)
        # What has other names, or is learnt first, is what people ask for most.
        wanted = library.words[concept] or library.names[concept] in FIRST
        common = bool(wanted) or rng.random() < RARE_SHARE
        if fits and common and not (in_scene and library.kinds[concept] in SQUARE_ICONS):
            return row


def colouring(rng: Rng, library: Library, row: int) -> tuple[Colour | None, str | None]:
    """A new colour for the sprite and the colour word of its caption, each perhaps None."""
    if library.hue[row] is None:
        return None, None
    dice, colour = rng.random(), COLOURS[int(rng.integers(len(COLOURS)))]
    # A "red fox" is a kind of fox and not a fox painted red.
    concept = library.concept[row]
    kinds = (*library.words[concept], library.names[concept])
    share = 0.12 if library.kinds[concept].startswith(("animal", "face", "person")) else 0.35
    if dice < share and not any(colour.name in words for words in kinds):
        return colour, colour.name
    return None, library.colour[row] if dice > 0.8 else None


def name_of(rng: Rng, library: Library, row: int, colour: str | None) -> str:
    """What the sprite is called this time: no "purple red fox"."""
    concept = library.concept[row]
    words = tuple(
        w for w in library.words[concept] if colour is None or not any(c.name in w for c in COLOURS)
    )
    return captions.pick(rng, words) if words and rng.random() < 0.35 else library.names[concept]


def jitter(rng: Rng, by: float) -> float:
    return float(rng.uniform(-by, by))


def background(
    rng: Rng, kind: str, style: str, choice: tuple[scenes.Scene, ...] = scenes.SCENES
) -> tuple[scenes.Scene | None, tuple[int, int, int], str]:
    """Scene or plain colour, and its words."""
    if kind in {"scene", "empty"}:
        scene = choice[int(rng.integers(len(choice)))]
        where = captions.pick(rng, scene.place.inside if kind == "scene" else scene.place.alone)
        return scene, (255, 255, 255), f"{where} {captions.pick(rng, scene.hour.words)}".strip()
    if kind == "plain" or (style == "sticker" and rng.random() < 0.25):
        colour = COLOURS[int(rng.integers(len(COLOURS) - 1))]
        r, g, b = np.clip(np.array(colour.rgb) + rng.integers(-10, 11, 3), 0, 255).tolist()
        return None, (r, g, b), captions.pick(rng, captions.PLAIN_FORMS).format(colour.name)
    return (
        None,
        (255, 255, 255),
        captions.pick(rng, captions.WHITE_FORMS) if rng.random() < 0.12 else "",
    )


def plan(rng: Rng, library: Library, people: float = PEOPLE_SHARE) -> Plan:
    """Think up a picture; a share of `people` of all shows somebody."""
    kind, style = draw_odds(rng, KIND_ODDS), draw_odds(rng, STYLE_ODDS)
    said = style if rng.random() < 0.88 else ""
    if rng.random() < people:
        return peopled(rng, library, style, said)
    sceneful = kind == "scene" or (kind in {"count", "pair"} and rng.random() < 0.2)
    scene, plain, where = background(rng, "scene" if sceneful else kind, style)
    if kind == "empty":
        return Plan(items=(), scene=scene, plain=plain, style=style,
                    caption=captions.sentence(rng, where, "", said))  # fmt: skip
    row = choose_row(rng, library, style, in_scene=scene is not None)
    colour, word = colouring(rng, library, row)
    noun = name_of(rng, library, row, word)
    if kind == "count":
        count = int(rng.choice([2, 3, 4, 5], p=[0.4, 0.3, 0.15, 0.15]))
        items = arrange(rng, row, colour, count)
        subject = captions.noun_phrase(rng, noun, word, count)
    elif kind == "pair":
        other = choose_row(rng, library, style, in_scene=scene is not None)
        other_colour, other_word = colouring(rng, library, other)
        relation = captions.pick(rng, tuple(captions.RELATIONS))
        items = related(rng, relation, (row, other), (colour, other_colour))
        subject = captions.pick(rng, captions.RELATIONS[relation]).format(
            captions.noun_phrase(rng, noun, word),
            captions.noun_phrase(rng, name_of(rng, library, other, other_word), other_word),
        )
    else:
        items = (alone(rng, row, colour, scene),)
        subject = captions.noun_phrase(rng, noun, word)
    return Plan(items=items, scene=scene, plain=plain, style=style,
                caption=captions.sentence(rng, subject, where, said))  # fmt: skip


def alone(rng: Rng, row: int, colour: Colour | None, scene: scenes.Scene | None) -> Item:
    """One thing, large; in a scene it stands on the ground."""
    mirrored = bool(rng.random() < 0.5)
    if scene is None:
        return Item(row=row, colour=colour, x=0.5 + jitter(rng, 0.03), y=0.5 + jitter(rng, 0.03),
                    size=float(rng.uniform(0.72, 0.86)), mirrored=mirrored)  # fmt: skip
    size = float(rng.uniform(0.52, 0.7))
    y = 0.5 + jitter(rng, 0.08) if scene.place.afloat else float(rng.uniform(0.86, 0.95)) - size / 2
    return Item(row=row, colour=colour, x=0.5 + jitter(rng, 0.1), y=y, size=size, mirrored=mirrored)


def arrange(rng: Rng, row: int, colour: Colour | None, count: int) -> tuple[Item, ...]:
    """The same thing two to five times."""
    layouts = SPOTS[count]
    layout = layouts[int(rng.integers(len(layouts)))]
    size = {2: 0.44, 3: 0.42, 4: 0.42, 5: 0.34}[count]
    if count == 3 and layout is layouts[1]:
        size = 0.3
    mirrored = bool(rng.random() < 0.5)
    return tuple(
        Item(row=row, colour=colour, x=x + jitter(rng, 0.02), y=y + jitter(rng, 0.02),
             size=size * float(rng.uniform(0.92, 1.02)), mirrored=mirrored)
        for x, y in layout
    )  # fmt: skip


def related(
    rng: Rng, relation: str, rows: tuple[int, int], colours: tuple[Colour | None, Colour | None]
) -> tuple[Item, ...]:
    """Two things, the first placed as the relation says."""
    first = {"left": (0.27, 0.5), "right": (0.73, 0.5), "above": (0.5, 0.27),
             "below": (0.5, 0.73), "beside": (0.27, 0.5)}[relation]  # fmt: skip
    second = (1 - first[0], 1 - first[1])
    return tuple(
        Item(row=row, colour=colour, x=x + jitter(rng, 0.02), y=y + jitter(rng, 0.02),
             size=float(rng.uniform(0.42, 0.48)), mirrored=bool(rng.random() < 0.5))
        for row, colour, (x, y) in zip(rows, colours, (first, second), strict=True)
    )  # fmt: skip


WALKABLE: tuple[scenes.Scene, ...] = tuple(
    scene for scene in scenes.SCENES if not scene.place.afloat and scene.place.name != "sea"
)
"""Where people stand on something."""


def peopled(rng: Rng, library: Library, style: str, said: str) -> Plan:
    """Somebody who does something, alone or not."""
    kind = draw_odds(rng, PEOPLE_ODDS)
    outside = kind == "scene" or (kind in {"two", "company"} and rng.random() < 0.6)
    scene, plain, where = background(rng, "scene" if outside else kind, style, WALKABLE)
    first = figures.imagine(rng)
    items, people, subject = (), (stood(rng, first, 0.5, 1.0, scene),), first.caption
    if kind in {"two", "company"}:
        relation = captions.pick(rng, ("left", "right", "beside", "beside"))
        x = 0.71 if relation == "right" else 0.29
        people = (stood(rng, first, x, 0.72, scene),)
        if kind == "two":
            second = figures.imagine(rng)
            people = (*people, stood(rng, second, 1 - x, 0.72, scene))
            other = second.caption
        else:
            row = companion(rng, library, style)
            colour, word = colouring(rng, library, row)
            size = float(rng.uniform(0.32, 0.42))
            ground = people[0].ground + jitter(rng, 0.03)
            items = (Item(row=row, colour=colour, x=1 - x + jitter(rng, 0.03), y=min(ground, 0.97) - size / 2,
                          size=size, mirrored=bool(rng.random() < 0.5)),)  # fmt: skip
            other = captions.noun_phrase(rng, name_of(rng, library, row, word), word)
        subject = captions.pick(rng, captions.RELATIONS[relation]).format(subject, other)
    return Plan(items=items, people=people, scene=scene, plain=plain, style=style,
                caption=captions.sentence(rng, subject, where, said))  # fmt: skip


def companion(rng: Rng, library: Library, style: str) -> int:
    """A sprite that may stand beside somebody: no lone head, unless there is nothing else."""
    for _ in range(20):
        row = choose_row(rng, library, style, in_scene=True)
        if not library.kinds[library.concept[row]].startswith(("face", "person")):
            break
    return row


def stood(
    rng: Rng, figure: figures.Figure, x: float, share: float, scene: scenes.Scene | None
) -> Placed:
    """Somebody on the ground, a `share` of the largest size; the nearer the lower and larger."""
    if scene is None:
        ground = 0.62 if figure.pose.lying else 0.84 if share < 1 else 0.96
        size = share * float(rng.uniform(0.84, 0.92))
    else:
        ground = float(rng.uniform(0.78, 0.97))
        size = share * (ground - 0.4) / 0.55 * float(rng.uniform(0.8, 0.88))
    return Placed(
        figure=figure, x=x + jitter(rng, 0.04), ground=ground + jitter(rng, 0.01), size=size
    )


def sprite_of(item: Item, library: Library, style: str) -> Image.Image:
    """The item's RGBA picture at its size in the picture."""
    pixels = library.pixels[item.row]
    hue = library.hue[item.row]
    if item.colour is not None and hue is not None:
        pixels = recolour(pixels, hue, item.colour)
    if item.mirrored:
        pixels = pixels[:, ::-1]
    side = max(8, round(item.size * SIDE))
    # Premultiplied alpha keeps the colour under transparent pixels from bleeding into the rim.
    small = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGBa")
    small = small.resize(
        (side, side), Image.Resampling.BOX if side < SIDE // 2 else Image.Resampling.BICUBIC
    )
    small = small.convert("RGBA")
    if style == "sticker":
        return outline(np.asarray(small), 4 if side > SIDE // 2 else 3)
    return small


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """A picture and what is true of it."""

    pixels: Any
    """[128, 128, 3] uint8."""
    depth: Any
    """[128, 128] uint8, 0 far to 255 near."""
    people: tuple[Person, ...]
    """In pixels of the picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A sprite at its place."""

    sprite: Image.Image
    left: int
    top: int
    ground: float
    """Height of what it stands on, 0.0 top to 1.0 bottom."""
    relief: Any
    """[h, w] float: how far each place of the sprite comes out of it, -1.0–1.0."""
    person: Person | None = None
    """In pixels of the picture."""


RELIEF = 16
"""Depth of what comes out by 1.0."""

PLAIN_NEAR = 130, 75
"""Depth of what stands at the top of a plain ground, and how much nearer it is at the bottom."""


def render(plan: Plan, library: Library, rng: Rng) -> np.ndarray:
    """Draw the plan, [128, 128, 3] uint8."""
    return rendered(plan, library, rng).pixels


def rendered(plan: Plan, library: Library, rng: Rng) -> Rendered:
    """Draw the plan, and say what is where."""
    if plan.scene is not None:
        scene = scenes.paint(plan.scene, rng)
        canvas, depth = (
            Image.fromarray(scene.pixels).convert("RGBA"),
            scene.depth.astype(np.float32),
        )
    else:
        scene, depth = None, np.zeros((SIDE, SIDE), np.float32)
        canvas = Image.new("RGBA", (SIDE, SIDE), (*plan.plain, 255))
    layers = [layer_of(item, library, plan.style) for item in plan.items]
    if plan.people:
        layers += [figure_layer(placed, plan.style) for placed in plan.people]
        layers.sort(key=lambda layer: layer.ground)
    people: list[Person] = []
    for layer in layers:
        if plan.style == "sticker":
            drop_shadow(canvas, layer.sprite, layer.left + 1, layer.top + 2)
        elif layer.person and scene is not None:
            ground_shadow(canvas, layer)
        sheet = Image.new("RGBA", (SIDE, SIDE))
        sheet.paste(layer.sprite, (layer.left, layer.top))
        canvas.alpha_composite(sheet)
        solid = np.asarray(sheet.getchannel("A")) > 128
        afloat = scene is None or plan.scene.place.afloat
        near = PLAIN_NEAR[0] + PLAIN_NEAR[1] * layer.ground if afloat else scene.at(layer.ground)
        depth = np.where(solid, near + RELIEF * _spread_out(layer), depth)
        people = [_covered(person, solid) for person in people]
        if layer.person:
            people.append(layer.person)
    picture = canvas.convert("RGB")
    finish = FILTERS.get(plan.style)
    return Rendered(
        pixels=np.asarray(finish(picture, rng) if finish else picture),
        depth=np.clip(np.rint(depth), 0, 255).astype(np.uint8),
        people=tuple(people),
    )


def layer_of(item: Item, library: Library, style: str) -> Layer:
    sprite = sprite_of(item, library, style)
    # Things are thought to bulge: their middle is nearer than their rim.
    bulge = sprite.getchannel("A").filter(ImageFilter.GaussianBlur(max(1, sprite.width / 10)))
    return Layer(
        sprite=sprite,
        left=round(item.x * SIDE - sprite.width / 2),
        top=round(item.y * SIDE - sprite.height / 2),
        ground=min(1.0, item.y + item.size / 2),
        relief=np.asarray(bulge, np.float32) / 127.5 - 1,
    )


def figure_layer(placed: Placed, style: str) -> Layer:
    # Painted pictures are painted from any of the drawn ones, always the same for a figure.
    look = style if style in DRAWN_STYLES else DRAWN_STYLES[round(placed.figure.turn * 10) % 3]
    drawn = figures.draw(placed.figure, max(16, round(placed.size * SIDE)), look)
    sprite, rim = Image.fromarray(drawn.sprite), 0
    if style == "sticker":
        rim = 3
        sprite = outline(drawn.sprite, rim)
    left = round(placed.x * SIDE - sprite.width / 2)
    # Who jumps keeps their head in the picture.
    top = max(1, round(placed.ground * SIDE - drawn.lift) - sprite.height)
    return Layer(
        sprite=sprite, left=left, top=top, ground=placed.ground, relief=np.pad(drawn.height * 2 - 1, rim, mode="edge"),
        person=_moved(drawn.person, left + rim, top + rim),
    )  # fmt: skip


def _moved(person: Person, across: int, down: int) -> Person:
    """The person at their place in the picture; what lies outside of it is absent."""
    points = (
        replace(p, x=p.x + across, y=p.y + down)
        if p.confidence > 0 and 0 <= p.x + across < SIDE and 0 <= p.y + down < SIDE
        else ABSENT
        for p in person.points
    )
    return Person(tuple(points))


def _covered(person: Person, solid: np.ndarray) -> Person:
    """The person with those joints hidden that something now stands before."""

    def hidden(point: Point) -> Point:
        covered = point.confidence > 0 and solid[int(point.y), int(point.x)]
        return replace(point, confidence=figures.HIDDEN) if covered else point

    return Person(tuple(hidden(point) for point in person.points))


def _spread_out(layer: Layer) -> Any:
    """The layer's relief in the whole picture, [SIDE, SIDE]."""
    whole = Image.new("F", (SIDE, SIDE))
    whole.paste(Image.fromarray(layer.relief.astype(np.float32)), (layer.left, layer.top))
    return np.asarray(whole)


def ground_shadow(canvas: Image.Image, layer: Layer) -> None:
    """Darken the ground softly under somebody's feet."""
    mask = Image.new("L", (SIDE, SIDE))
    middle, wide = layer.left + layer.sprite.width / 2, max(6.0, layer.sprite.width * 0.42)
    row = layer.ground * SIDE - 1
    ImageDraw.Draw(mask).ellipse(
        (middle - wide, row - wide / 6, middle + wide, row + wide / 6), fill=80
    )
    mask = mask.filter(ImageFilter.GaussianBlur(1.5))
    canvas.alpha_composite(Image.merge("RGBA", [Image.new("L", (SIDE, SIDE), 20)] * 3 + [mask]))


def drop_shadow(canvas: Image.Image, sprite: Image.Image, left: int, top: int) -> None:
    """Darken the canvas softly where the sprite's shadow falls."""
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(sprite.getchannel("A").point(lambda a: round(a * 0.4)), (left, top))
    mask = mask.filter(ImageFilter.GaussianBlur(1.8))
    shade = Image.merge("RGBA", [Image.new("L", (SIDE, SIDE), 40)] * 3 + [mask])
    canvas.alpha_composite(shade)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """Many pictures and what is true of them; all parts go together."""

    pixels: np.ndarray
    """[n, 128, 128, 3] uint8."""
    captions: tuple[str, ...]
    depth: np.ndarray
    """[n, 128, 128] uint8, 0 far to 255 near."""
    people: tuple[tuple[Person, ...], ...]


def draw(seed: int, count: int, library: Library, people: float = PEOPLE_SHARE) -> Pictures:
    """`count` pictures, of which a share of `people` shows somebody; the same for the same seed."""
    rng = np.random.default_rng(seed)
    plans = [plan(rng, library, people) for _ in range(count)]
    made = [rendered(p, library, rng) for p in plans]
    return Pictures(
        pixels=np.stack([m.pixels for m in made]),
        captions=tuple(p.caption for p in plans),
        depth=np.stack([m.depth for m in made]),
        people=tuple(m.people for m in made),
    )


def pictures(seed: int, count: int, library: Library) -> tuple[np.ndarray, tuple[str, ...]]:
    """`count` pictures [count, 128, 128, 3] uint8 with their captions; the same for the same seed."""
    made = draw(seed, count, library)
    return made.pixels, made.captions
