"""The ladder: what a job can do without, from what costs nothing to what costs most."""

from dataclasses import dataclass, replace

from studio.costs.work import Work

TILES_PX = (512, 384)
"""Sides of the tiles that an autoencoder works in where a whole picture is too much."""


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
    fp8: bool = False
    """The denoiser's weights are kept in 8 bits and widened layer by layer."""

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
            (self.fp8, "Weights of the denoiser kept in 8 bits."),
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
            (self.fp8, "fp8"),
        )
        return " ".join(word for holds, word in words if holds)


WHOLE = Plan()


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What a device and its manager can do to save memory."""

    drop_text: bool = False
    fp8: bool = False


def ladder(work: Work, means: Means) -> tuple[Plan, ...]:
    """The plans for a job, each with all the savings of the one before; rungs that would change
    nothing for it are left out."""
    plans = [WHOLE, Plan(evict=True)]
    one = work.largest
    if one is not None:
        side = max(one.width, one.height)
        plans += [replace(plans[-1], tile_px=tile) for tile in TILES_PX if tile < side]
        if one.guided:
            plans.append(replace(plans[-1], split=True))
        if means.drop_text:
            plans.append(replace(plans[-1], drop_text=True))
        if means.fp8:
            plans.append(replace(plans[-1], fp8=True))
    return tuple(plans)


def named(name: str, plans: tuple[Plan, ...]) -> int:
    """The place of the plan of that name among `plans`; the first where it is not among them."""
    return next((place for place, plan in enumerate(plans) if plan.name == name), 0)
