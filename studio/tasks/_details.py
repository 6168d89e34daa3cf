"""A picture of any size painted over a tile at a time, to bring details into what was enlarged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from studio.checkpoints.catalog import Checkpoint
from studio.core.geometry import Size
from studio.core.tiles import Tile, cut, lay
from studio.tasks._task import Brush, Canvas, Painter, Span

LEAST_PX = 64
BLEND_PX = 16
"""Over which tiles fade into each other, in each direction: every one was painted by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The tiles of a picture, and the steps of painting them."""

    tiles: tuple[Tile, ...]
    multiple_px: int
    steps: int
    """That each tile really takes."""

    @property
    def all_steps(self) -> int:
        return self.steps * len(self.tiles)

    @property
    def step_pixels(self) -> int:
        """Width × height × steps of all tiles."""
        sizes = (self.painted(tile) for tile in self.tiles)
        return self.steps * sum(width * height for width, height in sizes)

    def painted(self, tile: Tile) -> Size:
        """What a tile is painted in: its own size, as near as the checkpoint can."""
        width, height = (
            max(LEAST_PX, round(side / self.multiple_px) * self.multiple_px)
            for side in tile.seen.size
        )
        return width, height


def planned(size: Size, checkpoint: Checkpoint, steps: int, strength: float) -> Plan:
    """A tile has room for what the checkpoint knows, and not much more: with too much of it the
    subject is painted once more, and memory has an end."""
    side = min(2 * checkpoint.native_px, max(checkpoint.native_px, 1024))
    own = side if max(size) <= side else side * 3 // 4
    return Plan(
        tiles=cut(size, own, margin_px=side // 8, blend_px=BLEND_PX),
        multiple_px=checkpoint.multiple_px,
        steps=max(1, int(steps * strength + 1e-6)),
    )


def repainted(
    painter: Painter,
    brush: Brush,
    picture: Image.Image,
    plan: Plan,
    *,
    strength: float,
    before: int,
) -> tuple[Image.Image, Mapping[str, Any]]:
    """An RGB picture painted over, and what the painter said of it.

    Tile n has the seed of the brush + n, so that they do not all begin with the same noise.
    `before` are the steps of the passes before.
    """
    canvas = np.asarray(picture).copy()
    facts: Mapping[str, Any] = {}
    seconds = 0.0
    for number, tile in enumerate(plan.tiles):
        size, box, seen = plan.painted(tile), tile.box, tile.seen
        part = picture.crop(seen.corners).resize(size, Image.Resampling.LANCZOS)
        made = painter.paint(
            replace(brush, width=size[0], height=size[1], seed=brush.seed + number),
            index=0,
            pictures=1,
            canvas=Canvas(image=part, strength=strength),
            span=Span(
                before=before + number * plan.steps,
                after=(len(plan.tiles) - 1 - number) * plan.steps,
            ),
        )
        facts = made.facts
        seconds += facts["seconds"]
        new = Image.frombytes("RGB", (made.width, made.height), made.pixels)
        new = new.resize(seen.size, Image.Resampling.LANCZOS)
        left, top = box.left - seen.left, box.top - seen.top
        piece = np.asarray(new.crop((left, top, left + box.width, top + box.height)))
        lay(canvas, piece, box.left, box.top, tile.over_left, tile.over_top)
    return Image.fromarray(canvas), {**facts, "seconds": seconds}
