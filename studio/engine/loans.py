"""A checkpoint on loan to one job, lent once more wherever a plan wants it in another way."""

from collections.abc import Callable
from typing import Any

from studio.costs.plan import Plan
from studio.costs.work import Kept
from studio.engine.loading import place
from studio.engine.manager import DENOISERS, Lease

_READERS = "text_encoder"
"""How the names of networks begin that read prompts."""


class Loan:
    """The lease that a job paints with now; all that were made end together."""

    def __init__(self, read: Callable[[Kept], Lease], ways: tuple[Kept, ...], plan: Plan) -> None:
        """`read` lends the checkpoint, its weights kept in one of `ways`; what one lease gave back is
        brought back by the next. Raises what it does."""
        self._read = read
        self._ways = ways
        self._vae: Any = None
        self.lease = read(self._kept(plan))
        self._lent = [self.lease]
        self._parts = _parts(self.lease)
        self._gone = False
        """Something of the lease was given back."""

    def wear(self, vae: Any) -> None:
        """From now on pipelines have that autoencoder instead of the checkpoint's own."""
        self._vae = vae
        self.lease.pipeline.vae = vae
        self._parts = _parts(self.lease)

    def suit(self, plan: Plan) -> None:
        """Makes the pipeline what it was when it was lent, or lends one that is as a plan wants it,
        where parts of this one are gone or held in another way."""
        kept = self._kept(plan)
        if kept != self.lease.kept or (kept == "blocks" and self._gone):
            for name in DENOISERS:
                self._let_go(name)
        if self._gone:
            self.lease, self._gone = self._read(kept), False
            self._lent.append(self.lease)
            if self._vae is not None:
                self.lease.pipeline.vae = self._vae
            self._parts = _parts(self.lease)
            return
        for name, part in self._parts.items():
            if part is not None:
                place(self.lease.pipeline, name, part)

    def drop_text(self) -> None:
        """Prompts are read: what reads them is given back."""
        for name in self.lease.weights.components:
            if name.startswith(_READERS):
                setattr(self.lease.pipeline, name, None)  # as diffusers has it where embeddings are
                self._let_go(name)

    def _kept(self, plan: Plan) -> Kept:
        return plan.kept if plan.kept in self._ways else "whole"

    def _let_go(self, name: str) -> None:
        self._gone = True
        for lease in self._lent:
            lease.let_go(name)


def _parts(lease: Lease) -> dict[str, Any]:
    return {name: getattr(lease.pipeline, name, None) for name in ("vae", *DENOISERS)}
