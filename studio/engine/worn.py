"""What a checkpoint wears for one job, and how its pictures tell of it."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from studio.checkpoints.extras import Extras as Shelves
from studio.engine.embeddings import Vectors, read
from studio.engine.manager import Lease, LoraLease, Manager, VaeLease
from studio.tasks._task import Added, Extras


@dataclass(frozen=True, kw_only=True, slots=True)
class Worn:
    """Extras on loan."""

    loras: tuple[tuple[LoraLease, Added], ...] = ()
    embeddings: tuple[Vectors, ...] = ()
    vae: VaeLease | None = None

    @property
    def words(self) -> dict[str, tuple[Any, ...]]:
        """Vectors of each word that has some, for each text encoder."""
        return {one.file.name.casefold(): one.vectors for one in self.embeddings}

    def facts(self, unused: tuple[int, ...]) -> dict[str, Any]:
        """For a picture's metadata; `unused` counts layers of each LoRA that nothing here has."""
        loras = [
            {
                **_named(loan.lora, loan.sha256.result(), 12),
                "weight": asked.weight,
                "text_weight": asked.text_weight,
                **({"unused_layers": missed} if missed else {}),
            }
            for (loan, asked), missed in zip(self.loras, unused, strict=True)
        ]
        embeddings = [_named(one.file, one.sha256, 12) for one in self.embeddings]
        vae = self.vae and _named(self.vae.vae, self.vae.sha256.result(), 10)
        told = {"loras": loras, "embeddings": embeddings, "vae": vae}
        return {name: value for name, value in told.items() if value}


BARE = Worn()


def _named(file: Any, sha256: str, digits: int) -> dict[str, Any]:
    return {"id": file.id, "name": file.name, "sha256": sha256, "short": sha256[:digits]}


def borrow(
    extras: Extras,
    *,
    shelves: Shelves,
    manager: Manager,
    lease: Lease,
    until: ExitStack,
    loading: Callable[[str], None],
) -> Worn:
    """What `extras` names, on loan until `until` ends.

    Raises `StudioError` for what is not there any more or cannot be read.
    """
    loras = tuple(
        (
            until.enter_context(
                manager.use_lora(shelves.loras.get(one.id), lease, loading=loading)
            ),
            one,
        )
        for one in extras.loras
    )
    embeddings = tuple(read(shelves.embeddings.get(name)) for name in extras.embeddings)
    vae = None
    if extras.vae is not None:
        file = shelves.vaes.get(extras.vae)
        vae = until.enter_context(manager.use_vae(file, lease, loading=loading))
    return Worn(loras=loras, embeddings=embeddings, vae=vae)
