"""Backgrounds drawn by rule: a sky at some hour over some ground, with the words for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from studio.training.sources import SIDE

Rng = np.random.Generator
Canvas = Image.Image

SCALE = 2
"""Scenes are drawn this many times larger and then reduced, which smooths their edges."""

BIG = SIDE * SCALE


FAR, NEAR = 24, 235
"""Depth of the ground at the horizon and at the lower edge of the picture; the sky has 0."""

Points = list[tuple[float, float]]
Box = tuple[float, float, float, float]
Tint = tuple[int, ...]


class Brush:
    """Paints a picture and, beside it, how near everything in it is.

    Shapes take `near`, 0 far to 255 near; without it they are flat marks on what lies there.
    """

    def __init__(self, canvas: Canvas, horizon: float) -> None:
        self.canvas, self.draw = canvas, ImageDraw.Draw(canvas)
        self.depth = Image.new("L", canvas.size)
        self.near = ImageDraw.Draw(self.depth)
        self.horizon = horizon
        """Where the ground begins, 0.0 top to 1.0 bottom."""
        self.far = FAR
        """Depth of the ground where it begins."""

    def at(self, row: float) -> int:
        """Depth of the ground at a height of the picture, 0.0–1.0: it rises evenly from the horizon."""
        share = (row - self.horizon) / max(1e-6, 1 - self.horizon)
        return round(self.far + (NEAR - self.far) * min(max(share, 0.0), 1.0))

    def land(self, points: Points, fill: Tint) -> None:
        """Ground below a line: upright up to its crest, flat from there on."""
        self.draw.polygon(points, fill=fill)
        crest = float(np.mean([y for _, y in points[:-2]])) / BIG
        self._ground(points, crest)

    def spread(self, picture: Canvas, top: int) -> None:
        """A picture as flat ground from row `top` on."""
        self.canvas.paste(picture, (0, top))
        self._ground([(0, top), (BIG, top), (BIG, BIG), (0, BIG)], top / BIG)

    def _ground(self, points: Points, crest: float) -> None:
        rows = [max(self.at(crest), self.at((k + 0.5) / BIG)) for k in range(BIG)]
        column = np.repeat(np.array(rows, np.uint8)[:, None], BIG, 1)
        mask = Image.new("L", (BIG, BIG))
        ImageDraw.Draw(mask).polygon(points, fill=255)
        self.depth.paste(Image.fromarray(column), mask=mask)

    def polygon(self, points: Points, fill: Tint, near: int | None = None) -> None:
        self.draw.polygon(points, fill=fill)
        if near is not None:
            self.near.polygon(points, fill=near)

    def ellipse(self, box: Box, fill: Tint, near: int | None = None) -> None:
        self.draw.ellipse(box, fill=fill)
        if near is not None:
            self.near.ellipse(box, fill=near)

    def ring(self, box: Box, tint: Tint, width: int) -> None:
        self.draw.ellipse(box, outline=tint, width=width)

    def rectangle(self, box: Box, fill: Tint, near: int | None = None) -> None:
        self.draw.rectangle(box, fill=fill)
        if near is not None:
            self.near.rectangle(box, fill=near)

    def line(self, box: Box, fill: Tint, width: int, near: int | None = None) -> None:
        self.draw.line(box, fill=fill, width=width)
        if near is not None:
            self.near.line(box, fill=near, width=width)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hour:
    """A time of day: the sky's colours and how it tints the ground."""

    name: str
    sky: tuple[tuple[int, int, int], ...]
    """Colours from the top of the picture to the horizon."""
    light: tuple[float, float, float]
    """Factor on the red, green and blue of the ground, 1.0 leaves it as it is."""
    words: tuple[str, ...]
    """How a caption says it; the empty word says nothing."""


