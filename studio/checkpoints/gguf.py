"""Reads what a GGUF file says it holds, as `header` does of safetensors.

The format, little-endian: `GGUF`, a version, counts of tensors and of metadata entries, these entries,
then of each tensor its name, its shape with the innermost axis first, its number format and where it
begins; the tensors follow, aligned. Most formats pack numbers in blocks with a scale of their own.
"""

import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any

from studio.checkpoints.header import (
    MAX_HEADER_BYTES,
    Damaged,
    Header,
    NotSafetensors,
    Tensor,
    read_header,
)

ENDING = ".gguf"

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32
_MOST_AXES = 8
_MOST_VALUES = 1 << 18
"""Of a list in the metadata; the largest are vocabularies."""
_TEXT, _LIST = 8, 9
_VALUES = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
"""How `struct` calls a kind of value."""


@dataclass(frozen=True, slots=True)
class Format:
    """How numbers of a kind are packed."""

    name: str
    block: int
    """Numbers that are packed together."""
    size_bytes: int
    """Of a block."""


FORMATS: Mapping[int, Format] = {
    0: Format("F32", 1, 4),
    1: Format("F16", 1, 2),
    2: Format("Q4_0", 32, 18),
    3: Format("Q4_1", 32, 20),
    6: Format("Q5_0", 32, 22),
    7: Format("Q5_1", 32, 24),
    8: Format("Q8_0", 32, 34),
    10: Format("Q2_K", 256, 84),
    11: Format("Q3_K", 256, 110),
    12: Format("Q4_K", 256, 144),
    13: Format("Q5_K", 256, 176),
    14: Format("Q6_K", 256, 210),
    30: Format("BF16", 1, 2),
}
"""By the numbers that ggml gives them."""
PACKED: Mapping[str, Format] = {one.name: one for one in FORMATS.values() if one.block > 1}
"""Those whose numbers are packed, by name."""


_T5 = {
    "attn_q": "layer.0.SelfAttention.q",
    "attn_k": "layer.0.SelfAttention.k",
    "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o",
    "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
    "attn_norm": "layer.0.layer_norm",
    "ffn_gate": "layer.1.DenseReluDense.wi_0",
    "ffn_up": "layer.1.DenseReluDense.wi_1",
    "ffn_down": "layer.1.DenseReluDense.wo",
    "ffn_norm": "layer.1.layer_norm",
}
"""What llama.cpp calls the layers of a block of T5's, and transformers."""
_T5_BLOCK = re.compile(r"enc\.blk\.(\d+)\.(\w+)\.weight")
_T5_ENDS = {
    "token_embd.weight": "shared.weight",
    "enc.output_norm.weight": "encoder.final_layer_norm.weight",
}


class UnknownFormat(NotSafetensors):
    """Its numbers are packed in a way that the studio does not know."""


def read_any(path: Path) -> Header:
    """The header of a safetensors or a GGUF file, told by its ending. Raises as `read_header`."""
    return read_gguf(path) if path.suffix.lower() == ENDING else read_header(path)


def read_gguf(path: Path) -> Header:
    """The header of a GGUF file, of which at most 16 MiB are read.

    Raises `NotSafetensors`, `UnknownFormat` or `Damaged`; `OSError` if it cannot be read at all.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        reader = _Reader(file)
        try:
            return _header(reader, size)
        except (struct.error, UnicodeDecodeError, OverflowError, RecursionError):
            raise Damaged("The model file is damaged (its header is malformed).") from None


def _header(reader: "_Reader", size: int) -> Header:
    if reader.take(4) != _MAGIC or reader.number("I") not in _VERSIONS:
        raise NotSafetensors("This is not a GGUF file of a version that the studio reads.")
    tensors, entries = reader.number("Q"), reader.number("Q")
    metadata: dict[str, Any] = {}
    for _ in range(entries):
        key = reader.text()
        metadata[key] = reader.value(reader.number("I"))
    told = [_told(reader) for _ in range(tensors)]
    by_llama = any(name.startswith("enc.blk.") for name, *_ in told)
    alignment = metadata.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
        raise Damaged("The model file is damaged (its header is malformed).")
    begin = -(-reader.read // alignment) * alignment
    found: dict[str, Tensor] = {}
    for name, shape, form, offset in told:
        original = metadata.get(f"comfy.gguf.orig_shape.{name}")
        if isinstance(original, list) and prod(original) == prod(shape):
            shape = tuple(original)
        name = _named(name) if by_llama else name
        end = offset + prod(shape) // form.block * form.size_bytes
        wrong = prod(shape) % form.block or begin + end > size or name in found
        if wrong:
            raise Damaged(
                "The model file is damaged (the size of a tensor is not what it should be)."
            )
        found[name] = Tensor(form.name, shape, offset, end)
    return Header(
        tensors=found,
        shapes={name: tensor.shape for name, tensor in found.items()},
        metadata={key: value for key, value in metadata.items() if isinstance(value, str)},
        data_begin=begin,
        size_bytes=size,
    )


def _named(name: str) -> str:
    """As transformers calls a tensor of T5's."""
    found = _T5_BLOCK.fullmatch(name)
    if found and found[2] in _T5:
        return f"encoder.block.{found[1]}.{_T5[found[2]]}.weight"
    return _T5_ENDS.get(name, name)


def _told(reader: "_Reader") -> tuple[str, tuple[int, ...], Format, int]:
    name, axes = reader.text(), reader.number("I")
    if axes > _MOST_AXES:
        raise Damaged("The model file is damaged (its header is malformed).")
    shape = tuple(reversed([reader.number("Q") for _ in range(axes)]))
    kind, offset = reader.number("I"), reader.number("Q")
    if kind not in FORMATS:
        raise UnknownFormat("Its numbers are packed in a way that the studio does not know.")
    return name, shape, FORMATS[kind], offset


class _Reader:
    """Values one after the other, of a header that may not be endless."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.read = 0

    def take(self, count: int) -> bytes:
        self.read += count
        if self.read > MAX_HEADER_BYTES:
            raise NotSafetensors("This is not a valid GGUF file: its header is larger than 16 MiB.")
        data = self._file.read(count)
        if len(data) < count:
            raise Damaged("The model file is damaged (it is cut off).")
        return data

    def number(self, kind: str) -> Any:
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode()

    def value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self.text()
        if kind == _LIST:
            inner, count = self.number("I"), self.number("Q")
            if inner == _LIST or count > _MOST_VALUES:
                raise Damaged("The model file is damaged (its header is malformed).")
            return [self.value(inner) for _ in range(count)]
        if kind not in _VALUES:
            raise Damaged("The model file is damaged (its header is malformed).")
        return self.number(_VALUES[kind])
