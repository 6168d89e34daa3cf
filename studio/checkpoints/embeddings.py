"""Textual inversion on disk: words that stand for vectors of their own."""

from dataclasses import dataclass, replace
from pathlib import Path

from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.files import File, Files, Foreign, Words
from studio.checkpoints.header import BadFile, Header

WORDS = Words(kind="embedding", folder="embeddings", field="prompt")

PAIR = ("clip_l", "clip_g")
"""What the vectors for two text encoders are called, in their order."""
MAX_BYTES = 64 << 20
MAX_VECTORS = 75
"""What one chunk of a prompt has room for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding(File):
    """Vectors that a word in the prompt stands for: its name."""

    vectors: int = 0
    """How many tokens they take the place of."""
    widths: tuple[int, ...] = ()
    """Of the vectors, for each text encoder."""
    keys: tuple[str, ...] = ()
    """Their tensors, for each text encoder."""

    def fits(self, checkpoint: Checkpoint) -> bool:
        # the states of all encoders side by side are what the denoiser reads
        return checkpoint.encoder is not None and sum(self.widths) == checkpoint.encoder.context


def embeddings(folders: tuple[Path, ...] = ()) -> Files[Embedding]:
    """The embeddings below these folders."""
    return Files(WORDS, Embedding, _known, folders)


def _known(blank: Embedding, header: Header) -> Embedding:
    shapes = header.shapes
    keys = PAIR if set(PAIR) <= set(shapes) else tuple(shapes)[:1]
    found = [(1, *shapes[key])[-2:] for key in keys if 1 <= len(shapes[key]) <= 2]
    counts = {count for count, _ in found}
    alone = len(shapes) == len(keys) or "emb_params" in shapes
    if "emb_params" in shapes:
        keys, found = ("emb_params",), [(1, *shapes["emb_params"])[-2:]]
        counts = {found[0][0]}
    if len(found) != len(keys) or len(counts) != 1 or not alone:
        raise Foreign("It is no embedding of a kind that the studio knows.")
    [vectors] = counts
    if not 1 <= vectors <= MAX_VECTORS or header.size_bytes > MAX_BYTES:
        raise BadFile(f"It has {vectors} vectors; a prompt has room for {MAX_VECTORS}.")
    return replace(
        blank, vectors=vectors, widths=tuple(width for _, width in found), keys=tuple(keys)
    )
