"""What a job will take, told for front ends."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from studio.costs.admission import Room, admitted, refusal
from studio.costs.anatomy import Anatomy
from studio.costs.estimate import (
    Estimate,
    correction,
    estimate,
    swap_seconds,
    unpainted,
    words,
)
from studio.costs.history import History
from studio.costs.machine import Machine
from studio.costs.memory import Memory
from studio.costs.needs import Needs, checkpoint_bytes, needs
from studio.costs.plan import WHOLE, Plan, ladder, means_for
from studio.costs.work import Work

UNKNOWN = Machine(device="cpu", dtype="float32")
"""Where jobs will run, as long as no engine has said so."""


class Costs:
    """Learns from the history, and knows which checkpoints are pinned. For any thread."""

    def __init__(self, history: History) -> None:
        self._history = history

    def unknown(self) -> dict[str, Any]:
        """Of a job that nothing can be told about."""
        nothing = Estimate(seconds=None, swap_seconds=None, peak_bytes=0, measured=False)
        return _told(nothing, (), None)

    def without_checkpoint(self, by: str, pixels: int, memory: Memory | None) -> dict[str, Any]:
        """Of a job that something other than a checkpoint does, at so many pixels."""
        machine = machine_of(memory).for_pixels
        return _told(unpainted(by, pixels, machine, self._history.painted()), (), None)

    def of(
        self,
        work: Work,
        anatomy: Anatomy,
        beside: Mapping[str, int],
        memory: Memory | None,
        refiner: Anatomy | None = None,
    ) -> dict[str, Any]:
        """Seconds, bytes and words of a job, with what its plan changes or why it is refused.
        `beside` is as `needs` has it."""
        if memory is not None:
            anatomy = memory.sized(work.checkpoint, anatomy)
            refiner = refiner and memory.sized(work.refiner, refiner)
        machine = machine_of(memory)
        painting = machine.painting(anatomy)
        painted = self._history.painted()

        def needed(plan: Plan) -> Needs:
            return needs(
                work,
                anatomy,
                beside,
                machine=machine,
                plan=plan,
                factor=correction(work.checkpoint, painting, painted, plan.kept),
                refiner=refiner,
            )

        plan, refused = WHOLE, None
        if memory is not None:
            means = means_for(anatomy, painting.value, memory.means)
            plans, room = ladder(work, means), room_for(work, memory, beside)
            place = admitted(plans, room, needed)
            if place is None:
                error = refusal(work, needed(plans[-1]), room.most)
                refused = {"message": error.message, "hint": error.hint}
            else:
                plan = plans[place]
        found = estimate(
            work,
            anatomy,
            beside,
            machine,
            missing_bytes=_missing(work.checkpoint, anatomy, painting, memory, plan),
            painted=painted,
            loaded=self._history.loaded(),
            refiner=refiner,
            plan=plan,
        )
        if more := self.swap(work.refiner, refiner, memory):
            found = replace(found, swap_seconds=(found.swap_seconds or 0.0) + more)
        return _told(found, plan.changes, refused)

    def swap(self, checkpoint: str, anatomy: Anatomy | None, memory: Memory | None) -> float | None:
        """Seconds until a checkpoint can paint; None if it never can."""
        if anatomy is None:
            return None
        machine = machine_of(memory).painting(anatomy)
        known = memory.sized(checkpoint, anatomy) if memory else anatomy
        missing = _missing(checkpoint, known, machine, memory)
        return swap_seconds(checkpoint, missing, machine, self._history.loaded())

    def pins(self) -> tuple[str, ...]:
        return self._history.pins()

    def pin(self, checkpoint: str, pinned: bool) -> None:
        self._history.pin(checkpoint, pinned)

    def unpin_all(self) -> None:
        self._history.unpin_all()


def room_for(work: Work, memory: Memory, beside: Iterable[str]) -> Room:
    """What a job may use of the memory as it is now; `beside` names what is read beside the
    checkpoint."""
    names = {work.checkpoint, *beside, work.refiner} - {""}
    home = [held for held in memory.components if held.tier == memory.home]
    on_device = [held for held in home if not held.mapped]  # what is mapped is free already
    mine = sum(held.bytes for held in on_device if names & set(held.owners))
    idle = sum(held.bytes for held in on_device if not names & set(held.owners) and not held.leases)
    return Room(free=memory.free, mine=mine, idle=idle)


def machine_of(memory: Memory | None) -> Machine:
    """What jobs run on."""
    return memory.machine if memory else UNKNOWN


def _missing(
    checkpoint: str,
    anatomy: Anatomy,
    machine: Machine,
    memory: Memory | None,
    plan: Plan = WHOLE,
) -> int:
    """Bytes of a checkpoint that are not where it computes once a job begins by that plan."""
    whole = checkpoint_bytes(anatomy, machine, plan)
    if memory is None or plan.evict:  # which leaves nothing that is not on loan
        return whole
    if memory.where(checkpoint) == memory.home:
        return 0  # what is there is all that it has, however its parts were counted
    return max(0, whole - memory.there(checkpoint))


def _told(
    found: Estimate, changes: tuple[str, ...], refused: Mapping[str, str] | None
) -> dict[str, Any]:
    return {
        **asdict(found),
        "words": words(found),
        "changes": list(changes),
        "refused": dict(refused) if refused else None,
    }
