"""Weights as streams: tensors that are read and written a piece at a time.

A `Source` says where the bytes of a tensor lie; nothing is in memory until its blocks are read, and
then one block of `BLOCK` bytes, or one tensor where it has to be turned.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import psutil

from studio.checkpoints import numbers
from studio.checkpoints.gguf import Format
from studio.checkpoints.header import BITS, Tensor, readable
from studio.core.errors import InvalidRequest, StorageFailed

BLOCK = 512 << 10
"""Bytes that are read at once; a multiple of every number's size."""
MARGIN = 64 << 20
"""Bytes that stay free on a disk that is written to."""

ABANDONED_S = 600.0
"""What nobody has written to for so long is not being written by another machine either."""

_ASIDE = ".old-"
"""How the name begins under which a folder waits for the one that takes its place."""

Progress = Callable[[int, int], None]
"""(bytes done, bytes in all). May raise to stop."""


def unseen(done: int, total: int) -> None:
    """A progress that nobody looks at."""


class Run(Protocol):
    """Bytes one after the other."""

    @property
    def size(self) -> int: ...

    def blocks(self) -> Iterator[bytes]:
        """They in order. Raises `OSError`."""
        ...

    def part(self, begin: int, size: int) -> "Run":
        """So many of them, from that one on."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """Those of a file as they lie there."""

    file: Path
    begin: int
    size: int

    def blocks(self) -> Iterator[bytes]:
        with self.file.open("rb") as file:
            file.seek(self.begin)
            left = self.size
            while left:
                block = file.read(min(BLOCK, left))
                if not block:
                    raise OSError("the file ends too early")
                left -= len(block)
                yield block

    def part(self, begin: int, size: int) -> "Span":
        return Span(self.file, self.begin + begin, size)


@dataclass(frozen=True, slots=True)
class Held:
    """A few in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def blocks(self) -> Iterator[bytes]:
        yield self.data

    def part(self, begin: int, size: int) -> "Held":
        return Held(self.data[begin : begin + size])


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Numbers that a file packs in blocks of its own, as those of F32."""

    packed: Span
    form: Format
    unpack: Callable[[bytes], numbers.Floats]
    """From the bytes of blocks to the numbers in them."""
    begin: int
    """Number of the file's tensor that they begin with, counted from 0, times 4."""
    size: int

    def blocks(self) -> Iterator[bytes]:
        first, end = self.begin // 4, (self.begin + self.size) // 4
        each = max(1, BLOCK // (4 * self.form.block))
        for block in range(first // self.form.block, -(-end // self.form.block), each):
            few = min(each, -(-end // self.form.block) - block)
            size = self.form.size_bytes
            data = b"".join(self.packed.part(block * size, few * size).blocks())
            start = block * self.form.block
            yield numbers.write(self.unpack(data)[max(0, first - start) : end - start], "F32")

    def part(self, begin: int, size: int) -> "Unpacked":
        return replace(self, begin=self.begin + begin, size=size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A tensor and where its bytes lie: its runs one after the other."""

    dtype: str
    shape: tuple[int, ...]
    runs: tuple[Run, ...]
    turned: bool = False
    """The bytes hold the transposed matrix: rows and columns of `shape` change places."""

    @property
    def size_bytes(self) -> int:
        return sum(run.size for run in self.runs)

    @property
    def is_packed(self) -> bool:
        """Whether the file has fewer bits for each number than `dtype` says."""
        return any(isinstance(run, Unpacked) for run in self.runs)

    def blocks(self) -> Iterator[bytes]:
        """Its bytes in order. Raises `OSError`."""
        if self.turned:
            yield self._turned()
            return
        for run in self.runs:
            yield from run.blocks()

    def _turned(self) -> bytes:
        width = BITS[self.dtype] // 8
        whole = b"".join(block for run in self.runs for block in run.blocks())
        rows, columns = self.shape
        matrix = np.frombuffer(whole, f"<u{width}").reshape(columns, rows)
        return np.ascontiguousarray(matrix.T).tobytes()


def source(file: Path, data_begin: int, tensor: Tensor) -> Source:
    """A tensor of a safetensors file as it lies there."""
    span = Span(file, data_begin + tensor.begin, tensor.end - tensor.begin)
    return Source(dtype=tensor.dtype, shape=tensor.shape, runs=(span,))


def joined(parts: Iterable[Source]) -> Source:
    """Tensors of equal width and number format, one below the other."""
    several = tuple(parts)
    first = several[0]
    high = sum(part.shape[0] for part in several)
    runs = tuple(run for part in several for run in part.runs)
    return Source(dtype=first.dtype, shape=(high, *first.shape[1:]), runs=runs)


def rows(whole: Source, first: int, count: int) -> Source:
    """So many slices along the first axis, from the `first` on. It must be one run."""
    [run] = whole.runs
    each = run.size // whole.shape[0]
    return Source(
        dtype=whole.dtype,
        shape=(count, *whole.shape[1:]),
        runs=(run.part(first * each, count * each),),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A tensor to be written: its bytes may be made as they are asked for."""

    dtype: str
    shape: tuple[int, ...]
    blocks: Callable[[], Iterable[bytes]]

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * BITS[self.dtype] // 8


def as_is(found: Source) -> Wanted:
    return Wanted(dtype=found.dtype, shape=found.shape, blocks=found.blocks)


def recast(found: Source, dtype: str) -> Wanted:
    """The same numbers in another format; what is no float stays as it is."""
    if found.dtype == dtype or not numbers.is_float(found.dtype):
        return as_is(found)

    def blocks() -> Iterator[bytes]:
        for block in found.blocks():
            yield numbers.write(numbers.read(block, found.dtype), dtype)

    return Wanted(dtype=dtype, shape=found.shape, blocks=blocks)


def own_format(found: Source, *, altered: bool = False) -> str:
    """That of a tensor which is written without being asked for another one, with the numbers it has or
    with `altered` ones. Raises `InvalidRequest` if the studio does not write it."""
    problem = ""
    if found.is_packed:
        problem = "Its numbers are packed, as only its own file knows it."
    elif altered and numbers.is_float(found.dtype) and found.dtype not in numbers.FORMATS.values():
        problem = f"The studio reads numbers of {found.dtype}, and does not write them."
    if problem:
        raise InvalidRequest(
            problem, "Say with --dtype which ones to write, such as bf16.", field="dtype"
        )
    return found.dtype


def size_of(tensors: Mapping[str, Wanted]) -> int:
    return sum(tensor.size_bytes for tensor in tensors.values())


def write(
    file: Path,
    tensors: Mapping[str, Wanted],
    metadata: Mapping[str, str],
    step: Callable[[int], None],
) -> str:
    """Writes a safetensors file as safetensors itself would; its SHA-256.

    `step` is told of each block's bytes. The file is on the disk when this returns. Raises
    `OSError`, and whatever the blocks raise: the caller removes what was written.
    """
    head, order = _head(tensors, metadata)
    digest = hashlib.sha256(head)
    with file.open("wb") as out:
        large = LargePages(out)
        large.write(head)
        for name in order:
            for block in tensors[name].blocks():
                large.write(block)
                digest.update(block)
                step(len(block))
        large.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


class LargePages:
    """Passes on what is written in pieces that begin and end at multiples of `PIECE`: of such a file
    the system's cache has large pages, and networks are computed with where it lies there."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        view = memoryview(data).cast("B")
        while len(self._waiting) + len(view) >= PIECE:
            missing = PIECE - len(self._waiting)
            self._waiting += view[:missing]
            self._out.write(self._waiting)
            self._waiting.clear()
            view = view[missing:]
        self._waiting += view

    def flush(self) -> None:
        """The rest; nothing may be written after it."""
        self._out.write(self._waiting)
        self._waiting.clear()
        self._out.flush()


PIECE = 4 << 20
"""Bytes, a multiple of the system's large pages."""


def put(file: Path, data: bytes) -> None:
    """Writes a small file that is on the disk when this returns, and its folder first. Raises
    `OSError`; what was there before is there then."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".tmp-{os.getpid()}-{file.name}")
    try:
        with fresh.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    finally:
        _remove(fresh)


def _head(tensors: Mapping[str, Wanted], metadata: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """Wide numbers first, then by name, as the format's own library writes them, so that every
    tensor lies at a multiple of its numbers' size."""
    order = sorted(tensors, key=lambda name: (-BITS[tensors[name].dtype], name))
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for name in order:
        tensor = tensors[name]
        end = begin + tensor.size_bytes
        entries[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, order


def require_free(target: Path, size_bytes: int) -> None:
    """Raises `StorageFailed` if the disk below `target` has not that much and some to spare."""
    place = target
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < size_bytes + MARGIN:
        raise StorageFailed(
            f"There is not enough room: {readable(size_bytes)} and {readable(MARGIN)} to spare are "
            f"needed, and {readable(free)} are free.",
            "Free some space and try again.",
        )


class Taken(InvalidRequest):
    """Something has the name that was to be given. Nothing was changed."""


@contextmanager
def replacing(target: Path, *, force: bool) -> Iterator[Path]:
    """A name beside `target` to write a file or folder under; it takes the target's place at the
    end, or is gone if anything was raised.

    Raises `Taken` if the target is there and `force` is not said, `StorageFailed` if the disk cannot
    be written.
    """
    _sweep(target.parent)
    if target.exists() and not force:
        what = "folder" if target.is_dir() else "file"
        raise Taken(
            f"A {what} '{target.name}' is there already.", "Choose another name.", field="name"
        )
    fresh = target.with_name(f".tmp-{os.getpid()}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield fresh
        _place(fresh, target)
    except OSError as error:
        raise StorageFailed(
            f"'{target.name}' cannot be written ({error.strerror or error}).",
            "Free some space, or let the studio write there; nothing was left behind.",
        ) from error
    finally:
        _remove(fresh)


def _sweep(folder: Path) -> None:
    """Removes what a process has left that was killed while it wrote here; what it had put aside, and
    nothing has taken the place of, is back in its place."""
    for left in filter(_is_abandoned, folder.glob(".tmp-*-*")):
        _remove(left)
    for aside in filter(_is_abandoned, folder.glob(f"{_ASIDE}*-*")):
        target = folder / aside.name.split("-", 2)[2]
        if target.exists():
            _remove(aside)
        else:
            with suppress(OSError):
                aside.replace(target)


def _is_abandoned(left: Path) -> bool:
    try:
        pid = int(left.name.split("-")[1])
        touched = max(path.stat().st_mtime for path in (left, *left.rglob("*")))
    except (OSError, ValueError):
        return False
    return not psutil.pid_exists(pid) and time.time() - touched > ABANDONED_S


def _place(fresh: Path, target: Path) -> None:
    if not target.exists() or (fresh.is_file() and target.is_file()):
        fresh.replace(target)
    else:  # a folder cannot replace anything in one step
        aside = target.with_name(f"{_ASIDE}{os.getpid()}-{target.name}")
        target.replace(aside)
        try:
            fresh.replace(target)
        except OSError:
            aside.replace(target)
            raise
        _remove(aside)
    sync_folder(target.parent)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes a rename in it outlive a power cut, where the system can."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@dataclass
class Counter:
    """Adds up blocks for a `Progress`."""

    total: int
    progress: Progress
    done: int = 0

    def step(self, size: int) -> None:
        self.done += size
        self.progress(self.done, self.total)
