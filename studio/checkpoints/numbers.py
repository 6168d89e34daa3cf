"""Numbers of every float format that weights come in, without torch."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import InvalidRequest

Floats = NDArray[np.float32]

FORMATS = {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}
"""What people call the formats that can be written, and what safetensors does."""


def is_float(dtype: str) -> bool:
    return dtype in _READERS


def read(data: bytes, dtype: str) -> Floats:
    """The numbers in these bytes, exactly but for F64; `dtype` must be a float one."""
    return _READERS[dtype](data)


def write(numbers: Floats, dtype: str) -> bytes:
    """The nearest numbers of F32, F16 or BF16, ties to even.

    Raises `InvalidRequest` if one that was finite is too large for it.
    """
    if dtype == "F32":
        return numbers.astype("<f4", copy=False).tobytes()
    if dtype == "BF16":
        return _bfloat16(numbers).tobytes()
    with np.errstate(over="ignore"):
        halves = numbers.astype("<f2")
    if np.any(np.isinf(halves) & np.isfinite(numbers)):
        raise InvalidRequest(
            "Some of its weights are too large for fp16.", "Choose bf16 or fp32.", field="dtype"
        )
    return halves.tobytes()


def _bfloat16(numbers: Floats) -> NDArray[np.uint16]:
    """The upper half of each float32's bits, rounded to the nearest, ties to even."""
    bits = numbers.astype("<f4", copy=False).view("<u4")
    rounded = bits + (0x7FFF + ((bits >> 16) & 1)).astype("<u4")
    # rounding could carry a NaN over into an infinity or a zero
    quiet = bits | np.uint32(0x0040_0000)
    return (np.where(np.isnan(numbers), quiet, rounded) >> 16).astype("<u2")


def _of_bfloat16(data: bytes) -> Floats:
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")


def _of_e5m2(data: bytes) -> Floats:
    """The upper byte of a float16."""
    return (np.frombuffer(data, "u1").astype("<u2") << 8).view("<f2").astype("<f4")


def _e4m3_table() -> Floats:
    """All 256 numbers of F8_E4M3 (the "FN" kind: no infinities, 0x7F and 0xFF are NaN)."""
    codes = np.arange(256)
    exponent, fraction = (codes >> 3) & 15, (codes & 7) / 8
    size = np.where(exponent == 0, fraction * 2.0**-6, (1 + fraction) * 2.0 ** (exponent - 7.0))
    size[(codes & 0x7F) == 0x7F] = np.nan
    return np.where(codes & 0x80, -size, size).astype("<f4")


_READERS: Mapping[str, Callable[[bytes], Floats]] = {
    "F64": lambda data: np.frombuffer(data, "<f8").astype("<f4"),
    "F32": lambda data: np.frombuffer(data, "<f4"),
    "F16": lambda data: np.frombuffer(data, "<f2").astype("<f4"),
    "BF16": _of_bfloat16,
    "F8_E5M2": _of_e5m2,
    "F8_E4M3": lambda data: _e4m3_table()[np.frombuffer(data, "u1")],
}
