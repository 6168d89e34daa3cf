"""Two or three checkpoints made into one, a block at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from studio.checkpoints import numbers
from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.convert import (
    Layout,
    Made,
    altered,
    carry_notes,
    write_file,
    write_folder,
)
from studio.checkpoints.networks import Tensors, as_file, as_folder, placed
from studio.checkpoints.streams import (
    Progress,
    Source,
    Wanted,
    own_format,
    recast,
    unseen,
)
from studio.core.errors import InvalidRequest

Method = Literal["weighted", "add-difference"]

NUMBERS = 128 << 10
"""Weights that are worked on at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged(Made):
    only_first: tuple[str, ...] = ()
    """Tensors that another one lacks or has in another shape: they are the first one's."""
    not_taken: tuple[str, ...] = ()
    """Tensors that the first one has not."""


def merge(
    checkpoints: tuple[Checkpoint, ...],
    method: Method,
    alpha: float,
    target: Path,
    *,
    to: Layout,
    configs: Path,
    dtype: str | None = None,
    force: bool = False,
    progress: Progress = unseen,
) -> Merged:
    """Writes A·(1 − α) + B·α, or A + (B − C)·α, computed in float32, in layout `to`.

    In A's number format, which is refused where it is not written, or in safetensors' `dtype`;
    everything but weights is A's. α is 0 to 1 for `weighted` (0 is A), −2 to 2 for `add-difference`.
    Raises `InvalidRequest`, `StorageFailed` or
    `BadFile`; then nothing of it is left. So it is when `progress` raises.
    """
    _require(checkpoints, method, alpha)
    mix = _Mix(method, alpha, dtype)
    if to == "folder":
        folder, *beside = map(as_folder, checkpoints)
        parts = {
            name: mix.of(tensors, [one.parts.get(name, {}) for one in beside], f"{name}.")
            for name, tensors in folder.parts.items()
        }
        mix.require_any()
        size = write_folder(
            checkpoints[0], altered(folder), parts, target, configs, force, progress
        )
        made = Made(path=target, size_bytes=size)
    else:
        files = [as_file(checkpoint) for checkpoint in checkpoints]
        first, *others = (
            placed(checkpoint, file.tensors)
            for checkpoint, file in zip(checkpoints, files, strict=True)
        )
        wanted = mix.of(first, others)
        mix.require_any()
        file = altered(files[0])
        made = write_file(checkpoints[0], file, wanted, target, configs, force, progress)
    carry_notes(checkpoints[0], target, label=False)
    return mix.told(made)


@dataclass
class _Mix:
    """A formula, and which tensors it was not done for."""

    method: Method
    alpha: float
    dtype: str | None
    mixed: int = 0
    """How many tensors it was done for."""
    only_first: list[str] = field(default_factory=list[str])
    not_taken: set[str] = field(default_factory=set[str])

    def told(self, made: Made) -> Merged:
        """With the names of those tensors."""
        return Merged(
            path=made.path,
            size_bytes=made.size_bytes,
            sha256=made.sha256,
            notes=made.notes,
            only_first=tuple(self.only_first),
            not_taken=tuple(sorted(self.not_taken)),
        )

    def of(self, first: Tensors, others: Sequence[Tensors], prefix: str = "") -> dict[str, Wanted]:
        """The tensors of the result; `prefix` stands before their names in what is told."""
        wanted: dict[str, Wanted] = {}
        for name, tensor in first.items():
            beside = [_fitting(tensor, tensors.get(name)) for tensors in others]
            given = [other for other in beside if other]
            mixes = numbers.is_float(tensor.dtype) and None not in beside
            to = self.dtype or own_format(tensor, altered=mixes)
            if not mixes:
                wanted[name] = recast(tensor, to)
                self.only_first += [prefix + name] if None in beside else []
            else:
                wanted[name] = _mixed(tensor, given, to, self.method, self.alpha)
                self.mixed += 1
        self.not_taken |= {prefix + name for tensors in others for name in tensors.keys() - first}
        return wanted

    def require_any(self) -> None:
        """Raises `InvalidRequest` if the result would be nothing but the first one."""
        if not self.mixed:
            raise InvalidRequest(
                "They have no tensor of the same name and shape, so that nothing would be merged.",
                "Merge checkpoints whose networks are of one size.",
                field="checkpoint",
            )


def _require(checkpoints: tuple[Checkpoint, ...], method: Method, alpha: float) -> None:
    needed = 2 if method == "weighted" else 3
    if len(checkpoints) != needed:
        words = "two checkpoints" if needed == 2 else "three checkpoints: A + (B − C) · alpha"
        raise InvalidRequest(
            f"The method {method} takes {words} (got {len(checkpoints)}).",
            "Name that many.",
            field="method",
        )
    low, high = (0.0, 1.0) if method == "weighted" else (-2.0, 2.0)
    if not low <= alpha <= high:
        raise InvalidRequest(
            f"Alpha must be between {low:g} and {high:g} for {method} (got {alpha:g}).",
            "Change --alpha and try again.",
            field="alpha",
        )
    first = checkpoints[0]
    for other in checkpoints[1:]:
        if other.family != first.family:
            raise InvalidRequest(
                f"'{first.label}' and '{other.label}' are of different kinds.",
                "Merge checkpoints of one family.",
                field="checkpoint",
            )


def _fitting(tensor: Source, other: Source | None) -> Source | None:
    fits = other is not None and other.shape == tensor.shape and numbers.is_float(other.dtype)
    return other if fits else None


def _mixed(a: Source, others: list[Source], dtype: str, method: Method, alpha: float) -> Wanted:
    weight = np.float32(alpha)

    def blocks() -> Iterator[bytes]:
        for ours, *theirs in zip(*(_numbers(s) for s in (a, *others)), strict=True):
            if method == "weighted":
                mixed = ours * (np.float32(1) - weight) + theirs[0] * weight
            else:
                mixed = ours + (theirs[0] - theirs[1]) * weight
            yield numbers.write(mixed, dtype)

    return Wanted(dtype=dtype, shape=a.shape, blocks=blocks)


def _numbers(found: Source) -> Iterator[numbers.Floats]:
    """All of a tensor's numbers, `NUMBERS` at a time whatever their format and their blocks."""
    held: list[numbers.Floats] = []
    count = 0
    for block in chain(found.blocks(), [b""]):
        if block:
            fresh = numbers.read(block, found.dtype)
            held.append(fresh)
            count += fresh.size
        while count >= NUMBERS or (not block and count):
            whole = np.concatenate(held)
            yield whole[:NUMBERS]
            held = [whole[NUMBERS:]]
            count = held[0].size
