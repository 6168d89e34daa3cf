"""Reads what a safetensors file says it holds, and checks that it can be true.

The format: 8 bytes little-endian header size, a JSON object from tensor name to dtype, shape and
byte range, then the tensors, which cover the rest of the file without gap or overlap.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

log = logging.getLogger("studio.checkpoints")

MAX_HEADER_BYTES = 16 << 20
"""SDXL's 2,500 tensors need 0.4 MB; a larger header is an attack on memory."""

BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits to a number of each dtype."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as a header announces it."""

    dtype: str
    """As safetensors calls it: F16, BF16, F32, …"""
    shape: tuple[int, ...]
    begin: int
    """First byte, counted from `Header.data_begin`."""
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What one safetensors file holds."""

    tensors: Mapping[str, Tensor]
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    data_begin: int
    """Byte of the file where the tensors begin."""
    size_bytes: int
    """Of the whole file."""


class BadFile(ValueError):
    """The file cannot be used. The text is a sentence for people and names no path."""


class NotSafetensors(BadFile):
    """It is something else under this name."""


class Damaged(BadFile):
    """It was a safetensors file once, or pretends to be one."""


class Unread(BadFile):
    """Something in it is not as the studio expects, and nobody knows what."""


@contextmanager
def as_named(path: Path) -> Iterator[None]:
    """Within, names of tensors are taken for what they promise. One whose shape is another is damage,
    whoever stumbles over it: `Damaged` is raised. What goes wrong otherwise in looking at the file is
    `Unread`; the log says what it was, in both cases."""
    try:
        yield
    except BadFile:
        raise
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:
        log.warning("%s is not what it seems to be", path, exc_info=error)
        if _is_of_shapes(error):
            raise Damaged(
                "The model file is damaged (a tensor is not what its name promises)."
            ) from error
        raise Unread("The studio cannot make sense of this file; its log says why.") from error


def _is_of_shapes(error: Exception) -> bool:
    """Whether it is what reading a shape that is none of those expected raises: it has fewer or more
    sides, or one of 0."""
    return type(error) in {IndexError, KeyError, TypeError, ValueError, ZeroDivisionError}


def read_header(path: Path) -> Header:
    """The header of a safetensors file, of which at most 16 MiB are read.

    Raises `NotSafetensors` or `Damaged`; `OSError` if the file cannot be read at all.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length < 2:
            raise NotSafetensors("This is not a valid safetensors file: it is empty.")
        if length > MAX_HEADER_BYTES:
            raise NotSafetensors(
                "This is not a valid safetensors file: it announces a header of more than 16 MiB."
            )
        text = file.read(min(length, size - 8))
    if not text.startswith(b"{"):
        raise NotSafetensors("This is not a valid safetensors file: it does not begin as one.")
    if len(text) < length:
        raise Damaged(_wrong_size(size, 8 + length))
    entries = _entries(text)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise Damaged("The model file is damaged (its header is malformed).")
    tensors, end = _layout(entries)
    if size != 8 + length + end:
        raise Damaged(_wrong_size(size, 8 + length + end))
    return Header(
        tensors=tensors,
        shapes={name: tensor.shape for name, tensor in tensors.items()},
        metadata={str(k): str(v) for k, v in cast(dict[Any, Any], metadata).items()},
        data_begin=8 + length,
        size_bytes=size,
    )


def _entries(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError):
        raise Damaged("The model file is damaged (its header is not readable).") from None
    return cast(dict[str, Any], found)  # it begins with a brace


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers may disagree on which of two equal names counts, so none does."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _layout(entries: Mapping[str, Any]) -> tuple[dict[str, Tensor], int]:
    """Tensors by name, and where the last one ends; ranges must follow each other exactly."""
    tensors = {name: _tensor(entry) for name, entry in entries.items()}
    ranges = [(tensor.begin, tensor.end) for tensor in tensors.values()]
    ranges.sort()
    reached = 0
    for begin, end in ranges:
        if begin != reached:
            kind = "overlap" if begin < reached else "leave a gap"
            raise Damaged(f"The model file is damaged (two of its tensors {kind}).")
        reached = end
    return tensors, reached


def _tensor(entry: Any) -> Tensor:
    """One entry; shape, begin and end must agree with its dtype."""
    wrong = Damaged("The model file is damaged (the size of a tensor is not what it should be).")
    try:
        shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
        dtype = entry["dtype"]
        bits = BITS[dtype]
    except (KeyError, TypeError, ValueError):
        raise Damaged("The model file is damaged (its header is malformed).") from None
    numbers = (*shape, begin, end)
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise wrong
    if len(shape) > 16 or prod(shape) * bits != (end - begin) * 8:
        raise wrong
    return Tensor(dtype, shape, begin, end)


def _wrong_size(is_: int, should: int) -> str:
    return f"The model file is damaged (size {readable(is_)} of {readable(should)})."


def readable(size_bytes: int) -> str:
    """A size as people read it: 3.97 GB, 12.5 MB, 840 bytes."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.3g} {name}"
    return f"{size_bytes} bytes"
