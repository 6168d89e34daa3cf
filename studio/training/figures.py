"""People by rule: a mannequin with joints, dressed, posed and drawn, whose every joint is known.

A body is a set of round cones in space, seen without perspective. Drawing it gives a map of heights
towards the viewer, and from that come what covers what, the shading, and which joints can be seen.
Lengths are in heights of a grown-up; x runs to the right, y down, z towards the viewer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from studio.preprocessors._people import ABSENT, Person, Point
from studio.training.captions import article, pick
from studio.training.colours import COLOURS

Rng = np.random.Generator
Vector = np.ndarray
"""[3], x, y, z."""

RGB = tuple[int, int, int]

SCALE = 3
"""Figures are drawn this many times larger and then reduced, which smooths their edges."""

HIDDEN = 0.5
"""Confidence of a joint that something covers; one that is plain to see has 1.0."""

Angles = tuple[float, float]
"""Of a bone in degrees, 0.0 hanging down: how far it is spread away from the body's middle, and how
far it swings forward."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limb:
    """An arm or a leg."""

    upper: Angles
    lower: Angles

    @property
    def angles(self) -> tuple[Angles, Angles]:
        return self.upper, self.lower


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """What somebody does."""

    name: str
    words: tuple[str, ...]
    """As captions go on after who it is: "a girl waving"."""
    right_arm: Limb
    left_arm: Limb
    right_leg: Limb
    left_leg: Limb
    turns: tuple[tuple[float, float], ...]
    """From where it can be seen: ranges in degrees, 0.0 from the front, 90.0 from the side."""
    lean: Angles = (0.0, 0.0)
    """Of the trunk, 0.0 upright: to its left, and forward."""
    lift: float = 0.0
    """How far above the ground it is."""
    lying: bool = False
    prop: str = ""
    """What belongs to it: "stool" or "parcel"."""


ARM = Limb(upper=(14, -2), lower=(9, 10))
LEG = Limb(upper=(6, 0), lower=(3, -2))
UP = Limb(upper=(150, 0), lower=(168, 8))

FRONT, QUARTER, SIDE_ON = (-12.0, 12.0), (25.0, 45.0), (70.0, 90.0)

