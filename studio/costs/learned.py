"""What an engine has learned about plans and peaks, for as long as it runs."""

from collections.abc import Iterable
from typing import Any

from studio.costs.estimate import Machine, correction
from studio.costs.history import Loaded, Painted, sent
from studio.costs.plan import Kept
from studio.costs.work import Pass

MOST = 1000


class Learned:
    """Starts with what the history holds, and goes on by itself. For one thread."""

    def __init__(self, painted: Iterable[Painted] = ()) -> None:
        self._painted = list(painted)
        self._fresh: list[dict[str, Any]] = []
        self._rungs: dict[tuple[str, int, int], str] = {}

    def add(self, row: Painted | Loaded) -> None:
        self._fresh.append(sent(row))
        if isinstance(row, Painted):
            self._painted = [*self._painted[1 - MOST :], row]

    def fresh(self) -> list[dict[str, Any]]:
        """What was added since this was last asked, as JSON data."""
        told, self._fresh = self._fresh, []
        return told

    def factor(self, checkpoint: str, machine: Machine, kept: Kept) -> float:
        """What measured activations were of predicted ones."""
        return correction(checkpoint, machine, self._painted, kept)

    def worked(self, checkpoint: str, one: Pass, plan: str) -> None:
        """A plan got through where those before it ran out of memory."""
        self._rungs[checkpoint, one.pixels, one.batch] = plan

    def rung(self, checkpoint: str, one: Pass) -> str:
        """`Plan.name` of what worked for that checkpoint, size and batch; empty if nothing failed."""
        return self._rungs.get((checkpoint, one.pixels, one.batch), "")

    def forget_rungs(self) -> None:
        """There is more room now than there was."""
        self._rungs.clear()
