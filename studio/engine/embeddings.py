"""Vectors of textual inversion: read from disk, and put where their word stands in a prompt."""

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from studio.checkpoints.embeddings import Embedding
from studio.core.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Vectors:
    """An embedding in memory."""

    file: Embedding
    vectors: tuple[Tensor, ...]
    """[count, width] for each text encoder, in float32."""
    sha256: str


def read(file: Embedding) -> Vectors:
    """Some kilobytes, read anew each time. Raises `Unavailable`."""
    try:
        data = file.path.read_bytes()
        state: dict[str, Tensor] = load(data)
        vectors = tuple(state[key].float().reshape(file.vectors, -1) for key in file.keys)
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise Unavailable(
            f"The embedding '{file.label}' cannot be read.",
            "Copy or download it again, or take its name out of the prompt.",
        ) from error
    return Vectors(file, vectors, hashlib.sha256(data).hexdigest())


class _WithVectors(torch.nn.Module):
    """Stands where a table of tokens stood, and puts vectors in their places."""

    def __init__(self, table: torch.nn.Module, vectors: Mapping[int, Tensor]) -> None:
        super().__init__()
        self.table = table
        self.vectors = vectors

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.table(ids).clone()
        for place, vector in self.vectors.items():
            found[:, place] = vector.to(found.device, found.dtype)
        return found


@contextmanager
def inserted(model: Any, vectors: Mapping[int, Tensor]) -> Generator[None]:
    """A text encoder reads `vectors` in these places of what it is given. Its table of tokens is
    shared and stays as it is; it is back in its place afterwards, whatever happens."""
    if not vectors:
        yield
        return
    table = model.get_input_embeddings()
    owner, name = next(
        (module, name)
        for module in model.modules()
        for name, child in module.named_children()
        if child is table
    )
    try:
        owner._modules[name] = _WithVectors(table, vectors)
        yield
    finally:
        owner._modules[name] = table
