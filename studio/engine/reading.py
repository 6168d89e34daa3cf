"""Reads tensors of a network out of files, a few megabytes at a time, into memory that is there."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from math import prod
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from studio.checkpoints.gguf import PACKED
from studio.checkpoints.header import Damaged
from studio.checkpoints.header import Tensor as Stored
from studio.checkpoints.originals import scale_of
from studio.engine.layouts import Layout, Piece, Ref
from studio.engine.slabs import Place, Window
from studio.engine.unpacking import UNPACK

CHUNK = 4 << 20
"""Bytes read at once: they stay in the processor's cache until they are converted, and nobody waits
long for a load that is to stop."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
READERS = max(1, min(8, CORES - 1))
"""Threads that read one component: one alone is slower than memory, above all where the system has to
clear its pages first. On 16 cores four read 15 GB/s of what the system holds, eight 22."""
WORTH_SHARING = 32 << 20
"""Bytes for each of them, at least."""
PEEKED = 64
"""Elements of a tensor that are looked at before two of them are compared."""

DTYPES: Mapping[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


HALVES = {torch.float16, torch.bfloat16}


class Feed(Protocol):
    """Where the tensors of a component come from."""

    def pour(self, into: Mapping[str, Tensor], check: Callable[[], None]) -> None:
        """Fills tensors of the machine's memory, converting numbers; `check` may raise at any time.

        Raises `Damaged` or `OSError` where the file is no longer what it was.
        """
        ...

    def windows(self, places: Mapping[str, Place]) -> Mapping[str, Window] | None:
        """Where each tensor lies in the files just as it is wanted; None if any does not."""
        ...

    def equals(self, held: Mapping[str, Tensor]) -> bool:
        """Whether `pour` would give exactly these bits. Quick where it would not."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """The tensors of some files by name, and which file each is in."""

    files: tuple[Path, ...]
    begins: tuple[int, ...]
    """Byte of each file where its tensors begin."""
    tensors: Mapping[str, tuple[int, Stored]]

    def dtype(self, name: str) -> torch.dtype:
        """What it is read as. Raises `ValueError` for a format that torch has none for."""
        kind = self.tensors[name][1].dtype
        if kind in PACKED or self.scale(name):
            return torch.float32
        if kind not in DTYPES:
            raise ValueError(f"numbers of the format {kind}")
        return DTYPES[kind]

    def scale(self, name: str) -> str:
        """The tensor of one number that a tensor of eight bits is multiplied with; "" for none."""
        return scale_of(name, self.tensors[name][1].dtype, self.tensors)

    def number(self, name: str) -> float:
        """A tensor of one number, as a scale is; 1 for no name."""
        if not name:
            return 1.0
        with Files(self, lambda: None) as files:
            return float(files.fresh(Piece(name, 0, (1,), (1,)), None).float())

    def shapes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        return {
            name: (stored.shape, self.dtype(name)) for name, (_, stored) in self.tensors.items()
        }


class _GivenUp(Exception):
    """Another of several readers failed."""


class _Differs(Exception):
    """A tensor is not what it is compared with."""


@dataclass(frozen=True, slots=True)
class FileFeed:
    """Straight from the files, as a layout says."""

    sources: Sources
    layout: Layout

    def pour(self, into: Mapping[str, Tensor], check: Callable[[], None]) -> None:
        def read(names: Sequence[str], check: Callable[[], None]) -> None:
            with Files(self.sources, check) as files:
                for name in names:
                    for piece, target in targets(self.layout[name], into[name]):
                        files.read(piece, target)

        _at_once(read, self._stretches(into), check)

    def _stretches(self, into: Mapping[str, Tensor]) -> Sequence[Sequence[str]]:
        """The names in the order of the disk, for each reader about as many bytes. All for one where
        numbers are converted, for which torch has threads of its own."""
        names = self.in_order(into)
        total = sum(tensor.nbytes for tensor in into.values())
        readers = min(READERS, total // WORTH_SHARING)
        if readers < 2 or not all(self._is_copied(name, into[name]) for name in names):
            return [names]
        stretches: list[list[str]] = [[] for _ in range(readers)]
        done = 0
        for name in names:
            stretches[min(readers - 1, done * readers // total)].append(name)
            done += into[name].nbytes
        return [stretch for stretch in stretches if stretch]

    def _is_copied(self, name: str, target: Tensor) -> bool:
        """Whether its bytes are wanted as they are stored."""
        kinds = {self.sources.tensors[p.source][1].dtype for p in self.layout[name].pieces}
        return {DTYPES.get(kind) for kind in kinds} == {target.dtype}

    def windows(self, places: Mapping[str, Place]) -> Mapping[str, Window] | None:
        found: dict[str, Window] = {}
        for name, place in places.items():
            [piece, *more] = self.layout[name].pieces
            file, stored = self.sources.tensors[piece.source]
            size = place.dtype.itemsize
            begin = self.sources.begins[file] + stored.begin + piece.offset * size
            as_wanted = stored.dtype in DTYPES and self.sources.dtype(piece.source) == place.dtype
            if more or not (piece.in_one_piece and as_wanted) or begin % size:
                return None
            if begin + place.size_bytes > self.sources.begins[file] + stored.end:
                raise ValueError(f"{piece.source} is too short")
            found[name] = Window(self.sources.files[file], begin)
        return found

    def equals(self, held: Mapping[str, Tensor]) -> bool:
        with Files(self.sources, lambda: None) as files:
            for name, tensor in held.items():
                piece = self.layout[name].pieces[0]
                if piece.in_one_piece:
                    count = min(PEEKED, prod(piece.shape))
                    few = Piece(piece.source, piece.offset, (count,), (1,))
                    if not same(files.fresh(few, tensor), tensor.reshape(-1)[:count]):
                        return False

        def compare(names: Sequence[str], check: Callable[[], None]) -> None:
            with Files(self.sources, check) as files:
                for name in names:
                    for piece, there in targets(self.layout[name], held[name]):
                        if not same(files.fresh(piece, there), there):
                            raise _Differs

        try:
            _at_once(compare, self._stretches(held), lambda: None)
        except _Differs:
            return False
        return True

    def in_order(self, names: Mapping[str, object]) -> list[str]:
        """Names as their tensors lie on disk."""

        def place(name: str) -> tuple[int, int]:
            piece = self.layout[name].pieces[0]
            file, stored = self.sources.tensors[piece.source]
            return file, stored.begin + piece.offset

        return sorted(names, key=place)


@dataclass(frozen=True, slots=True)
class TensorFeed:
    """Out of memory: what only a converter can make."""

    make: Callable[[], Mapping[str, Tensor]]

    def pour(self, into: Mapping[str, Tensor], check: Callable[[], None]) -> None:
        made = self.make()
        for name, target in into.items():
            check()
            target.copy_(made[name])

    def windows(self, places: Mapping[str, Place]) -> Mapping[str, Window] | None:
        return None

    def equals(self, held: Mapping[str, Tensor]) -> bool:
        made = self.make()
        return all(same(made[name].to(there.dtype), there) for name, there in held.items())


def _at_once(
    work: Callable[[Sequence[str], Callable[[], None]], None],
    stretches: Sequence[Sequence[str]],
    check: Callable[[], None],
) -> None:
    """Does the work on each stretch, several in threads of their own. Where one fails, the others end
    at their next check; what that one raised is raised when all have ended."""
    if len(stretches) == 1:
        work(stretches[0], check)
        return
    given_up, inference = threading.Event(), torch.is_inference_mode_enabled()

    def go_on() -> None:
        if given_up.is_set():
            raise _GivenUp
        check()

    def one(names: Sequence[str]) -> None:
        try:
            with torch.inference_mode(inference):  # as the thread has it that made the tensors
                work(names, go_on)
        except _GivenUp:
            return
        except BaseException:
            given_up.set()
            raise

    # By `map`: an error that a frame holds, as that of a future, keeps the tensors of its own frames.
    with ThreadPoolExecutor(len(stretches), thread_name_prefix="reading") as readers:
        for _ in readers.map(one, stretches):
            pass


def targets(ref: Ref, tensor: Tensor) -> Sequence[tuple[Piece, Tensor]]:
    """Each piece with the part of the tensor that it fills."""
    if len(ref.pieces) == 1:
        return ((ref.pieces[0], tensor),)
    parts = tensor.split([piece.shape[ref.dim] for piece in ref.pieces], dim=ref.dim)
    return tuple(zip(ref.pieces, parts, strict=True))


def same(one: Tensor, other: Tensor) -> bool:
    """Bit for bit; numbers that are none are equal to themselves."""
    if one.shape != other.shape:
        return False
    if bool(torch.equal(one, other)):
        return True
    bits = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)]
    return bool(torch.equal(*bits))


class Files(ExitStack):
    """The open files of some sources, and memory to read into."""

    def __init__(self, sources: Sources, check: Callable[[], None]) -> None:
        super().__init__()
        self._sources = sources
        self._check = check
        self._open: dict[int, FileIO] = {}
        self._scratch = torch.empty(CHUNK, dtype=torch.uint8)
        self._between = torch.empty(CHUNK // 16, dtype=torch.float32)
        """By way of it, from one half precision to the other takes half the time."""

    def read(self, piece: Piece, target: Tensor) -> None:
        """Fills a tensor of the piece's shape."""
        dtype = self._sources.dtype(piece.source)
        if not (piece.in_one_piece and target.is_contiguous()):
            target.copy_(self.fresh(piece, None))
            return
        flat, size = target.reshape(-1), dtype.itemsize
        begin, count = piece.offset * size, flat.numel()
        if self._is_packed(piece.source):
            self._unpack(piece.source, piece.offset, flat)
            return
        if dtype == target.dtype:
            self.bytes_of(piece.source, begin, flat.view(torch.uint8))
            return
        most = CHUNK // size
        for first in range(0, count, most):
            few = min(most, count - first)
            raw = self._scratch[: few * size]
            self.bytes_of(piece.source, begin + first * size, raw)
            numbers, there = raw.view(dtype), flat[first : first + few]
            if {dtype, target.dtype} == HALVES:
                step = len(self._between)
                for part, wanted in zip(numbers.split(step), there.split(step), strict=True):
                    wanted.copy_(self._between[: len(part)].copy_(part))
            else:
                there.copy_(numbers)

    def fresh(self, piece: Piece, like: Tensor | None) -> Tensor:
        """A new tensor of the piece's shape, in the number format of `like` or as it is stored."""
        dtype = self._sources.dtype(piece.source)
        if piece.in_one_piece:
            begin, count = piece.offset, prod(piece.shape)
            shape, strides = piece.shape, None
        else:
            last = sum((n - 1) * s for n, s in zip(piece.shape, piece.strides, strict=True))
            begin, count = piece.offset, last + 1
            shape, strides = piece.shape, piece.strides
        raw = torch.empty(count, dtype=dtype)
        if self._is_packed(piece.source):
            self._unpack(piece.source, begin, raw)
        else:
            self.bytes_of(piece.source, begin * dtype.itemsize, raw.view(torch.uint8))
        made = raw.view(shape) if strides is None else raw.as_strided(shape, strides)
        return made if like is None else made.to(like.dtype)

    def _is_packed(self, source: str) -> bool:
        return self._sources.tensors[source][1].dtype in PACKED or bool(self._sources.scale(source))

    def _unpack(self, source: str, begin: int, flat: Tensor) -> None:
        """Numbers [n] of a packed tensor from its number `begin` on, some blocks at a time."""
        kind = self._sources.tensors[source][1].dtype
        block, size, unpack = self._form(source, kind)
        most = CHUNK // (4 * block)
        done, end = 0, begin + flat.numel()
        for first in range(begin // block, -(-end // block), most):
            blocks = min(most, -(-end // block) - first)
            raw = self._scratch[: blocks * size]
            self.bytes_of(source, first * size, raw)
            numbers = unpack(raw.view(blocks, size)).flatten()
            start = begin + done - first * block
            few = min(len(numbers) - start, flat.numel() - done)
            flat[done : done + few].copy_(numbers[start : start + few])
            done += few

    def _form(self, source: str, kind: str) -> tuple[int, int, Callable[[Tensor], Tensor]]:
        """Numbers in a block, its bytes, and what they mean."""
        if kind in PACKED:
            return PACKED[kind].block, PACKED[kind].size_bytes, UNPACK[kind]
        scale = self._sources.number(self._sources.scale(source))
        return 1, 1, lambda raw: raw.view(DTYPES[kind]).float() * scale

    def bytes_of(self, source: str, begin: int, raw: Tensor) -> None:
        """Bytes [n] with those of a tensor from its byte `begin` on. Raises `Damaged`."""
        file, stored = self._sources.tensors[source]
        if begin + len(raw) > stored.end - stored.begin:
            raise ValueError(f"{source} is too short")
        opened = self._opened(file)
        opened.seek(self._sources.begins[file] + stored.begin + begin)
        view = raw.numpy().data
        while view:
            self._check()
            got = opened.readinto(view[:CHUNK])
            if not got:
                raise Damaged("The model file is damaged (it was cut off while it was being read).")
            view = view[got:]

    def _opened(self, file: int) -> FileIO:
        if file not in self._open:
            self._open[file] = self.enter_context(FileIO(self._sources.files[file]))
        return self._open[file]
