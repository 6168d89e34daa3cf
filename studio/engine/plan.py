"""A job on the ladder: admitted by a plan that fits, and on the next one where memory runs out."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from studio import samplers
from studio.costs.admission import OutOfMemory, Room, admitted, exhausted, refusal
from studio.costs.anatomy import Anatomy
from studio.costs.learned import Learned
from studio.costs.machine import Machine
from studio.costs.needs import Needs, needs
from studio.costs.plan import WHOLE, Means, Plan, ladder, means_for, named
from studio.costs.work import Pass, Work
from studio.engine import over
from studio.tasks._task import Brush, Canvas

log = logging.getLogger("pochade.engine")


@dataclass(kw_only=True, slots=True)
class Descent:
    """One job's way down. Plans are only ever added to: what ran out of memory is not tried again."""

    machine: Machine
    means: tuple[str, ...]
    """Fields of `Means` that hold for it."""
    learned: Learned
    room: Callable[[Work, Iterable[str]], Room]
    """What a job, and what it reads beside the checkpoint, may use of the memory, now."""
    free: Callable[[], None]
    """Takes what nobody uses out of the memory."""
    say: Callable[[str], None]
    """Tells the person a sentence about the job."""
    work: Work | None = None
    anatomy: Anatomy | None = None
    beside: Mapping[str, int] = field(default_factory=dict[str, int])
    """Parameters of what is read beside the checkpoint, by its name in memory."""
    refiner: Anatomy | None = None
    """Of what takes over for the last steps."""
    plan: Plan = WHOLE
    """How it is run now."""
    _struck: bool = False
    _said: set[str] = field(default_factory=set[str])

    def begin(
        self,
        work: Work,
        anatomy: Anatomy | None,
        beside: Mapping[str, int],
        refiner: Anatomy | None = None,
    ) -> None:
        """Chooses the plan of a job, or of its next pass, which may be larger than the one before.

        Raises `StudioError` with figures where none fits.
        """
        self.work, self.anatomy, self.beside, self.refiner = work, anatomy, beside, refiner
        self._said |= set(Plan(kept=work.kept or "whole").changes)  # which was asked for
        plans = self._plans()
        place = named(self.plan.name, plans)
        one = work.largest
        if one is not None:
            place = max(place, named(self.learned.rung(work.checkpoint, one), plans))
        if anatomy is not None:
            room = self.room(work, beside)
            found = admitted(plans, room, self._needed, first=place)
            if found is None:
                raise refusal(work, self._needed(plans[-1]), room.most)
            place = found
        if plans[place].evict and not self.plan.evict:
            self.free()
        self._go(plans[place], "To fit into memory")

    def down(self) -> None:
        """Memory ran out: on to the next plan. Raises `OutOfMemory` with figures at the end.

        To be called where no traceback holds the tensors any more.
        """
        self.free()
        self._struck = True
        log.warning("memory ran out under the plan '%s'", self.plan.name)
        plans = self._plans()
        place = named(self.plan.name, plans) + 1
        if place == len(plans):
            raise self._at_the_end()
        self._go(plans[place], "Memory ran out")

    def worked(self) -> None:
        """A pass got through: if others did not, its plan is where such passes begin from now."""
        if self._struck and self.work is not None and (one := self.work.largest):
            self.learned.worked(self.work.checkpoint, one, self.plan.name)

    def _go(self, plan: Plan, why: str) -> None:
        self.plan = plan
        for sentence in plan.changes:
            if sentence not in self._said:
                self._said.add(sentence)
                self.say(f"{why}: {sentence[0].lower()}{sentence[1:]}")

    @property
    def _machine(self) -> Machine:
        return self.machine.painting(self.anatomy)

    def _plans(self) -> tuple[Plan, ...]:
        work = self.work or Work(checkpoint="", passes=())
        means = (
            means_for(self.anatomy, self._machine.value, self.means) if self.anatomy else Means()
        )
        return ladder(work, means)

    def _needed(self, plan: Plan) -> Needs:
        if self.work is None or self.anatomy is None:
            return Needs(weights=0, controls=0, added=0, picture=0, peak=0)
        factor = self.learned.factor(self.work.checkpoint, self._machine, plan.kept)
        return needs(
            self.work,
            self.anatomy,
            self.beside,
            machine=self.machine,
            plan=plan,
            factor=factor,
            refiner=self.refiner,
        )

    def _at_the_end(self) -> OutOfMemory:
        work = self.work or Work(checkpoint="", passes=())
        return exhausted(work, self._needed(self.plan).peak, self.room(work, self.beside).most)


def pass_of(brush: Brush, canvas: Canvas | None) -> Pass:
    """What one picture of a brush asks for."""
    taken = brush.steps if canvas is None else over.steps_taken(brush, canvas)
    return Pass(
        width=brush.width,
        height=brush.height,
        calls=samplers.find(brush.sampler).calls(taken),
        guided=brush.guidance > 1.0,
        over=canvas is not None,
    )


def with_pass(work: Work, one: Pass) -> Work:
    """The work as it is known once a brush is dipped: at least as large as that."""
    largest = work.largest
    if largest is not None and largest.pixels >= one.pixels:
        return work
    return replace(work, passes=(one,))
