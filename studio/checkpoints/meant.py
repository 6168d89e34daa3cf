"""Which of the checkpoints here somebody's picture was painted with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from studio.checkpoints.catalog import Checkpoint

SHORT = 10
"""Digits of a SHA-256 that A1111 and Civitai write. What is shorter may be a hash of another kind,
over a part of the file: it can prove that two are the same, not that they are different."""


@dataclass(frozen=True, slots=True)
class Meant:
    checkpoint_id: str | None
    """None if it is not here."""
    note: str = ""
    """What a person should know about it, as a sentence."""


def meant(
    checkpoints: Iterable[Checkpoint], hashes: Mapping[str, str], name: str, digest: str
) -> Meant:
    """The checkpoint with that hash, else the one with that name; either may be empty.

    `hashes` are SHA-256 by id, as far as they are known; `digest` is one or its first digits.
    """
    usable = [checkpoint for checkpoint in checkpoints if not checkpoint.problem]
    named = [checkpoint for checkpoint in usable if name and _is_called(checkpoint, name)]
    for checkpoint in [*named, *usable]:
        if digest and hashes.get(checkpoint.id, "").startswith(digest):
            return Meant(checkpoint.id)
    if not named:
        shown = f"'{name}'" if name else f"with the hash {digest[:SHORT]}"
        return Meant(None, f"The checkpoint {shown} is not here; the chosen one stays.")
    first = named[0]
    if len(digest) >= SHORT and first.id in hashes:
        return Meant(
            first.id,
            f"'{first.label}' is not the same file here as the one that painted this: the picture "
            "will differ.",
        )
    return Meant(first.id)


def _is_called(checkpoint: Checkpoint, name: str) -> bool:
    names = (checkpoint.id, checkpoint.id.rpartition("/")[2], checkpoint.label)
    return name.casefold() in map(str.casefold, names)