POSES: tuple[Pose, ...] = (
    Pose(name="standing", words=("standing", "standing still"), right_arm=ARM, left_arm=ARM, right_leg=LEG,
         left_leg=LEG, turns=(FRONT, FRONT, QUARTER, SIDE_ON)),
    Pose(name="waving", words=("waving", "waving hello", "waving a hand"), left_arm=Limb(upper=(112, 0), lower=(165, 10)),
         right_arm=ARM, right_leg=LEG, left_leg=LEG, turns=(FRONT, FRONT, QUARTER)),
    Pose(name="arms up", words=("with arms up", "cheering", "with raised arms", "raising both arms"), right_arm=UP,
         left_arm=UP, right_leg=Limb(upper=(12, 0), lower=(8, -2)), left_leg=Limb(upper=(12, 0), lower=(8, -2)), turns=(FRONT, QUARTER)),
    Pose(name="walking", words=("walking", "taking a walk", "strolling"), right_arm=Limb(upper=(7, -30), lower=(5, -8)),
         left_arm=Limb(upper=(7, 28), lower=(5, 52)), right_leg=Limb(upper=(2, 26), lower=(2, 12)),
         left_leg=Limb(upper=(2, -18), lower=(2, -40)), turns=(SIDE_ON, SIDE_ON, (45, 65)), lean=(0, 3)),
    Pose(name="running", words=("running", "running fast", "jogging"), right_arm=Limb(upper=(12, -55), lower=(8, 35)),
         left_arm=Limb(upper=(12, 42), lower=(4, 125)), right_leg=Limb(upper=(2, 62), lower=(2, -18)),
         left_leg=Limb(upper=(2, -28), lower=(2, -100)), turns=(SIDE_ON, SIDE_ON, (48, 65)), lean=(0, 14), lift=0.03),
    Pose(name="jumping", words=("jumping", "jumping for joy", "leaping"), right_arm=Limb(upper=(135, 0), lower=(150, 10)),
         left_arm=Limb(upper=(135, 0), lower=(150, 10)), right_leg=Limb(upper=(30, 45), lower=(16, -50)),
         left_leg=Limb(upper=(22, 15), lower=(14, -75)), turns=(FRONT, QUARTER, (45, 65)), lift=0.14),
    Pose(name="sitting", words=("sitting", "sitting down", "sitting on a stool"), right_arm=Limb(upper=(12, 18), lower=(4, 58)),
         left_arm=Limb(upper=(12, 18), lower=(4, 58)), right_leg=Limb(upper=(9, 84), lower=(4, 2)),
         left_leg=Limb(upper=(9, 84), lower=(4, 2)), turns=(SIDE_ON, SIDE_ON, (35, 60)), prop="stool"),
    Pose(name="sitting on the ground", words=("sitting", "sitting on the ground", "sitting on the floor"),
         right_arm=Limb(upper=(16, -34), lower=(12, -22)), left_arm=Limb(upper=(16, -34), lower=(12, -22)),
         right_leg=Limb(upper=(10, 118), lower=(6, 32)), left_leg=Limb(upper=(10, 94), lower=(6, 78)),
         turns=(SIDE_ON, (50, 70)), lean=(0, -14)),
    Pose(name="kneeling", words=("kneeling", "kneeling down", "on one knee"), right_arm=Limb(upper=(10, 30), lower=(2, 72)),
         left_arm=ARM, right_leg=Limb(upper=(6, 84), lower=(3, 0)), left_leg=Limb(upper=(3, -4), lower=(3, -86)),
         turns=(SIDE_ON, (45, 65))),
    Pose(name="dancing", words=("dancing", "doing a dance"), right_arm=Limb(upper=(82, 10), lower=(26, 20)),
         left_arm=Limb(upper=(118, 0), lower=(160, 0)), right_leg=Limb(upper=(5, 0), lower=(-6, -4)),
         left_leg=Limb(upper=(42, 30), lower=(-12, -25)), turns=(FRONT, FRONT, QUARTER), lean=(-10, 0)),
    Pose(name="pointing", words=("pointing", "pointing at something", "pointing to the side"), left_arm=Limb(upper=(84, 8), lower=(90, 10)),
         right_arm=ARM, right_leg=LEG, left_leg=LEG, turns=(FRONT, QUARTER)),
    Pose(name="hands on hips", words=("with hands on hips", "standing with hands on hips"),
         right_arm=Limb(upper=(46, -10), lower=(-46, 14)), left_arm=Limb(upper=(46, -10), lower=(-46, 14)),
         right_leg=Limb(upper=(12, 0), lower=(7, -2)), left_leg=Limb(upper=(12, 0), lower=(7, -2)), turns=(FRONT, FRONT, (20, 35))),
    Pose(name="lying down", words=("lying down", "lying on the ground", "lying on the back"), right_arm=Limb(upper=(10, 6), lower=(6, 14)),
         left_arm=Limb(upper=(10, 4), lower=(6, 30)), right_leg=Limb(upper=(4, 4), lower=(4, 0)),
         left_leg=Limb(upper=(4, 46), lower=(4, -42)), turns=((64, 84),), lying=True),
    Pose(name="carrying", words=("carrying a box", "holding a parcel", "carrying a parcel"), right_arm=Limb(upper=(10, 14), lower=(-4, 82)),
         left_arm=Limb(upper=(10, 14), lower=(-4, 82)), right_leg=Limb(upper=(5, 10), lower=(4, 0)), left_leg=Limb(upper=(5, -8), lower=(4, -14)),
         turns=(FRONT, (35, 60), SIDE_ON), prop="parcel"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """Lengths and widths of a body."""

    head: float
    """Radius."""
    neck: float
    trunk: float
    """From the shoulders to the hips."""
    shoulders: float
    """Half of what lies between the joints."""
    hips: float
    upper_arm: float
    lower_arm: float
    upper_leg: float
    lower_leg: float
    girth: float = 1.0
    """Factor on all widths but the head's."""


GROWN = Build(head=0.104, neck=0.03, trunk=0.265, shoulders=0.1, hips=0.05, upper_arm=0.14, lower_arm=0.13,
              upper_leg=0.205, lower_leg=0.2)  # fmt: skip
SMALL = Build(head=0.1, neck=0.016, trunk=0.185, shoulders=0.07, hips=0.036, upper_arm=0.095, lower_arm=0.088,
              upper_leg=0.125, lower_leg=0.12, girth=0.8)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of person."""

    words: tuple[str, ...]
    build: Build
    outfits: tuple[str, ...]
    hair: tuple[str, ...]
    bearded: float = 0.0
    """How often."""
    grey: bool = False


KINDS: tuple[Kind, ...] = (
    Kind(words=("woman", "woman", "lady", "person"), build=replace(GROWN, shoulders=0.09, girth=0.92),
         outfits=("dress", "dress", "shirt", "sweater", "skirt", "coat"), hair=("long", "long", "bun", "ponytail", "bob", "curly")),
    Kind(words=("man", "man", "guy", "person"), build=GROWN, outfits=("shirt", "t-shirt", "sweater", "suit", "coat", "shorts"),
         hair=("short", "short", "short", "curly", "bald"), bearded=0.25),
    Kind(words=("girl", "girl", "little girl", "child"), build=SMALL, outfits=("dress", "skirt", "t-shirt", "overalls"),
         hair=("long", "bob", "ponytail", "bun")),
    Kind(words=("boy", "boy", "little boy", "child"), build=SMALL, outfits=("t-shirt", "shorts", "sweater", "overalls"),
         hair=("short", "short", "curly")),
    Kind(words=("old woman", "grandmother"), build=replace(GROWN, shoulders=0.088, girth=1.04, lower_leg=0.18),
         outfits=("dress", "skirt", "coat"), hair=("bun", "curly", "bob"), grey=True),
    Kind(words=("old man", "grandfather"), build=replace(GROWN, lower_leg=0.185, girth=1.05), outfits=("shirt", "sweater", "suit"),
         hair=("short", "bald"), bearded=0.5, grey=True),
)  # fmt: skip

KIND_ODDS: tuple[float, ...] = (0.28, 0.28, 0.18, 0.18, 0.04, 0.04)

SKINS: tuple[RGB, ...] = (
    (255, 219, 190), (250, 205, 168), (234, 180, 136), (203, 145, 100), (158, 104, 70), (112, 72, 50),
)  # fmt: skip

HAIRS: tuple[tuple[str, RGB], ...] = (
    ("black", (42, 36, 40)), ("brown", (104, 66, 42)), ("brown", (74, 48, 36)),
    ("blond", (240, 200, 104)), ("red", (196, 84, 38)),
)  # fmt: skip

GREY: tuple[str, RGB] = ("grey", (206, 208, 212))

TROUSERS: tuple[RGB, ...] = (
    (58, 92, 160), (44, 62, 112), (60, 60, 70), (120, 92, 66), (150, 150, 156), (92, 104, 72),
)  # fmt: skip

SHOES: tuple[RGB, ...] = ((92, 58, 40), (40, 40, 46), (226, 228, 234), (200, 60, 52))

SUITS: frozenset[str] = frozenset({"black", "blue", "brown", "white"})
"""Colours that suits come in."""

TUCKED: frozenset[str] = frozenset({"dress", "skirt", "overalls"})
"""Outfits whose upper half ends at the waist."""

GARMENTS: dict[str, tuple[str, ...]] = {
    "dress": ("a {} dress", "a {} dress"), "shirt": ("a {} shirt",), "t-shirt": ("a {} t-shirt", "a {} shirt"),
    "sweater": ("a {} sweater", "a {} pullover"), "skirt": ("a {} skirt",), "suit": ("a {} suit",),
    "coat": ("a {} coat", "a {} jacket"), "shorts": ("{} shorts",), "overalls": ("{} overalls", "{} dungarees"),
}  # fmt: skip
"""How captions name an outfit; the braces stand for its colour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """Somebody before they are drawn."""

    who: str
    pose: Pose
    """As it is held this time, a little off the named one."""
    build: Build
    outfit: str
    colour: str
    """Of the garment that the outfit is named after."""
    turn: float
    """Degrees, 0.0 from the front, 90.0 looking to the right."""
    mirrored: bool
    hair: str
    hair_name: str
    beard: bool
    dyes: tuple[RGB, ...]
    """By `Dye`."""
    caption: str
    """Who it is and what they do: "a woman in a red dress waving"."""


SKIN, HAIR, TOP, BOTTOM, SLEEVE, SHIN, SHOE, DARK, MOUTH, BLUSH, WOOD, TRIM, SHIRT = range(13)
"""Places in `Figure.dyes`."""


def imagine(rng: Rng, pose: str = "") -> Figure:
    """Think up somebody; `pose` is the name of one, or any will do."""
    kind = KINDS[int(rng.choice(len(KINDS), p=KIND_ODDS))]
    held = pick(rng, [p for p in POSES if not pose or p.name == pose])
    outfit, hair = pick(rng, kind.outfits), pick(rng, kind.hair)
    colour = pick(rng, COLOURS)
    if outfit == "suit":
        colour = pick(rng, [c for c in COLOURS if c.name in SUITS])
    hair_name, hair_rgb = GREY if kind.grey else pick(rng, HAIRS)
    who = pick(rng, kind.words)
    low, high = pick(rng, held.turns)
    girth = kind.build.girth * float(rng.choice([0.9, 1.0, 1.0, 1.12]))
    beard = bool(rng.random() < kind.bearded)
    return Figure(
        who=who, pose=loosened(rng, held), build=replace(kind.build, girth=girth), outfit=outfit,
        colour=colour.name, turn=float(rng.uniform(low, high)), mirrored=bool(rng.random() < 0.5), hair=hair,
        hair_name=hair_name, beard=beard, dyes=_dyes(rng, outfit, colour.rgb, hair_rgb),
        caption=_phrase(rng, who, outfit, colour.name, hair, hair_name, held, beard=beard),
    )  # fmt: skip


def loosened(rng: Rng, pose: Pose, by: float = 6.0) -> Pose:
    """The pose as another person would take it; `by` is the deviation in degrees."""

    def near(angles: Angles) -> Angles:
        return angles[0] + by * 0.7 * float(rng.normal()), angles[1] + by * float(rng.normal())

    def loose(limb: Limb) -> Limb:
        return Limb(upper=near(limb.upper), lower=near(limb.lower))

    return replace(
        pose, right_arm=loose(pose.right_arm), left_arm=loose(pose.left_arm), right_leg=loose(pose.right_leg),
        left_leg=loose(pose.left_leg), lean=(pose.lean[0] + 2 * float(rng.normal()), pose.lean[1] + 2 * float(rng.normal())),
    )  # fmt: skip


def _dyes(rng: Rng, outfit: str, colour: RGB, hair: RGB) -> tuple[RGB, ...]:
    skin, trousers, shoe = pick(rng, SKINS), pick(rng, TROUSERS), pick(rng, SHOES)
    # White cloth is seen on white paper, and no cloth passes for skin.
    paper = (232, 236, 244)
    colour = paper if min(colour) > 245 else colour
    other = pick(
        rng,
        [
            c.rgb
            for c in COLOURS
            if c.rgb != colour and min(c.rgb) < 245 and _apart(c.rgb, skin) > 110
        ],
    )
    top, bottom, sleeve, shin = colour, trousers, colour, trousers
    if outfit == "dress":
        bottom, sleeve, shin = colour, (skin, colour)[rng.integers(2)], skin
    elif outfit == "skirt":
        top, bottom, sleeve, shin = other, colour, other, skin
    elif outfit == "shorts":
        top, bottom, sleeve, shin = other, colour, skin, skin
    elif outfit == "t-shirt":
        sleeve = skin
    elif outfit == "suit":
        bottom = shin = colour
    elif outfit == "overalls":
        top, bottom, sleeve, shin = other, colour, other, colour
    dark = (52, 38, 36)
    blush = _mixed(skin, (238, 96, 84), 0.35)
    mouth = _mixed(skin, (150, 30, 34), 0.75)
    return (
        skin,
        hair,
        top,
        bottom,
        sleeve,
        shin,
        shoe,
        dark,
        mouth,
        blush,
        (188, 138, 88),
        (226, 204, 160),
        other,
    )


def _apart(a: RGB, b: RGB) -> int:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def _mixed(a: RGB, b: RGB, share: float) -> RGB:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _phrase(
    rng: Rng, who: str, outfit: str, colour: str, hair: str, hair_name: str, pose: Pose, *, beard: bool
) -> str:  # fmt: skip
    """Who it is, in one of the ways people say it; always with a garment, a pose or both."""
    someone = who if rng.random() < 0.15 else f"{article(who)} {who}"
    worn = pick(rng, GARMENTS[outfit]).format(colour)
    if worn.startswith("a ") and worn[2] in "aeiou":
        worn = f"an {worn[2:]}"
    does, dice = pick(rng, pose.words), rng.random()
    if hair != "bald" and hair_name != "grey" and rng.random() < 0.12:
        someone = f"{someone} with {hair_name} hair"
        return f"{someone} {does}" if "with" not in does else f"{someone} in {worn}"
    if beard and rng.random() < 0.3:
        return f"{someone} with a beard in {worn}"
    if dice < 0.45:
        return f"{someone} in {worn} {does}"
    if dice < 0.55:
        wearing = "wearing" if rng.random() < 0.5 else "in"
        return f"{someone} {wearing} {worn}"
    if dice < 0.65 and " " not in does:
        return f"{article(does)} {does} {who}"
    return f"{someone} {does}"


def grammar() -> str:
    """A pattern that matches whatever a figure's caption can be, and some more."""

    def any_of(words: Iterable[str]) -> str:
        return f"(?:{'|'.join(sorted(set(words), key=len, reverse=True))})"

    who = any_of(word for kind in KINDS for word in kind.words)
    colour = any_of(colour.name for colour in COLOURS)
    worn = any_of(
        form.replace("a {}", "an? {}").format(colour)
        for forms in GARMENTS.values()
        for form in forms
    )
    does = any_of(word for pose in POSES for word in pose.words)
    hair = any_of(name for name, _ in HAIRS)
    marks = f"(?: with (?:{hair} hair|a beard))?(?: (?:in|wearing) {worn})?"
    return f"(?:(?:an? )?{who}{marks}(?: {does})?|an? {does} {who})"


# --- Bones ------------------------------------------------------------------------------------


def _direction(side: int, angles: Angles) -> Vector:
    """Unit vector of a bone; `side` is 1 on the person's left and -1 on their right."""
    spread, swing = np.radians(angles)
    return np.array([
        side * np.sin(spread), np.cos(spread) * np.cos(swing), np.cos(spread) * np.sin(swing),
    ])  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Bones:
    """Where the joints are. Pairs are right and left, the person's own."""

    head: Vector
    """Middle of the skull."""
    neck: Vector
    hip: Vector
    """In the middle between both."""
    shoulders: tuple[Vector, Vector]
    elbows: tuple[Vector, Vector]
    wrists: tuple[Vector, Vector]
    hips: tuple[Vector, Vector]
    knees: tuple[Vector, Vector]
    ankles: tuple[Vector, Vector]
    toes: tuple[Vector, Vector]


def bones_of(figure: Figure) -> Bones:
    """The joints as the body itself sees them: it looks along z."""
    pose, build = figure.pose, figure.build
    limbs = [(pose.right_arm, pose.right_leg), (pose.left_arm, pose.left_leg)]
    if figure.mirrored:
        limbs.reverse()
    leaning = -pose.lean[0] if figure.mirrored else pose.lean[0]
    up = -_direction(1, (-leaning, -pose.lean[1]))
    across = np.array([-up[1], up[0], 0.0])
    hip = np.zeros(3)
    neck = hip + up * build.trunk
    pairs: dict[str, list[Vector]] = {
        name: [] for name in ("shoulders", "elbows", "wrists", "hips", "knees", "ankles", "toes")
    }
    for side, (arm, leg) in zip((-1, 1), limbs, strict=True):
        shoulder = neck + side * build.shoulders * across - up * 0.02
        elbow = shoulder + build.upper_arm * _direction(side, arm.upper)
        socket = hip + np.array([side * build.hips * build.girth, 0.0, 0.0])
        knee = socket + build.upper_leg * _direction(side, leg.upper)
        ankle = knee + build.lower_leg * _direction(side, leg.lower)
        foot = _direction(side, (16.0, leg.lower[1] + (34.0 if pose.lying else 76.0)))
        found = (shoulder, elbow, elbow + build.lower_arm * _direction(side, arm.lower), socket, knee, ankle,
                 ankle + 0.062 * foot + np.array([0, 0.012, 0]))  # fmt: skip
        for joint, points in zip(found, pairs.values(), strict=True):
            points.append(joint)
    # The head keeps itself upright, whatever the trunk does.
    upright = up * 0.6 + np.array([0, -0.4, 0])
    head = neck + upright / np.linalg.norm(upright) * (build.neck + build.head)
    return Bones(head=head, neck=neck, hip=hip, **{k: (v[0], v[1]) for k, v in pairs.items()})


# --- Flesh and cloth --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A round cone between two points."""

    a: Vector
    b: Vector
    ra: float
    rb: float
    dye: int
    flat: float = 1.0
    """How far it bulges towards the viewer, as a share of its radius."""
    faces: Vector | None = None
    """Where it looks, if it lies on a surface and is gone once that turns away."""


def _chain(points: list[Vector], radii: list[float], dye: int) -> list[Part]:
    return [
        Part(a=points[k], b=points[k + 1], ra=radii[k], rb=radii[k + 1], dye=dye)
        for k in range(len(points) - 1)
    ]


def _between(a: Vector, b: Vector, share: float) -> Vector:
    return a + (b - a) * share


def parts_of(figure: Figure, bones: Bones) -> list[Part]:
    """The whole body in its clothes, as the body itself sees it."""
    return [
        *_trunk(figure, bones), *_arms(figure, bones), *_legs(figure, bones), *_head(figure, bones),
        *_prop(figure, bones),
    ]  # fmt: skip


def _trunk(figure: Figure, bones: Bones) -> list[Part]:
    build, outfit = figure.build, figure.outfit
    g, wide = build.girth, build.shoulders
    chest, waist = _between(bones.neck, bones.hip, 0.26), _between(bones.neck, bones.hip, 0.68)
    across = (bones.shoulders[1] - bones.shoulders[0]) / (2 * wide)
    dye = BOTTOM if outfit == "overalls" else TOP
    parts = [
        Part(a=bones.neck, b=bones.head, ra=0.034 * g, rb=0.034 * g, dye=SKIN),
        Part(a=bones.hips[0], b=bones.hips[1], ra=0.056 * g, rb=0.056 * g, dye=BOTTOM),
    ]
    for side in (-1, 1):
        top = chest + side * across * wide * 0.46
        low = waist + side * across * build.hips * 0.62
        hem = _between(low, bones.hips[(side + 1) // 2], 0.3 if outfit in TUCKED else 0.9)
        parts += _chain([bones.shoulders[(side + 1) // 2] - side * across * 0.012, top, low, hem],
                        [0.036 * g, 0.062 * g, 0.056 * g, 0.06 * g], dye)  # fmt: skip
        if outfit == "overalls":
            parts.append(
                Part(
                    a=bones.shoulders[(side + 1) // 2] - side * across * 0.02,
                    b=top,
                    ra=0.042 * g,
                    rb=0.068 * g,
                    dye=TOP,
                )
            )
    parts.append(Part(a=chest, b=waist, ra=0.066 * g, rb=0.06 * g, dye=dye))
    if outfit not in TUCKED:
        hem = _between(waist, bones.hip, 0.9)
        sides = [hem + side * across * build.hips * 0.9 for side in (-1, 1)]
        parts.append(Part(a=sides[0], b=sides[1], ra=0.06 * g, rb=0.06 * g, dye=TOP))
    forward = np.array([0.0, 0.0, 1.0])
    if outfit == "overalls":
        for side in (-1, 1):
            strap = chest + side * across * wide * 0.36 + forward * 0.056 * g
            parts.append(
                Part(
                    a=bones.shoulders[(side + 1) // 2] * 0.7
                    + bones.neck * 0.3
                    + forward * 0.034 * g,
                    b=strap,
                    ra=0.014,
                    rb=0.014,
                    dye=BOTTOM,
                )
            )
    if outfit in {"suit", "coat"}:
        inner = SHIRT if outfit == "coat" else TRIM
        low = 0.75 if outfit == "suit" else 1.0
        parts.append(
            Part(
                a=bones.neck + forward * 0.045 * g,
                b=_between(chest, waist, low) + forward * 0.054 * g,
                ra=0.03 * g,
                rb=0.008,
                dye=inner,
            )
        )
        if outfit == "suit":
            parts.append(
                Part(
                    a=bones.neck + forward * 0.07 * g,
                    b=_between(chest, waist, 0.5) + forward * 0.068 * g,
                    ra=0.008,
                    rb=0.011,
                    dye=MOUTH,
                )
            )
    if outfit == "sweater":
        parts.append(
            Part(
                a=bones.neck,
                b=_between(bones.neck, bones.head, 0.2),
                ra=0.045 * g,
                rb=0.043 * g,
                dye=TOP,
            )
        )
    return parts


def _arms(figure: Figure, bones: Bones) -> list[Part]:
    g = figure.build.girth
    parts: list[Part] = []
    bare = figure.outfit == "t-shirt" or figure.outfit == "shorts"
    for shoulder, elbow, wrist in zip(bones.shoulders, bones.elbows, bones.wrists, strict=True):
        radii = [0.04 * g, 0.03 * g, 0.022 * g]
        hand = wrist + (wrist - elbow) / np.linalg.norm(wrist - elbow) * 0.026
        parts += _chain([shoulder, elbow, wrist], radii, SKIN if bare else SLEEVE)
        cuff = _between(shoulder, elbow, 0.72)
        if figure.dyes[SLEEVE] != figure.dyes[TOP] or bare:
            parts.append(Part(a=shoulder, b=cuff, ra=0.045 * g, rb=0.042 * g, dye=TOP))
        elif not bare:
            parts.append(Part(a=elbow, b=wrist, ra=0.032 * g, rb=0.03 * g, dye=SLEEVE))
        parts.append(
            Part(a=_between(elbow, wrist, 0.95), b=hand, ra=0.022 * g, rb=0.029 * g, dye=SKIN)
        )
    return parts


def _legs(figure: Figure, bones: Bones) -> list[Part]:
    g, outfit = figure.build.girth, figure.outfit
    parts: list[Part] = []
    skirted = outfit in {"dress", "skirt"}
    bare = skirted or outfit == "shorts"
    for hip, knee, ankle, toe in zip(
        bones.hips, bones.knees, bones.ankles, bones.toes, strict=True
    ):
        thigh, calf, foot = 0.054 * g, 0.04 * g, 0.028 * g
        parts += _chain([hip, knee], [thigh, calf], SKIN if bare else BOTTOM)
        parts += _chain([knee, _between(knee, ankle, 0.4), ankle], [calf, 0.038 * g, foot], SHIN)
        if not bare:
            parts.append(
                Part(a=knee, b=_between(knee, ankle, 0.93), ra=0.042 * g, rb=0.037 * g, dye=SHIN)
            )
        if outfit == "shorts":
            parts.append(
                Part(a=hip, b=_between(hip, knee, 0.75), ra=0.06 * g, rb=0.057 * g, dye=BOTTOM)
            )
        parts += _chain(
            [ankle + np.array([0, 0.008, 0]), _between(ankle, toe, 0.6), toe],
            [0.033, 0.031, 0.03],
            SHOE,
        )
    if skirted:
        parts += _skirt(figure, bones)
    if outfit == "coat":
        for hip, knee in zip(bones.hips, bones.knees, strict=True):
            parts.append(
                Part(
                    a=_between(bones.neck, hip, 0.7),
                    b=_between(hip, knee, 0.42),
                    ra=0.066 * g,
                    rb=0.074 * g,
                    dye=TOP,
                )
            )
    return parts


def _skirt(figure: Figure, bones: Bones) -> list[Part]:
    """Cloth from the waist to above the knees, held apart by the legs."""
    g = figure.build.girth
    waists = [_between(bones.neck, hip, 0.7) for hip in bones.hips]
    hems = [_between(hip, knee, 0.8) for hip, knee in zip(bones.hips, bones.knees, strict=True)]
    across = np.array([1.0, 0.0, 0.0])
    parts: list[Part] = []
    edge = [hem + across * sign * 0.05 * g for hem, sign in zip(hems, (-1, 1), strict=True)]
    for share in np.linspace(0, 1, 7):
        hip, hem = _between(*bones.hips, share), _between(*edge, share)
        parts += _chain(
            [_between(*waists, share), hip, hem], [0.06 * g, 0.066 * g, 0.054 * g], BOTTOM
        )
    parts.append(Part(a=edge[0], b=edge[1], ra=0.056 * g, rb=0.056 * g, dye=BOTTOM, flat=0.95))
    return parts


def _head(figure: Figure, bones: Bones) -> list[Part]:
    r, c = figure.build.head, bones.head
    old = figure.who.startswith(("old", "grand"))

    def at(x: float, y: float, out: float = 1.0) -> Vector:
        """On the face: x and y in radii from its middle; `out` 1.0 is the skin."""
        depth = np.sqrt(max(0.0, 1 - x * x - y * y))
        return c + r * np.array([x, y, depth]) * out

    def dot(x: float, y: float, size: float, dye: int, out: float = 1.0, tall: float = 0.0) -> Part:
        return Part(a=at(x, y - tall, out), b=at(x, y + tall, out), ra=size * r, rb=size * r, dye=dye, flat=0.5,
                    faces=None if dye == SKIN else at(x, y) - c)  # fmt: skip

    # A jaw a little below and before the skull makes it an egg, not a ball.
    parts = [
        Part(a=c, b=c + r * np.array([0, 0.16, 0.06]), ra=r, rb=0.9 * r, dye=SKIN),
        dot(0, 0.2, 0.13, SKIN, 1.06),
    ]
    for side in (-1, 1):
        ear = c + r * np.array([side * 0.98, 0.1, -0.02])
        parts += [
            Part(a=ear, b=ear, ra=0.2 * r, rb=0.2 * r, dye=SKIN),
            dot(side * 0.36, 0.02, 0.115, DARK, 0.97, 0.05),
            dot(side * 0.56, 0.3, 0.16, BLUSH, 0.95),
            Part(
                a=at(side * 0.22, -0.27, 1.0),
                b=at(side * 0.5, -0.25, 1.0),
                ra=0.05 * r,
                rb=0.04 * r,
                dye=HAIR,
                flat=0.5,
                faces=at(side * 0.36, -0.26) - c,
            ),
        ]
    smile = [at(x, 0.5 - 0.3 * x * x / 0.09 * 0.3, 1.0) for x in np.linspace(-0.3, 0.3, 5)]
    if figure.beard:
        parts += _chain([at(-0.78, 0.3), at(-0.6, 0.62), at(0, 0.86), at(0.6, 0.62), at(0.78, 0.3)],
                        [0.2 * r, 0.3 * r, 0.38 * r, 0.3 * r, 0.2 * r], HAIR)  # fmt: skip
        smile = [point + np.array([0, 0.02 * r, 0.3 * r]) for point in smile]
    parts += _chain(smile, [0.055 * r] * 5, MOUTH)
    return [*parts, *_hair(figure.hair, c, r, old=old)]


def _hair(cut: str, c: Vector, r: float, *, old: bool) -> list[Part]:
    def lock(
        a: tuple[float, float, float], b: tuple[float, float, float], ra: float, rb: float
    ) -> Part:
        return Part(a=c + r * np.array(a), b=c + r * np.array(b), ra=ra * r, rb=rb * r, dye=HAIR)

    if cut == "bald":
        sides = [lock((s * 0.86, -0.05, -0.3), (s * 0.7, 0.1, -0.6), 0.26, 0.3) for s in (-1, 1)]
        return sides if old else []
    cap = [
        lock((0, -0.26, -0.22), (0, -0.1, -0.34), 1.04, 1.0),
        lock((-0.5, -0.66, 0.36), (0.3, -0.8, 0.38), 0.32, 0.36),
        lock((0.3, -0.8, 0.38), (0.72, -0.5, 0.24), 0.36, 0.24),
    ]
    sides = (-1, 1)
    if cut == "long":
        return [*cap, *(lock((s * 0.82, -0.2, -0.2), (s * 0.92, 1.25, -0.4), 0.34, 0.3) for s in sides),
                lock((0, 0, -0.5), (0, 1.35, -0.62), 0.9, 0.62)]  # fmt: skip
    if cut == "bob":
        return [*cap, *(lock((s * 0.84, -0.2, -0.16), (s * 0.82, 0.62, -0.2), 0.34, 0.36) for s in sides),
                lock((0, 0, -0.4), (0, 0.55, -0.5), 0.9, 0.8)]  # fmt: skip
    if cut == "bun":
        return [*cap, lock((0, -1.12, -0.42), (0, -1.2, -0.42), 0.42, 0.38)]
    if cut == "ponytail":
        return [
            *cap,
            lock((0, -0.5, -1.0), (0.1, -0.1, -1.5), 0.3, 0.36),
            lock((0.1, -0.1, -1.5), (0.15, 0.9, -1.5), 0.36, 0.16),
        ]
    if cut == "curly":
        ring = [(np.cos(t), np.sin(t)) for t in np.linspace(-0.25 * np.pi, 1.25 * np.pi, 9)]
        return [
            *cap,
            *(
                lock((x * 0.9, -0.2 - y * 0.86, -0.1), (x * 0.9, -0.2 - y * 0.86, -0.1), 0.4, 0.4)
                for x, y in ring
            ),
        ]
    return cap


def _prop(figure: Figure, bones: Bones) -> list[Part]:
    if figure.pose.prop == "stool":
        top = bones.hip[1] + 0.075 * figure.build.girth
        foot = max(a[1] for a in bones.ankles) + 0.02
        seat = [Part(a=np.array([-0.05, top, z]), b=np.array([0.05, top, z]), ra=0.026, rb=0.026, dye=WOOD)
                for z in np.linspace(-0.08, 0.09, 5)]  # fmt: skip
        return [*seat, *(
            Part(a=np.array([x, top, z]), b=np.array([x * 1.3, foot, z * 1.25]), ra=0.017, rb=0.014, dye=WOOD)
            for x in (-0.06, 0.06) for z in (-0.07, 0.08)
        )]  # fmt: skip
    if figure.pose.prop == "parcel":
        held = (bones.wrists[0] + bones.wrists[1]) / 2 + np.array([0, -0.045, 0.035])
        half = 0.075 * figure.build.girth
        rows, depths = np.linspace(-1, 1, 9) * half * 0.72, np.linspace(-0.055, 0.055, 6)
        box = [Part(a=held + np.array([-half, y, z]), b=held + np.array([half, y, z]), ra=0.018, rb=0.018, dye=WOOD, flat=0.3)
               for y in rows for z in depths]  # fmt: skip
        tape = [Part(a=held + np.array([0, rows[0], z]), b=held + np.array([0, rows[-1], z]), ra=0.02, rb=0.02, dye=TRIM, flat=0.5)
                for z in depths]  # fmt: skip
        return box + tape
    return []


# --- Seen from somewhere ----------------------------------------------------------------------


def view_of(figure: Figure) -> np.ndarray:
    """Rotation [3, 3] from the body's own directions to the picture's."""
    turn = np.radians(-figure.turn if figure.mirrored else figure.turn)
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    if not figure.pose.lying:
        return turned
    # Onto its back: a face that looked right looks up.
    down = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    return (down if not figure.mirrored else down.T) @ turned


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """A figure on a clear ground."""

    sprite: Any
    """[h, w, 4] uint8; its edges touch the figure."""
    person: Person
    """Its joints in pixels of the sprite."""
    height: Any
    """[h, w] float, 0.0–1.0: how far its surface comes towards the viewer; 0.0 where it is clear."""
    lift: float
    """Pixels between the sprite's lowest row and the ground."""


MARGIN = 2
"""Clear pixels round a figure."""


def draw(figure: Figure, side: int, style: str) -> Drawn:
    """The figure with `side` pixels along its longer side, in one of the drawn styles."""
    bones, view = bones_of(figure), view_of(figure)
    parts = [
        replace(p, a=view @ p.a, b=view @ p.b)
        for p in parts_of(figure, bones)
        if p.faces is None or (view @ p.faces)[2] > 0.2 * figure.build.head
    ]
    low = np.min([np.minimum(p.a - p.ra, p.b - p.rb) for p in parts], 0)
    high = np.max([np.maximum(p.a + p.ra, p.b + p.rb) for p in parts], 0)
    inner = side - 2 * MARGIN
    unit = inner / max(high[0] - low[0], high[1] - low[1])
    """Pixels of the sprite."""
    width, rows = (int(np.ceil((high[k] - low[k]) * unit)) + 2 * MARGIN for k in (0, 1))
    offset = np.array([low[0] - MARGIN / unit, low[1] - MARGIN / unit, 0.0])
    height, dye = _relief(parts, offset, unit * SCALE, (rows * SCALE, width * SCALE))
    sprite = _painted(height, dye, figure, style, unit * SCALE)
    bottom, top = float(low[2]), float(high[2])
    person = _person(figure, bones, view, height, offset, unit)
    solid = np.where(dye < 0, 0.0, (height - bottom) / max(1e-6, top - bottom))
    small = np.asarray(Image.fromarray(solid.astype(np.float32)).reduce(SCALE))
    return Drawn(sprite=sprite, person=person, height=small, lift=figure.pose.lift * unit)


def _relief(
    parts: list[Part], offset: Vector, unit: float, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Height of what is nearest at each pixel, and its dye; -inf and -1 where there is nothing."""
    height, dye = np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int8)
    for part in parts:
        a, b = (part.a - offset) * unit, (part.b - offset) * unit
        ra, rb = part.ra * unit, part.rb * unit
        left, top = (max(0, int(np.floor(min(a[k] - ra, b[k] - rb)))) for k in (0, 1))
        right, low = (
            min(shape[1 - k], int(np.ceil(max(a[k] + ra, b[k] + rb))) + 1) for k in (0, 1)
        )
        if right <= left or low <= top:
            continue
        y, x = np.mgrid[top:low, left:right].astype(np.float32)
        along = b - a
        length = float(along[0] ** 2 + along[1] ** 2)
        t = ((x + 0.5 - a[0]) * along[0] + (y + 0.5 - a[1]) * along[1]) / max(length, 1e-6)
        # A cone that points at the viewer shows its nearer end.
        t = np.clip(t, 0, 1) if length > 1 else np.full_like(x, float(along[2] > 0))
        radius = ra + (rb - ra) * t
        away = np.square(x + 0.5 - a[0] - t * along[0]) + np.square(y + 0.5 - a[1] - t * along[1])
        bulge = np.square(radius) - away
        z = (a[2] + t * along[2] + part.flat * np.sqrt(np.maximum(bulge, 0))) / unit
        there = (bulge > 0) & (z > height[top:low, left:right])
        height[top:low, left:right][there] = z[there]
        dye[top:low, left:right][there] = part.dye
    return height, dye


LIGHT = np.array([-0.42, -0.58, 0.7])
"""Towards the lamp, from the left above."""


def _painted(height: np.ndarray, dye: np.ndarray, figure: Figure, style: str, unit: float) -> Any:
    """The sprite [h, w, 4] uint8, reduced."""
    solid = dye >= 0
    z = np.where(solid, height, height[solid].min()).astype(np.float32)
    colours = np.array(figure.dyes, np.float32)[np.where(solid, dye, 0)]
    lit = _light(z, unit)
    crease = _creases(z, solid, dye, unit)
    if style == "3d render":
        shade = 0.66 + 0.44 * lit
        colours = (
            colours * shade[..., None]
            + (255 - colours) * (np.clip(lit, 0, 1) ** 14 * 0.3)[..., None]
        )
        colours *= (1 - 0.28 * _blurred(crease, unit * 0.012))[..., None]
    elif style == "glossy cartoon":
        colours *= (0.84 + 0.22 * lit)[..., None]
        colours += (255 - colours) * (0.22 * np.clip((lit - 0.86) * 9, 0, 1))[..., None]
        rim = np.maximum(crease, _rim(solid, unit))
        colours = (
            colours * (1 - 0.62 * rim)[..., None] + np.array([30, 20, 30]) * (0.3 * rim)[..., None]
        )
    else:
        if style == "flat vector":
            colours *= np.where(_blurred(lit, unit * 0.008) < 0.3, 0.87, 1.0)[..., None]
        colours *= (1 - np.maximum(0.24 * crease, 0.14 * _rim(solid, unit)))[..., None]
    rgba = np.dstack([np.clip(colours, 0, 255), np.where(solid, 255.0, 0.0)]).astype(np.uint8)
    picture = Image.fromarray(rgba).convert("RGBa").reduce(SCALE)
    return np.asarray(picture.convert("RGBA"))


def _light(z: np.ndarray, unit: float) -> np.ndarray:
    """How much light falls on each place, about 0.0–1.0."""
    # Soft where two parts meet, and no cliffs at outlines.
    smooth = _blurred(z, unit * 0.006)
    down, across = (np.clip(slope * unit, -2.2, 2.2) for slope in np.gradient(smooth))
    fall = (-across * LIGHT[0] - down * LIGHT[1] + LIGHT[2]) / np.sqrt(1 + across**2 + down**2)
    return np.clip(fall, -0.2, 1)


def _creases(z: np.ndarray, solid: np.ndarray, dye: np.ndarray, unit: float) -> np.ndarray:
    """1.0 along lines where something of the same dye stands clearly in front, else 0.0."""
    reach = max(1, round(unit * 0.006))
    front = _highest(z, reach)
    face = np.isin(dye, (DARK, MOUTH, BLUSH))
    return (((front - z) > 0.022) & solid & ~face).astype(np.float32)


def _highest(z: np.ndarray, reach: int) -> np.ndarray:
    import cv2

    return cv2.dilate(z, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))


def _rim(solid: np.ndarray, unit: float) -> np.ndarray:
    """1.0 along the inside of the outline."""
    import cv2

    reach = max(1, round(unit * 0.008))
    inner = cv2.erode(solid.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return (solid & (inner == 0)).astype(np.float32)


def _blurred(plane: np.ndarray, sigma: float) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(plane, (0, 0), max(0.5, sigma))


TURNED_AWAY = {"nose": -0.2, "eye": 0.12, "ear": -0.2}
"""A point of the face that looks less towards the viewer than this (1.0 is straight) is not there."""


def _person(
    figure: Figure, bones: Bones, view: np.ndarray, height: np.ndarray, offset: Vector, unit: float
) -> Person:
    """The 18 points in pixels of the sprite."""
    r, g = figure.build.head, figure.build.girth

    def seen(place: Vector, depth: float) -> Point:
        """`depth` is how far below the surface the joint lies."""
        x, y, z = view @ place
        column, row = (x - offset[0]) * unit, (y - offset[1]) * unit
        rows, columns = height.shape
        over = height[min(rows - 1, int(row * SCALE)), min(columns - 1, int(column * SCALE))]
        hidden = over - z > depth + 0.035
        return Point(float(column), float(row), HIDDEN if hidden else 1.0)

    def face(what: str, x: float, y: float, z: float) -> Point:
        way = np.array([x, y, z]) / np.linalg.norm((x, y, z))
        if (view @ way)[2] < TURNED_AWAY[what]:
            return ABSENT
        place = bones.head + r * np.array([x, y, z])
        point = seen(place, 0.05)
        return Point(point.x, point.y, 1.0)

    def pair(points: tuple[Vector, Vector], depth: float) -> tuple[Point, Point]:
        return seen(points[0], depth * g), seen(points[1], depth * g)

    shoulders, elbows, wrists = (
        pair(bones.shoulders, 0.045),
        pair(bones.elbows, 0.034),
        pair(bones.wrists, 0.03),
    )
    hips, knees, ankles = pair(bones.hips, 0.064), pair(bones.knees, 0.05), pair(bones.ankles, 0.04)
    middle = (bones.shoulders[0] + bones.shoulders[1]) / 2
    nose, neck = face("nose", 0, 0.2, 0.95), seen(middle, 0.06)
    return Person((
        nose, neck, shoulders[0], elbows[0], wrists[0], shoulders[1], elbows[1], wrists[1],
        hips[0], knees[0], ankles[0], hips[1], knees[1], ankles[1],
        face("eye", -0.36, 0.02, 0.9), face("eye", 0.36, 0.02, 0.9), face("ear", -0.95, 0.1, 0.0), face("ear", 0.95, 0.1, 0.0),
    ))  # fmt: skip