HOURS: tuple[Hour, ...] = (
    Hour(name="day", sky=((92, 170, 240), (200, 230, 252)), light=(1, 1, 1),
         words=("", "", "", "by day", "on a sunny day")),
    Hour(name="sunset", sky=((96, 70, 140), (236, 110, 90), (255, 196, 100)),
         light=(0.95, 0.72, 0.66), words=("at sunset", "at sunset", "at sundown", "at dusk")),
    Hour(name="night", sky=((8, 12, 40), (34, 48, 100)), light=(0.36, 0.42, 0.66),
         words=("at night", "at night", "under the stars", "under a starry sky")),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A kind of ground and how it is drawn and named."""

    name: str
    paint: Callable[[Brush, Rng, Hour, float], None]
    """Draws onto the sky; the number is the height of the horizon, 0.0 top to 1.0 bottom."""
    inside: tuple[str, ...]
    """Words for something that is there: "in the snow"."""
    alone: tuple[str, ...]
    """Words for the place itself: "a snowy landscape"."""
    afloat: bool = False
    """True where things hang in the middle instead of standing on the ground."""
    hours: tuple[str, ...] = ("day", "sunset", "night")


def lit(colour: tuple[int, int, int], hour: Hour) -> tuple[int, int, int]:
    r, g, b = (round(c * f) for c, f in zip(colour, hour.light, strict=True))
    return r, g, b


def vary(colour: tuple[int, int, int], rng: Rng, by: int = 12) -> tuple[int, int, int]:
    """The colour with each channel moved by at most `by`."""
    r, g, b = np.clip(np.array(colour) + rng.integers(-by, by + 1, 3), 0, 255).tolist()
    return r, g, b


def gradient(colours: tuple[tuple[int, int, int], ...], height: int) -> np.ndarray:
    """Colours spread evenly from top to bottom, [height, BIG, 3] uint8."""
    stops = np.linspace(0, 1, len(colours))
    at = np.linspace(0, 1, height)
    column = np.stack([np.interp(at, stops, [c[k] for c in colours]) for k in range(3)], -1)
    return np.repeat(column[:, None], BIG, 1).astype(np.uint8)


def sky(rng: Rng, hour: Hour, horizon: float) -> Canvas:
    """A sky with what belongs to its hour: clouds, a low sun, or moon and stars."""
    height = max(2, round(BIG * horizon))
    colours = tuple(vary(c, rng) for c in hour.sky)
    rows = np.vstack([gradient(colours, height), np.repeat(
        np.array(colours[-1], np.uint8)[None, None], BIG * (BIG - height), 0
    ).reshape(BIG - height, BIG, 3)])  # fmt: skip
    canvas = Image.fromarray(rows)
    draw = ImageDraw.Draw(canvas)
    if hour.name == "day" and rng.random() < 0.75:
        for _ in range(rng.integers(1, 4)):
            cloud(draw, rng, rng.uniform(0, 1), rng.uniform(0.05, max(0.1, horizon * 0.6)))
    if hour.name == "sunset":
        x, y, r = rng.uniform(0.15, 0.85) * BIG, horizon * rng.uniform(0.7, 0.98) * BIG, BIG * 0.11
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 232, 150))
    if hour.name == "night":
        for _ in range(rng.integers(25, 60)):
            x, y, r = rng.uniform(0, BIG), rng.uniform(0, height), rng.uniform(0.6, 2.0)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=(245, 245, 220))
        if rng.random() < 0.7:
            x, y, r = rng.uniform(0.1, 0.9) * BIG, rng.uniform(0.1, 0.25) * BIG, BIG * 0.08
            draw.ellipse((x - r, y - r, x + r, y + r), fill=(250, 244, 200))
    return canvas


def cloud(draw: ImageDraw.ImageDraw, rng: Rng, x: float, y: float) -> None:
    """A row of white discs; `x` and `y` in 0.0–1.0."""
    for _ in range(5):
        r = BIG * rng.uniform(0.03, 0.07)
        cx, cy = x * BIG + rng.uniform(-0.12, 0.12) * BIG, y * BIG + rng.uniform(-0.02, 0.02) * BIG
        draw.ellipse((cx - 1.3 * r, cy - r, cx + 1.3 * r, cy + r), fill=(250, 252, 255))


def ridge(rng: Rng, base: float, height: float, waves: int) -> list[tuple[float, float]]:
    """A wavy line as a closed polygon down to the bottom; `base` and `height` in 0.0–1.0."""
    x = np.linspace(0, 1, 33)
    y = sum(
        np.sin(2 * np.pi * (k * x * rng.uniform(0.5, 1.2) + rng.random())) / k
        for k in range(1, waves + 1)
    )
    points = [
        (float(a) * BIG, float(base - height * b * 0.5) * BIG) for a, b in zip(x, y, strict=True)
    ]
    return [*points, (BIG, BIG), (0, BIG)]


def paint_snow(brush: Brush, rng: Rng, hour: Hour, horizon: float) -> None:
    for _ in range(rng.integers(2, 7)):
        fir(brush, rng, rng.uniform(0, 1), horizon + 0.03, rng.uniform(0.1, 0.22), hour)
    brush.land(ridge(rng, horizon, 0.04, 2), fill=lit((222, 234, 246), hour))
    brush.land(ridge(rng, horizon + 0.14, 0.04, 2), fill=lit((243, 248, 253), hour))
    for _ in range(rng.integers(30, 70)):
        x, y, r = rng.uniform(0, BIG), rng.uniform(0, BIG), rng.uniform(1.2, 3.2)
        brush.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 255))


def fir(brush: Brush, rng: Rng, x: float, y: float, h: float, hour: Hour) -> None:
    """A fir with its foot at (x, y), `h` high, all in 0.0–1.0."""
    colour, near = lit(vary((38, 104, 74), rng), hour), brush.at(y)
    for k in range(3):
        top, foot, wide = y - h * (1 - 0.2 * k), y - h * (0.45 - 0.2 * k), h * (0.18 + 0.07 * k)
        brush.polygon(
            [(x * BIG, top * BIG), ((x - wide) * BIG, foot * BIG), ((x + wide) * BIG, foot * BIG)],
            fill=colour,
            near=near,
        )


def paint_meadow(brush: Brush, rng: Rng, hour: Hour, horizon: float) -> None:
    brush.land(ridge(rng, horizon, 0.1, 2), fill=lit(vary((124, 188, 92), rng), hour))
    brush.land(ridge(rng, horizon + 0.12, 0.08, 2), fill=lit(vary((96, 170, 70), rng), hour))
    for _ in range(rng.integers(0, 25)):
        x, y, r = rng.uniform(0, BIG), rng.uniform(horizon + 0.2, 1) * BIG, 2.6
        tint = ((250, 250, 250), (250, 220, 90), (240, 120, 150))[rng.integers(3)]
        brush.ellipse((x - r, y - r, x + r, y + r), fill=lit(tint, hour))


def paint_beach(brush: Brush, rng: Rng, hour: Hour, horizon: float) -> None:
    brush.horizon = horizon - 0.1
    paint_sea(brush, rng, hour, brush.horizon)
    shore = ridge(rng, horizon + 0.14, 0.03, 2)
    brush.polygon([(x, y - 5) for x, y in shore], fill=lit((236, 246, 248), hour))
    brush.land(shore, fill=lit(vary((238, 212, 150), rng), hour))


def paint_sea(brush: Brush, rng: Rng, hour: Hour, horizon: float) -> None:
    top = round(horizon * BIG)
    colours = (lit(vary((70, 160, 205), rng), hour), lit(vary((24, 104, 170), rng), hour))
    brush.spread(Image.fromarray(gradient(colours, BIG - top)), top)
    for _ in range(14):
        x, y, w = rng.uniform(0, BIG), rng.uniform(top + 4, BIG), rng.uniform(10, 36)
        brush.line((x, y, x + w, y), fill=lit((176, 222, 240), hour), width=2)


def paint_desert(brush: Brush, rng: Rng, hour: Hour, horizon: float) -> None:
    brush.land(ridge(rng, horizon, 0.08, 2), fill=lit(vary((228, 180, 110), rng), hour))
    brush.land(ridge(rng, horizon + 0.14, 0.1, 2), fill=lit(vary((240, 200, 130), rng), hour))


MOUNTAINS = 12
"""Depth of what stands at the horizon."""


def paint_mountains(brush: Brush, rng: Rng, hour: Hour, horizon: float) -> None:
    for _ in range(rng.integers(3, 6)):
        x, h = rng.uniform(0, 1), rng.uniform(0.25, 0.45)
        peak, foot = (x * BIG, (horizon - h + 0.05) * BIG), (horizon + 0.06) * BIG
        wide = h * BIG * 0.8
        brush.polygon(
            [peak, (peak[0] - wide, foot), (peak[0] + wide, foot)],
            fill=lit(vary((112, 124, 150), rng, 16), hour),
            near=MOUNTAINS,
        )
        cap = 0.28
        brush.polygon(
            [peak, (peak[0] - wide * cap, peak[1] + (foot - peak[1]) * cap),
             (peak[0], peak[1] + (foot - peak[1]) * cap * 0.7),
             (peak[0] + wide * cap, peak[1] + (foot - peak[1]) * cap)],
            fill=lit((245, 248, 252), hour),
        )  # fmt: skip
    brush.land(ridge(rng, horizon + 0.08, 0.05, 2), fill=lit(vary((108, 164, 84), rng), hour))


def paint_forest(brush: Brush, rng: Rng, hour: Hour, horizon: float) -> None:
    brush.land(ridge(rng, horizon, 0.02, 2), fill=lit((70, 130, 62), hour))
    for depth in (0.0, 0.06):
        for x in np.arange(-0.05, 1.1, 0.12):
            fir(
                brush,
                rng,
                x + rng.uniform(-0.04, 0.04),
                horizon + depth + 0.02,
                rng.uniform(0.35, 0.5),
                hour,
            )
    brush.land(ridge(rng, horizon + 0.12, 0.03, 2), fill=lit(vary((92, 150, 70), rng), hour))


def paint_city(brush: Brush, rng: Rng, hour: Hour, horizon: float) -> None:
    x, foot = 0.0, (horizon + 0.1) * BIG
    while x < BIG:
        wide, high = rng.uniform(0.1, 0.2) * BIG, rng.uniform(0.25, 0.6) * BIG
        tone = vary(((150, 160, 180), (190, 150, 130), (130, 140, 160))[rng.integers(3)], rng)
        brush.rectangle(
            (x, foot - high, x + wide, foot), fill=lit(tone, hour), near=brush.at(foot / BIG)
        )
        pane = (255, 224, 130) if hour.name != "day" else (205, 228, 242)
        for wx in np.arange(x + 5, x + wide - 7, 11):
            for wy in np.arange(foot - high + 7, foot - 8, 14):
                if rng.random() < 0.7:
                    brush.rectangle((wx, wy, wx + 5, wy + 7), fill=pane)
        x += wide + 2
    road = Image.new("RGB", (BIG, BIG), lit((110, 112, 120), hour))
    brush.spread(road, round(foot))
    brush.rectangle((0, foot, BIG, foot + 10), fill=lit((172, 172, 174), hour))
    for sx in range(rng.integers(0, 30), BIG, 50):
        brush.rectangle((sx, BIG * 0.93, sx + 26, BIG * 0.945), fill=lit((240, 240, 236), hour))


def paint_rain(brush: Brush, rng: Rng, hour: Hour, horizon: float) -> None:
    grey = (lit((110, 122, 138), hour), lit((176, 186, 196), hour))
    brush.canvas.paste(Image.fromarray(gradient(grey, BIG)))
    puddle = Image.new("RGB", (BIG, BIG), lit((128, 138, 148), hour))
    brush.spread(puddle, int(horizon * BIG))
    for _ in range(90):
        x, y, n = rng.uniform(0, BIG), rng.uniform(0, BIG), rng.uniform(10, 20)
        brush.line((x, y, x - n * 0.3, y + n), fill=lit((214, 226, 240), hour), width=2)


PLANET = 30
"""Depth of a planet behind what floats in space."""


def paint_space(brush: Brush, rng: Rng, _hour: Hour, _horizon: float) -> None:
    brush.canvas.paste(
        Image.fromarray(gradient((vary((10, 8, 32), rng), vary((38, 20, 72), rng)), BIG))
    )
    for _ in range(80):
        x, y, r = rng.uniform(0, BIG), rng.uniform(0, BIG), rng.uniform(0.6, 2.2)
        brush.ellipse((x - r, y - r, x + r, y + r), fill=(240, 240, 255))
    x, y, r = rng.uniform(0, BIG), rng.choice([0.12, 0.9]) * BIG, BIG * rng.uniform(0.08, 0.2)
    planet = ((214, 130, 90), (110, 160, 220), (190, 140, 210))[rng.integers(3)]
    brush.ellipse((x - r, y - r, x + r, y + r), fill=vary(planet, rng), near=PLANET)


def paint_underwater(brush: Brush, rng: Rng, _hour: Hour, _horizon: float) -> None:
    brush.horizon = 0.8
    brush.canvas.paste(
        Image.fromarray(gradient((vary((96, 204, 224), rng), vary((16, 84, 150), rng)), BIG))
    )
    brush.land(ridge(rng, 0.9, 0.04, 2), fill=(206, 190, 140))
    for _ in range(rng.integers(8, 20)):
        x, y, r = rng.uniform(0, BIG), rng.uniform(0, BIG * 0.9), rng.uniform(2, 7)
        brush.ring((x - r, y - r, x + r, y + r), tint=(214, 244, 250), width=2)
    for _ in range(rng.integers(2, 6)):
        x, y = rng.uniform(0, BIG), BIG * 0.93
        for k in range(6):
            step = 8 * (-1) ** k
            brush.line((x, y, x + step, y - 14), fill=(40, 140, 90), width=5, near=brush.at(0.93))
            x, y = x + step, y - 14


def paint_sky(_brush: Brush, _rng: Rng, _hour: Hour, _horizon: float) -> None:
    """Nothing but the sky."""


WALL = 60
"""Depth of a room's far wall."""


def paint_room(brush: Brush, rng: Rng, hour: Hour, _horizon: float) -> None:
    wall = ((240, 222, 190), (200, 220, 214), (226, 206, 220))[rng.integers(3)]
    floor = vary((176, 126, 84), rng)
    base = rng.uniform(0.64, 0.72) * BIG
    x, y = rng.uniform(0.06, 0.6) * BIG, BIG * 0.1
    pane = brush.canvas.crop((0, 0, 70, 80))
    brush.horizon, brush.far = base / BIG, WALL
    brush.rectangle((0, 0, BIG, base), fill=vary(wall, rng), near=WALL)
    brush.rectangle((x - 7, y - 7, x + 77, y + 87), fill=(250, 248, 244))
    brush.canvas.paste(pane, (round(x), round(y)))
    brush.depth.paste(0, (round(x), round(y), round(x) + 70, round(y) + 80))
    brush.line((x + 35, y, x + 35, y + 80), fill=(250, 248, 244), width=5, near=WALL)
    brush.spread(Image.new("RGB", (BIG, BIG), floor), round(base))
    brush.rectangle((0, base - 8, BIG, base), fill=(246, 242, 236))
    for k in range(1, 4):
        ly = base + (BIG - base) * k / 4
        brush.line((0, ly, BIG, ly), fill=tuple(round(c * 0.88) for c in floor), width=2)


PLACES: tuple[Place, ...] = (
    Place(name="snow", paint=paint_snow, inside=("in the snow", "in the snow", "in a snowy field", "in winter snow"),
          alone=("a snowy landscape", "a winter landscape", "snow")),
    Place(name="meadow", paint=paint_meadow, inside=("in a meadow", "on green hills", "on the grass", "in a grassy field"),
          alone=("green hills", "a meadow", "a grassy landscape")),
    Place(name="beach", paint=paint_beach, inside=("on a beach", "on the beach", "by the sea"),
          alone=("a beach", "a sandy beach by the sea")),
    Place(name="sea", paint=paint_sea, inside=("on the sea", "at sea", "on the water", "on the ocean"),
          alone=("the sea", "the ocean")),
    Place(name="desert", paint=paint_desert, inside=("in the desert", "on sand dunes"),
          alone=("a sandy desert", "desert dunes")),
    Place(name="mountains", paint=paint_mountains, inside=("in front of mountains", "in the mountains", "with mountains behind"),
          alone=("mountains", "a mountain landscape")),
    Place(name="forest", paint=paint_forest, inside=("in a forest", "in the woods", "in the forest"),
          alone=("a forest", "pine woods")),
    Place(name="city", paint=paint_city, inside=("in the city", "on a city street", "in front of buildings"),
          alone=("a city street", "a city skyline")),
    Place(name="rain", paint=paint_rain, inside=("in the rain", "on a rainy day"), alone=("rain", "a rainy day"),
          hours=("day", "night")),
    Place(name="space", paint=paint_space, inside=("in space", "in outer space", "among the stars and planets"),
          alone=("outer space", "space with a planet"), afloat=True, hours=("day",)),
    Place(name="underwater", paint=paint_underwater, inside=("under water", "underwater", "at the bottom of the sea"),
          alone=("an underwater scene", "the sea floor"), afloat=True, hours=("day",)),
    Place(name="sky", paint=paint_sky, inside=("in the sky", "in the air", "flying in the sky"),
          alone=("the sky", "a cloudy sky"), afloat=True),
    Place(name="room", paint=paint_room, inside=("in a room", "indoors", "in a living room"),
          alone=("an empty room", "a room with a window"), hours=("day", "night")),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A place at an hour."""

    place: Place
    hour: Hour


SCENES: tuple[Scene, ...] = tuple(
    Scene(place=place, hour=hour) for place in PLACES for hour in HOURS if hour.name in place.hours
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Painted:
    """A scene and how near everything in it is."""

    pixels: Any
    """[SIDE, SIDE, 3] uint8."""
    depth: Any
    """[SIDE, SIDE] uint8, 0 far to 255 near."""
    at: Callable[[float], int]
    """Depth of what stands on the ground at that height of the picture, 0.0 top to 1.0 bottom."""


def paint(scene: Scene, rng: Rng) -> Painted:
    """Draw the scene."""
    horizon = 1.0 if scene.place.afloat else rng.uniform(0.5, 0.66)
    canvas = sky(rng, scene.hour, horizon)
    brush = Brush(canvas, horizon)
    scene.place.paint(brush, rng, scene.hour, horizon)
    if rng.random() < 0.3:
        canvas = canvas.filter(ImageFilter.GaussianBlur(SCALE * rng.uniform(0.3, 1.2)))
    return Painted(
        pixels=np.asarray(canvas.reduce(SCALE)),
        depth=np.asarray(brush.depth.reduce(SCALE)),
        at=brush.at,
    )
