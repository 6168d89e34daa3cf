"""Whether a job fits, by which plan, and what is said where it does not."""

from collections.abc import Callable
from dataclasses import dataclass

from studio.core.errors import StudioError
from studio.costs.needs import Needs
from studio.costs.plan import Plan
from studio.costs.work import Work


class TooLargeForMemory(StudioError):
    """No plan fits into the memory there is. Nothing was begun."""

    status = 507


class OutOfMemory(StudioError):
    """Memory ran out under every plan."""

    status = 507


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """Bytes of the memory that a job may use."""

    free: int
    """What nobody uses."""
    mine: int = 0
    """What is held already and the job needs."""
    idle: int = 0
    """What is held and nobody needs at the moment."""

    def under(self, plan: Plan) -> int:
        return self.free + self.mine + (self.idle if plan.evict else 0)

    @property
    def most(self) -> int:
        return self.free + self.mine + self.idle


def admitted(
    plans: tuple[Plan, ...], room: Room, needed: Callable[[Plan], Needs], *, first: int = 0
) -> int | None:
    """The place of the first plan from `first` on that fits; None where none does."""
    for place in range(first, len(plans)):
        if needed(plans[place]).peak <= room.under(plans[place]):
            return place
    return None


def refusal(work: Work, needed: Needs, there: int) -> TooLargeForMemory:
    """What is said where even the last plan needs more than there is."""
    parts = [f"{gigabytes(needed.weights)} for the weights"]
    if work.controls:
        noun = "ControlNet" if len(work.controls) == 1 else f"{len(work.controls)} ControlNets"
        parts.append(f"{gigabytes(needed.controls)} for {'the ' if noun[0] == 'C' else ''}{noun}")
    if needed.added:
        parts.append(f"{gigabytes(needed.added)} for what is added to them")
    if one := work.largest:
        parts.append(f"{gigabytes(needed.picture)} for {one.width}×{one.height} px")
    fewer = ", fewer control units" if len(work.controls) > 1 else ""
    return TooLargeForMemory(
        f"This needs about {gigabytes(needed.peak)} of memory, and there are {gigabytes(there)}: "
        f"{', '.join(parts)}.",
        f"Choose a smaller size{fewer} or a smaller checkpoint.",
    )


def exhausted(work: Work, needed: int, there: int) -> OutOfMemory:
    """What is said where memory ran out in the end, though it was predicted to do."""
    one = work.largest
    what = f"a picture of {one.width}×{one.height} px" if one else "this"
    figures = f"it needs about {gigabytes(needed)}" if needed > there else "it needs more"
    return OutOfMemory(
        f"There is not enough memory for {what}: {figures}, and there are {gigabytes(there)}.",
        "Choose a smaller size, or a smaller checkpoint.",
    )


def gigabytes(count: int) -> str:
    """`9.8 GB`, `120 MB`: as exactly as a prediction can be."""
    if count >= 995_000_000:
        return f"{count / 1e9:.1f} GB"
    return f"{max(1, round(float(f'{count:.2g}') / 1e6))} MB"
