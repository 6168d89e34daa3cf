"""Frames between the web process and an engine process.

A frame is a 4-byte big-endian length, that many bytes of UTF-8 JSON (an object), and then as many
raw bytes as its entry `blob` says.
"""

import json
from collections.abc import Mapping
from typing import IO, Any, cast

MAX_HEADER_BYTES = 4 << 20
"""A resolved request with the longest prompts is well below it."""
MAX_BLOB_BYTES = 256 << 20
"""The largest picture is 2048 × 2048 × 3 = 12 MiB."""


def write_frame(stream: IO[bytes], header: Mapping[str, Any], blob: bytes = b"") -> None:
    """Writes one frame and flushes. Raises `OSError` if nobody reads any more.

    Not for two threads at once: a frame is more than one write on a full pipe.
    """
    text = json.dumps({**header, "blob": len(blob)}, ensure_ascii=False, allow_nan=False)
    head = text.encode("utf-8", "replace")
    if len(head) > MAX_HEADER_BYTES or len(blob) > MAX_BLOB_BYTES:
        raise ValueError("the frame is too large")
    stream.write(len(head).to_bytes(4, "big") + head)
    if blob:
        stream.write(blob)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """The next frame, or None when the stream ended between two frames.

    Raises `EOFError` if it ended inside one, `ValueError` if the bytes are no frame; there is no
    way to find the next frame after that.
    """
    length = stream.read(4)
    if not length:
        return None
    size = int.from_bytes(_rest(stream, length, 4), "big")
    if size > MAX_HEADER_BYTES:
        raise ValueError("the frame's header is too large")
    header = json.loads(_rest(stream, b"", size))
    if not isinstance(header, dict):
        raise ValueError("the frame's header is not an object")
    header = cast(dict[str, Any], header)
    blob_size = header.pop("blob", 0)
    if not isinstance(blob_size, int) or not 0 <= blob_size <= MAX_BLOB_BYTES:
        raise ValueError("the frame's blob has no valid size")
    return header, _rest(stream, b"", blob_size)


def _rest(stream: IO[bytes], begun: bytes, size: int) -> bytes:
    """`begun` and what follows, up to `size` bytes."""
    parts, missing = [begun], size - len(begun)
    while missing > 0:
        part = stream.read(missing)
        if not part:
            raise EOFError("the stream ended inside a frame")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
