"""Texts in the lowest bits of pixels, as NovelAI and extensions of A1111 hide them ("stealth PNG
info"): a signature, the number of bits that follow, then text or gzip. Bits run down the columns
from the left, the highest of each byte first."""

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from studio.core.errors import StudioError
from studio.core.intake import load
from studio.prompts.files._reading import json_object
from studio.prompts.files.containers import KEYS, MAX_TEXT_BYTES, PNG, checked

if TYPE_CHECKING:
    from PIL.Image import Image

_SIGNED, _COUNTED = 15, 4
"""Bytes of the signature, and of the number of bits."""
_ALPHA, _COLOURS = (3,), (0, 1, 2)
_CHANNELS = {
    b"stealth_pnginfo": _ALPHA,
    b"stealth_pngcomp": _ALPHA,
    b"stealth_rgbinfo": _COLOURS,
    b"stealth_rgbcomp": _COLOURS,
}
"""Which channels of a pixel hold bits, by signature."""
_GZIP = 31
"""zlib's `wbits` for it."""


def texts(data: bytes) -> dict[str, str]:
    """As `containers.texts`; nothing for a file that hides none, or that `core.intake` would not take.

    Decodes a PNG. Raises `TooLarge` as that does.
    """
    if not data.startswith(PNG):
        return {}
    try:
        image = load(data)
    except StudioError:
        return {}
    text = _hidden(image).decode("utf-8", "replace")
    found = json_object(text)
    if found is None:
        return {"parameters": text} if text else {}
    return {key: value for key, value in found.items() if key in KEYS and isinstance(value, str)}


def _hidden(image: "Image") -> bytes:
    """The text, or nothing."""
    for signature, channels in _CHANNELS.items():
        if max(channels) >= len(image.getbands()) or _read(image, channels, _SIGNED) != signature:
            continue
        before = _SIGNED + _COUNTED
        length = int.from_bytes(_read(image, channels, before)[_SIGNED:], "big") // 8
        if before + length > image.width * image.height * len(channels) // 8:
            return b""
        found = _read(image, channels, before + length)[before:]
        return _unpacked(found) if signature.endswith(b"comp") else checked(found)
    return b""


def _read(image: "Image", channels: tuple[int, ...], length: int) -> bytes:
    """The first bytes that these channels hold; fewer than `length` if there are no more."""
    import numpy as np

    columns = -(-length * 8 // (image.height * len(channels)))
    pixels = np.asarray(image.crop((0, 0, min(columns, image.width), image.height)))
    bits = pixels[:, :, list(channels)].transpose(1, 0, 2).reshape(-1) & 1
    return np.packbits(bits).tobytes()[:length]


def _unpacked(packed: bytes) -> bytes:
    with suppress(zlib.error):
        return checked(zlib.decompressobj(_GZIP).decompress(packed, MAX_TEXT_BYTES + 1))
    return b""
