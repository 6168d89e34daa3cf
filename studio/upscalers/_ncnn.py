"""Weights in ncnn's two files, read without ncnn.

The networks then run as every other one here: on the device of the studio, without a second engine
with threads of its own beside torch. `.param` is a text with a layer a line, in the order in which
the `.bin` beside it holds their weights: a convolution has a tag of four bytes that tells whether
its kernel is in half precision (padded to four bytes) or in single, then its bias; a PReLU has its
slopes. Biases and slopes are in single precision.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = "7767517"
HALF, SINGLE = 0x01306B47, 0
MAX_BYTES = 256 << 20

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer that has weights."""

    weight: Floats
    """A kernel [out, in, height, width], or slopes [channels]."""
    bias: Floats | None = None


def layers(bin_file: Path) -> tuple[Layer, ...]:
    """The layers with weights, in order. Raises `ValueError` for other files, or `OSError`."""
    if bin_file.stat().st_size > MAX_BYTES:
        raise ValueError("too large")
    data = bin_file.read_bytes()
    lines = bin_file.with_suffix(".param").read_text("ascii").splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise ValueError("no ncnn text")
    reader = _Reader(data)
    found = tuple(_read(lines, reader))
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes are left over")
    return found


def _read(lines: list[str], reader: "_Reader") -> Iterator[Layer]:
    for line in lines[2:]:
        words = line.split()
        if not words or words[0] not in {"Convolution", "PReLU"}:
            continue
        settings = dict(word.split("=", 1) for word in words if "=" in word)
        outputs = int(settings["0"])
        if words[0] == "PReLU":
            yield Layer(weight=reader.single(outputs))
            continue
        side, count = int(settings["1"]), int(settings["6"])
        kernel = reader.kernel(count).reshape(outputs, -1, side, side)
        yield Layer(weight=kernel, bias=reader.single(outputs))


@dataclass(slots=True)
class _Reader:
    data: bytes
    at: int = 0

    def single(self, count: int) -> Floats:
        return self._take(count, np.dtype("<f4"))

    def kernel(self, count: int) -> Floats:
        (tag,) = struct.unpack_from("<I", self._bytes(4))
        if tag not in {HALF, SINGLE}:
            raise ValueError(f"weights in an unknown form ({tag:#x})")
        found = self._take(count, np.dtype("<f2" if tag == HALF else "<f4"))
        if tag == HALF and count % 2:
            self._bytes(2)
        return found

    def _take(self, count: int, kind: np.dtype[np.float32 | np.float16]) -> Floats:
        return np.frombuffer(self._bytes(count * kind.itemsize), kind).astype(np.float32)

    def _bytes(self, count: int) -> bytes:
        taken = self.data[self.at : self.at + count]
        if count < 0 or len(taken) < count:
            raise ValueError("cut off")
        self.at += count
        return taken
