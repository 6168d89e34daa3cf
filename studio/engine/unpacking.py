"""Numbers that GGUF files pack in blocks, as ggml defines them (ggml-quants.h), each as a float.

A block holds 32 or 256 numbers of a few bits and what they are multiplied with; those of 256 ("K")
have a scale for each 16 or 32 of them, itself of a few bits.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from studio.checkpoints.gguf import PACKED

Unpack = Callable[[Tensor], Tensor]
"""From the bytes of blocks [n, size of a block] to their numbers [n, numbers in a block], float32."""


def _half(data: Tensor) -> Tensor:
    return data.contiguous().view(torch.float16).float()


def _nibbles(data: Tensor) -> Tensor:
    """[n, k] to [n, 2 × k]: the low halves of all bytes, then the high ones."""
    return torch.cat([data & 15, data >> 4], dim=1)


def _bits(data: Tensor, width: int) -> Tensor:
    """[n, k] to [n, 8 / width, k]: numbers of `width` bits, the lowest first."""
    shifts = torch.arange(0, 8, width, dtype=torch.uint8, device=data.device).view(1, -1, 1)
    return data.unsqueeze(1) >> shifts & (1 << width) - 1


def _q8_0(data: Tensor) -> Tensor:
    return _half(data[:, :2]) * data[:, 2:].contiguous().view(torch.int8).float()


def _q4_0(data: Tensor) -> Tensor:
    return _half(data[:, :2]) * (_nibbles(data[:, 2:]).float() - 8)


def _q4_1(data: Tensor) -> Tensor:
    return _half(data[:, :2]) * _nibbles(data[:, 4:]).float() + _half(data[:, 2:4])


def _fifth(data: Tensor) -> Tensor:
    """Bits of 32 numbers in 4 bytes, each worth 16."""
    shifts = torch.arange(8, dtype=torch.uint8, device=data.device)
    return (data.unsqueeze(2) >> shifts & 1).flatten(1) << 4


def _q5_0(data: Tensor) -> Tensor:
    return _half(data[:, :2]) * ((_nibbles(data[:, 6:]) | _fifth(data[:, 2:6])).float() - 16)


def _q5_1(data: Tensor) -> Tensor:
    numbers = (_nibbles(data[:, 8:]) | _fifth(data[:, 4:8])).float()
    return _half(data[:, :2]) * numbers + _half(data[:, 2:4])


def _scales(data: Tensor) -> tuple[Tensor, Tensor]:
    """8 scales and 8 minima of 6 bits out of 12 bytes [n, 12]."""
    one, two, rest = data[:, :4], data[:, 4:8], data[:, 8:]
    scales = torch.cat([one & 63, rest & 15 | one >> 6 << 4], dim=1)
    minima = torch.cat([two & 63, rest >> 4 | two >> 6 << 4], dim=1)
    return scales.float(), minima.float()


def _by_scale(data: Tensor, numbers: Tensor) -> Tensor:
    """Numbers [n, 8, 32] by their scales and minima, which 16 bytes before them tell."""
    scales, minima = _scales(data[:, 4:16])
    factor, least = _half(data[:, :2]) * scales, _half(data[:, 2:4]) * minima
    return (factor.unsqueeze(2) * numbers.float() - least.unsqueeze(2)).flatten(1)


def _pairs(data: Tensor) -> Tensor:
    """[n, 128] to [n, 8, 32]: of every 32 bytes the low halves, then the high ones."""
    parts = data.reshape(-1, 4, 32)
    return torch.stack([parts & 15, parts >> 4], dim=2).reshape(-1, 8, 32)


def _q4_k(data: Tensor) -> Tensor:
    return _by_scale(data, _pairs(data[:, 16:]))


def _q5_k(data: Tensor) -> Tensor:
    high = _bits(data[:, 16:48], 1)  # [n, 8, 32]
    return _by_scale(data, _pairs(data[:, 48:]) | high << 4)


def _q6_k(data: Tensor) -> Tensor:
    low = data[:, :128].reshape(-1, 2, 64)
    low = torch.stack([low & 15, low >> 4], dim=2).reshape(-1, 8, 32)
    high = data[:, 128:192].reshape(-1, 2, 32)
    high = torch.stack([high >> shift & 3 for shift in (0, 2, 4, 6)], dim=2).reshape(-1, 8, 32)
    numbers = ((low | high << 4).float() - 32).reshape(-1, 16, 16)
    scales = data[:, 192:208].contiguous().view(torch.int8).float() * _half(data[:, 208:])
    return (scales.unsqueeze(2) * numbers).flatten(1)


def _two_bits(data: Tensor) -> Tensor:
    """[n, 64] to [n, 16, 16]: of every 32 bytes the lowest bits, then the next."""
    parts = data.reshape(-1, 2, 32)
    return torch.stack([parts >> shift & 3 for shift in (0, 2, 4, 6)], dim=2).reshape(-1, 16, 16)


def _q2_k(data: Tensor) -> Tensor:
    scales, numbers = data[:, :16], _two_bits(data[:, 16:80]).float()
    factor = _half(data[:, 80:82]) * (scales & 15).float()
    least = _half(data[:, 82:84]) * (scales >> 4).float()
    return (factor.unsqueeze(2) * numbers - least.unsqueeze(2)).flatten(1)


def _q3_k(data: Tensor) -> Tensor:
    packed = data[:, 96:108]
    low = torch.cat([packed[:, :8] & 15, packed[:, :8] >> 4], dim=1)
    high = torch.cat([packed[:, 8:] >> shift & 3 for shift in (0, 2, 4, 6)], dim=1)
    scales = ((low | high << 4).float() - 32) * _half(data[:, 108:110])
    missing = 1 - _bits(data[:, :32], 1).reshape(-1, 16, 16)
    numbers = _two_bits(data[:, 32:96]).float() - 4 * missing.float()
    return (scales.unsqueeze(2) * numbers).flatten(1)


UNPACK: Mapping[str, Unpack] = {
    "Q8_0": _q8_0,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
"""By the name of the format in `checkpoints.gguf`."""


def floats(kind: str, data: bytes) -> NDArray[np.float32]:
    """The numbers in the bytes of whole blocks of that format."""
    blocks = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return UNPACK[kind](blocks.view(-1, PACKED[kind].size_bytes)).flatten().numpy()
