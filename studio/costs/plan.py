"""The ladder: what a job can do without, from what costs nothing to what costs most."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import get_args

from studio.costs.anatomy import Anatomy
from studio.costs.machine import Machine
from studio.costs.work import Kept, Work

TILES_PX = (512, 384)
"""Sides of the tiles that an autoencoder works in where a whole picture is too much."""

WORTH = 0.9
"""How much of a denoiser may be left by a way of keeping it that is tried at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How a job is run. The first one changes nothing; none changes what others share.

    Autoencoders see one picture at a time in any plan, so there are no batches to slice.
    """

    evict: bool = False
    """Checkpoints that nobody uses leave the memory first."""
    tile_px: int = 0
    """Side of the tiles that pictures are encoded and decoded in; 0 is whole."""
    split: bool = False
    """With guidance the denoiser sees the two pictures of a call one after the other."""
    drop_text: bool = False
    """Text encoders leave the device once the prompts are read."""
    kept: Kept = "whole"

    @property
    def changes(self) -> tuple[str, ...]:
        """What of it can be told from the picture or its time, for people."""
        told = (
            (
                self.tile_px > 0,
                f"Pictures encoded and decoded in tiles of {self.tile_px} px.",
            ),
            (self.split, "Guidance painted one half after the other."),
            (self.drop_text, "Text encoders dropped once the prompt is read."),
            (self.kept == "packed", "Weights kept as packed as in their file."),
            (self.kept == "fp8", "Weights of the denoiser kept in 8 bits."),
            (self.kept == "blocks", "Blocks of the denoiser brought in one after another."),
        )
        return tuple(sentence for holds, sentence in told if holds)

    @property
    def name(self) -> str:
        """For records: `tiles-512 split`; empty for the plan that changes nothing."""
        words = (
            (self.evict, "evict"),
            (self.tile_px > 0, f"tiles-{self.tile_px}"),
            (self.split, "split"),
            (self.drop_text, "drop-text"),
            (self.kept != "whole", self.kept),
        )
        return " ".join(word for holds, word in words if holds)


WHOLE = Plan()


def kept_by(name: str) -> Kept:
    """How a plan of that name keeps weights."""
    words = name.split()
    return next((kept for kept in get_args(Kept) if kept in words), "whole")


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What a device and its manager can do to save memory."""

    drop_text: bool = False
    packed: bool = False
    """The checkpoint's file has fewer bytes than what is computed with."""
    fp8: bool = False
    """That is fewer than its file has."""
    blocks: bool = False


def means_for(anatomy: Anatomy, value: int, names: Collection[str]) -> Means:
    """What of these fields of `Means` saves memory for a checkpoint; `value` is the size of a number
    that is computed with, in bytes."""
    ways = ways_of(anatomy, value)
    return Means(
        drop_text="drop_text" in names and anatomy.reads_first,
        packed="packed" in names and "packed" in ways,
        fp8="fp8" in names and "fp8" in ways,
        blocks="blocks" in names and "blocks" in ways,
    )


def ways_of(anatomy: Anatomy, value: int) -> tuple[Kept, ...]:
    """How a checkpoint's weights could be kept, as far as its file tells, so that this saves memory
    where a number that is computed with has `value` bytes."""
    whole = anatomy.denoiser * value
    stored = anatomy.stored or whole
    saves = {
        "packed": stored + anatomy.text_packed(value) < WORTH * (whole + anatomy.text * value),
        "fp8": anatomy.denoiser < WORTH * stored,
        "blocks": anatomy.in_blocks > 0,
    }
    return tuple(kept for kept in get_args(Kept) if saves.get(kept, True))


def ways_on(machine: Machine, anatomy: Anatomy | None) -> tuple[Kept, ...]:
    """`ways_of` a checkpoint there; none where nothing is known of it."""
    return ways_of(anatomy, machine.painting(anatomy).value) if anatomy else ()


def ladder(work: Work, means: Means) -> tuple[Plan, ...]:
    """The plans for a job, each needing no more than the one before; rungs that would change
    nothing for it are left out."""
    first = Plan(kept=work.kept or "whole")
    plans = [first, replace(first, evict=True)]
    one = work.largest
    if one is not None:
        side = max(one.width, one.height)
        plans += [replace(plans[-1], tile_px=tile) for tile in TILES_PX if tile < side]
        if one.guided:
            plans.append(replace(plans[-1], split=True))
        if means.drop_text:
            plans.append(replace(plans[-1], drop_text=True))
        if work.kept is None and means.packed:
            plans.append(replace(plans[-1], kept="packed"))
        if work.kept is None and means.fp8:
            plans.append(replace(plans[-1], kept="fp8"))
        if work.kept is None and means.blocks:
            plans.append(replace(plans[-1], kept="blocks"))
    return tuple(plans)


def named(name: str, plans: tuple[Plan, ...]) -> int:
    """The place of the plan of that name among `plans`; where it is not among them, of the last that
    changes nothing else, or of the first."""
    words = set(name.split())
    fit = (place for place, plan in enumerate(plans) if words.issuperset(plan.name.split()))
    return max(fit, default=0)
