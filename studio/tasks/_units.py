"""Control units: a map, the ControlNet that reads it, and how far it is followed."""

from dataclasses import replace
from math import log
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen
from PIL.Image import Image
from pydantic import Field
from pydantic.dataclasses import dataclass

from studio.checkpoints.catalog import Checkpoint
from studio.core.errors import InvalidRequest
from studio.core.geometry import Box, Size
from studio.core.requests import STRICT, ImageRef, Name
from studio.families._steering import SOFT_EDGES, Balance
from studio.tasks._maps import check_map, named_for, require_weights
from studio.tasks._maps import named as named_map
from studio.tasks._over import fitted, flat
from studio.tasks._poses import read_pose
from studio.tasks._task import Control, Facts, Tools, within

Weight = Annotated[float, Ge(0), Le(2)]
Share = Annotated[float, Ge(0), Le(1)]
EDGES, POSE = "edges", "pose"
FITTED = {
    "stretch": "it was pulled into it",
    "crop": "what sticks out was cut off",
    "pad": "its edges were drawn out",
}
ROUNDED = 0.03
"""Logarithm of a ratio of sides: 512 px are rounded to 496 or 528 by a checkpoint that works in
multiples of 32 px."""


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Unit:
    """One map that steers the painting. Give `image` to have it made, `map` to use your own, or for
    kind pose the people themselves as `pose`."""

    kind: Name = "edges"
    """What the map shows: edges, depth, pose, normals, segments, tile or shuffle."""
    image: ImageRef | None = None
    """A picture to take the map from."""
    map: ImageRef | None = None
    """A map as it is: bright edges on black, near things bright, or an OpenPose skeleton."""
    pose: dict[str, Any] | None = None
    """People as OpenPose writes them: `people`, each with `pose_keypoints_2d`, and `canvas_width`
    and `canvas_height`. Beside an `image` they are those in it, and are not looked for again."""
    preprocessor: Name | None = None
    """What makes the map of `image`; the default is the kind's first one that needs no weights.
    Beside a `map` of edges it tells those that tell soft edges from lines which ones these are."""
    params: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Settings of the preprocessor, as its schema says."""
    controlnet: Name | None = None
    """Id of the ControlNet; the default is the first of that kind that fits the checkpoint. A unit
    of weight 0 needs none."""
    weight: Weight = 1.0
    """How strongly the map is followed: 0 not at all, 1 as trained, 2 at the most."""
    start: Share = 0.0
    """Share of the steps after which it sets in."""
    end: Share = 1.0
    """Share of the steps after which it lets go."""
    balance: Balance = "balanced"
    """Which matters more where prompt and map disagree, as far as the checkpoint can weigh them: its
    `balances` say so."""
    resize: Literal["stretch", "crop", "pad"] = "crop"
    """How the map is brought to the size of the picture."""


Units = Annotated[tuple[Unit, ...], MaxLen(4)]


def resolve_units(
    units: tuple[Unit, ...], checkpoint: Checkpoint, facts: Facts
) -> tuple[Unit, ...]:
    """Fixes preprocessor, its settings, ControlNet and balance of each unit. Raises
    `InvalidRequest`."""
    return tuple(_resolved(unit, checkpoint, facts) for unit in units)


def idle(units: tuple[Unit, ...], steps: int) -> tuple[str, ...]:
    """A sentence for each unit that acts in none of so many steps, though it has a weight."""
    return tuple(
        f"The map of {unit.kind} does nothing: none of the {steps} steps lies between "
        f"{unit.start:g} and {unit.end:g}."
        for unit in weighty(units)
        if not any(within(step, steps, unit.start, unit.end) for step in range(steps))
    )


def unweighed(units: tuple[Unit, ...], checkpoint: Checkpoint) -> tuple[str, ...]:
    """A sentence if prompt and map cannot be weighed against each other as a unit asks."""
    if all(unit.balance in checkpoint.balances for unit in weighty(units)):
        return ()
    return (f"{checkpoint.label} cannot weigh prompt and map that way: both matter alike.",)


def misfits(units: tuple[Unit, ...], shape: Size, facts: Facts) -> tuple[str, ...]:
    """A sentence for each map of one's own that is of another shape than the picture that it steers,
    which has that of `shape`."""
    return tuple(
        f"The map of {unit.kind} ({size[0]}×{size[1]} px) has another shape than the picture: "
        f"{FITTED[unit.resize]}."
        for unit in weighty(units)
        if unit.map is not None and not _alike(size := facts.size(unit.map), shape)
    )


def _alike(one: Size, other: Size) -> bool:
    """Whether they are of one shape, but for what rounding to a few pixels makes of it."""
    return abs(log(one[0] * other[1] / (one[1] * other[0]))) < ROUNDED


def _resolved(unit: Unit, checkpoint: Checkpoint, facts: Facts) -> Unit:
    if (unit.map is not None) == (unit.image is not None or unit.pose is not None):
        raise InvalidRequest(
            "A control unit needs a picture to take the map from, or a map, and not both.",
            "Give its 'image', its 'map' or its 'pose'.",
            field="units",
        )
    if unit.start >= unit.end:
        raise InvalidRequest(
            f"A control unit ends ({unit.end:g}) before it starts ({unit.start:g}).",
            "Choose a start below the end.",
            field="units",
        )
    named = unit.image or unit.map
    size = facts.size(named) if named else None
    if unit.pose is not None:
        unit = replace(unit, pose=_posed(unit, unit.pose, size))
    if unit.balance not in checkpoint.balances:
        unit = replace(unit, balance="balanced")
    if unit.weight or unit.controlnet is not None:
        unit = replace(unit, controlnet=_net(unit, checkpoint, facts))
    if unit.image is None:
        if unit.preprocessor is not None:
            named_for(unit.kind, unit.preprocessor)
        return unit
    name, params = check_map(unit.preprocessor, unit.kind, unit.params)
    if unit.weight and unit.pose is None:
        require_weights(name, facts)
    return replace(unit, preprocessor=name, params=params)


def _net(unit: Unit, checkpoint: Checkpoint, facts: Facts) -> str:
    """Id of the ControlNet that reads the map of a unit."""
    found = facts.controlnet(unit.controlnet, unit.kind, checkpoint)
    if found.types and unit.kind not in found.kinds:
        raise InvalidRequest(
            f"The ControlNet '{found.label}' knows no maps of kind '{unit.kind[:40]}'.",
            f"It knows {', '.join(found.kinds)}.",
            field="units",
        )
    return found.id


def _posed(unit: Unit, pose: dict[str, Any], size: Size | None) -> dict[str, Any]:
    if unit.kind != POSE:
        raise InvalidRequest(
            f"People steer poses, and this control unit shows {unit.kind}.",
            f"Make its kind '{POSE}', or leave its 'pose' out.",
            field="units",
        )
    return read_pose(pose, size, field="units").data


def weighty(units: tuple[Unit, ...]) -> tuple[Unit, ...]:
    """Without those of weight 0: they need neither map nor ControlNet, since they do nothing."""
    return tuple(unit for unit in units if unit.weight)


def maps(units: tuple[Unit, ...], tools: Tools) -> tuple[Image, ...]:
    """The map of each unit that has a weight, RGB in the size of its picture. Raises
    `StudioError`."""
    return tuple(_map(unit, tools) for unit in weighty(units))


def _map(unit: Unit, tools: Tools) -> Image:
    if unit.pose is not None:
        return read_pose(unit.pose).image
    if unit.map is not None:
        return flat(tools.picture(unit.map))
    picture = flat(tools.picture(unit.image or ""))
    return tools.control_map(unit.preprocessor or "", unit.params, picture).image


def controls(
    units: tuple[Unit, ...],
    drawn: tuple[Image, ...],
    size: Size,
    *,
    picture: Size | None = None,
    box: Box | None = None,
) -> tuple[Control, ...]:
    """The units that have a weight, with their maps in the size of the canvas.

    Where only a `box` of a picture of size `picture` is painted, the map is that part of it.
    """
    found: list[Control] = []
    for unit, image in zip(weighty(units), drawn, strict=True):
        if picture is not None and box is not None:
            shown = fitted(image, picture, unit.resize).crop(box.corners).resize(size)
        else:
            shown = fitted(image, size, unit.resize)
        found.append(
            Control(
                controlnet=unit.controlnet or "",
                shows=_shows(unit),
                map=shown,
                weight=unit.weight,
                start=unit.start,
                end=unit.end,
                balance=unit.balance,
            )
        )
    return tuple(found)


def _shows(unit: Unit) -> str:
    soft = unit.preprocessor is not None and named_map(unit.preprocessor).soft
    return SOFT_EDGES if unit.kind == EDGES and soft else unit.kind


def refs(units: tuple[Unit, ...]) -> tuple[str, ...]:
    """The pictures that units name."""
    return tuple(ref for unit in units for ref in (unit.image, unit.map) if ref is not None)
