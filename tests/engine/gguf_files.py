"""Writes GGUF files, by the format's description; numbers are packed here as the reader unpacks them
nowhere: one by one."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"F32": 0, "F16": 1, "Q8_0": 8, "Q4_K": 12, "BF16": 30}

Packed = tuple[str, tuple[int, ...], bytes]
"""Format, shape as torch has it, bytes."""


def save_gguf(tensors: Mapping[str, Packed], file: Path, architecture: str = "flux") -> Path:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    entries: dict[str, Any] = {"general.architecture": architecture}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries) + 1)
    for key, value in entries.items():
        head += text(key) + struct.pack("<I", 8) + text(value)
    head += text("some.list") + struct.pack("<IIQ3f", 9, 6, 3, 1.0, 2.0, 3.0)
    body = b""
    for name, (kind, shape, data) in tensors.items():
        head += text(name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *reversed(shape))
        head += struct.pack("<IQ", KINDS[kind], len(body))
        body += data + bytes(-len(data) % 32)
    file.write_bytes(head + bytes(-len(head) % 32) + body)
    return file


def q8_0(numbers: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Packed, and what they are then: 32 numbers by one scale."""
    data, after = b"", []
    for block in numbers.reshape(-1, 32):
        scale = np.float16(np.abs(block).max() / 127 or 1)
        few = np.clip(np.round(block / np.float32(scale)), -127, 127).astype(np.int8)
        data += scale.tobytes() + few.tobytes()
        after.append(np.float32(scale) * few.astype(np.float32))
    return data, np.concatenate(after).reshape(numbers.shape)


def q4_k(count: int, dice: np.random.Generator) -> tuple[bytes, np.ndarray]:
    """So many numbers, drawn packed: of 256, each 32 have a scale and a least one of 6 bits."""
    data, after = b"", []
    for _ in range(count // 256):
        d, least = np.float16(dice.uniform(1e-4, 3e-4)), np.float16(dice.uniform(1e-3, 2e-3))
        scales, minima = dice.integers(0, 64, 8), dice.integers(0, 64, 8)
        few = dice.integers(0, 16, (8, 32))
        packed = [0] * 12
        for n in range(4):
            packed[n] = int(scales[n] | scales[n + 4] >> 4 << 6)
            packed[n + 4] = int(minima[n] | minima[n + 4] >> 4 << 6)
            packed[n + 8] = int(scales[n + 4] & 15 | (minima[n + 4] & 15) << 4)
        halves = [few[n] | few[n + 1] << 4 for n in (0, 2, 4, 6)]
        data += d.tobytes() + least.tobytes() + bytes(packed)
        data += np.concatenate(halves).astype(np.uint8).tobytes()
        for n in range(8):
            low = np.float32(least) * np.float32(minima[n])
            after.append(np.float32(d) * np.float32(scales[n]) * few[n].astype(np.float32) - low)
    return data, np.concatenate(after)
