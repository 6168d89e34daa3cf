"""What can be added to a checkpoint, by kind."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.embeddings import Embedding, embeddings
from studio.checkpoints.files import Files, fitting, with_twins
from studio.checkpoints.loras import Lora, loras
from studio.checkpoints.vaes import Vae, vaes
from studio.core.layouts import Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """The lists of all kinds."""

    loras: Files[Lora] = field(default_factory=loras)
    embeddings: Files[Embedding] = field(default_factory=embeddings)
    vaes: Files[Vae] = field(default_factory=vaes)

    def words(self, checkpoint: Checkpoint) -> dict[str, Embedding]:
        """Embeddings that fit the checkpoint, by the word that stands for each: the first of a name."""
        fit = [one for one in self.embeddings.all() if fitting(one, checkpoint)]
        found: dict[str, Embedding] = {}
        for embedding in fit:
            found.setdefault(embedding.name.casefold(), embedding)
        return {word: with_twins(embedding, word, fit) for word, embedding in found.items()}


def extras_in(folders: Callable[[Kind], tuple[Path, ...]]) -> Extras:
    """What lies in the folders of each kind."""
    return Extras(
        loras=loras(folders(Kind.LORAS)),
        embeddings=embeddings(folders(Kind.EMBEDDINGS)),
        vaes=vaes(folders(Kind.VAE)),
    )
