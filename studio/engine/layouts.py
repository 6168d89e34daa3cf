"""From the tensors of a file to those of a network: found out once for a layout, then only looked up.

Converters rename tensors, cut them, join them and turn them around. They are run once over tensors
without content, and what they did with each is remembered: a `Piece` says which part of which tensor
of the file a tensor of the network is. With that, loading is nothing but reading bytes.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

VERSION = 1
"""Of what is written to disk; another one is found out again."""

MOST_KEPT = 256
"""Layouts on disk; the oldest goes first."""

Tensors = dict[str, Tensor]
Convert = Callable[[Tensors], Mapping[str, Tensor]]
"""From the tensors of a file, by their names there, to those of a network."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a tensor of the file, in elements: where it begins, its shape and its steps."""

    source: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def in_one_piece(self) -> bool:
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor of the network: pieces, joined along `dim`."""

    pieces: tuple[Piece, ...]
    dim: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        first = self.pieces[0].shape
        if len(self.pieces) == 1:
            return first
        joined = sum(piece.shape[self.dim] for piece in self.pieces)
        return (*first[: self.dim], joined, *first[self.dim + 1 :])


Layout = Mapping[str, Ref]
"""By name of the network's tensor."""


class Untraceable(Exception):
    """A converter did arithmetic; its tensors cannot be had by reading alone."""


def trace(convert: Convert, shapes: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> Layout:
    """What a converter does with tensors of these shapes. Reads none. Raises `Untraceable`, and
    whatever the converter raises."""
    follow = _Follow()
    given: Tensors = {}
    for name, (shape, dtype) in shapes.items():
        tensor = given[name] = torch.empty(shape, dtype=dtype, device="meta")
        strides = tuple(tensor.stride())
        follow.knows(tensor, Ref((Piece(name, 0, shape, strides),)))
    with follow:
        made = convert(given)
    return {name: follow.ref(tensor) for name, tensor in made.items()}


class _Follow(TorchDispatchMode):
    """Remembers what storages of tensors without content stand for."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Tensor] = []  # or another storage may take their address
        self._known: dict[int, tuple[Ref, tuple[int, ...]]] = {}

    def knows(self, tensor: Tensor, ref: Ref) -> None:
        self._kept.append(tensor)
        self._known[tensor.untyped_storage()._cdata] = (ref, tuple(tensor.shape))

    def ref(self, tensor: Tensor) -> Ref:
        """What a tensor is, as a view over what is known."""
        found = self._known.get(tensor.untyped_storage()._cdata)
        if found is None:
            raise Untraceable
        ref, shape = found
        whole = tuple(tensor.shape) == shape and tensor.storage_offset() == 0
        if whole and tensor.is_contiguous():
            return ref
        [piece, *more] = ref.pieces
        if more or not piece.in_one_piece:
            return self._part(ref, tensor)
        return Ref(
            (
                Piece(
                    piece.source,
                    piece.offset + int(tensor.storage_offset()),
                    tuple(tensor.shape),
                    tuple(tensor.stride()),
                ),
            )
        )

    def _part(self, ref: Ref, tensor: Tensor) -> Ref:
        """A block of rows of joined pieces that are each in one piece and joined as rows."""
        if not tensor.is_contiguous() or ref.dim != 0:
            raise Untraceable
        begin, count = int(tensor.storage_offset()), tensor.numel()
        for piece in ref.pieces:
            size = prod(piece.shape)
            if begin >= 0 and begin + count <= size and piece.in_one_piece:
                moved = Piece(
                    piece.source, piece.offset + begin, tuple(tensor.shape), tuple(tensor.stride())
                )
                return Ref((moved,))
            begin -= size
        raise Untraceable

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in {"clone", "contiguous"} or (name == "_to_copy" and made.dtype == args[0].dtype):
            with suppress(Untraceable):
                source = self.ref(args[0])
                if made.is_contiguous():
                    self.knows(made, source)
        elif name == "cat":
            with suppress(Untraceable):
                self.knows(made, _joined([self.ref(one) for one in args[0]], *args[1:]))
        return made


def _joined(refs: list[Ref], dim: int = 0) -> Ref:
    dim = dim % len(refs[0].shape)
    pieces: list[Piece] = []
    for ref in refs:
        if len(ref.pieces) > 1 and ref.dim != dim:
            raise Untraceable
        pieces += ref.pieces
    return Ref(tuple(pieces), dim)


class Layouts:
    """Remembers layouts in memory and on disk. A file that is broken or cannot be written costs only
    time. For any thread."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, Layout | None] = {}

    def known(self, key: str) -> bool:
        """Whether nothing needs to be found out."""
        with self._lock:
            return key in self._known or self._read(key) is not None

    def get(self, key: str, find: Callable[[], Layout]) -> Layout | None:
        """The layout of that key; None where it cannot be had by reading alone."""
        with self._lock:
            if key in self._known:
                return self._known[key]
            found = self._read(key)
        if found is None:
            try:
                found = find()
            except Untraceable:
                found = None
            else:
                self._write(key, found)
        with self._lock:
            self._known[key] = found
        return found

    def _read(self, key: str) -> Layout | None:
        if self._folder is None:
            return None
        try:
            told: Any = json.loads((self._folder / f"{key}.json").read_bytes())
            if told["version"] != VERSION:
                return None
            return {name: _ref(entry) for name, entry in told["tensors"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _write(self, key: str, layout: Layout) -> None:
        if self._folder is None:
            return
        told = {
            name: [ref.dim, *([p.source, p.offset, p.shape, p.strides] for p in ref.pieces)]
            for name, ref in layout.items()
        }
        file = self._folder / f"{key}.json"
        beside = file.with_suffix(f".{os.getpid()}.tmp")
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps({"version": VERSION, "tensors": told}))
            beside.replace(file)
            files = sorted(self._folder.glob("*.json"), key=lambda one: one.stat().st_mtime)
            for old in files[:-MOST_KEPT]:
                old.unlink(missing_ok=True)


def _ref(entry: Any) -> Ref:
    dim, *pieces = cast(list[Any], entry)
    return Ref(
        tuple(
            Piece(str(source), int(offset), tuple(map(int, shape)), tuple(map(int, strides)))
            for source, offset, shape, strides in pieces
        ),
        int(dim),
    )
