"""The texts inside a PNG, JPEG or WebP file. Pixels are never decoded, so no picture is too large.

What a damaged or cut-off file still holds is found; every length is checked before it is believed.
"""

import re
import struct
import zlib
from collections.abc import Iterator

from studio.core.errors import TooLarge, Unsupported

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_TEXT_BYTES = 512 * 1024
"""Of one text. ComfyUI's graphs take the most: some hundred KB for the largest."""

KEYS = frozenset(
    {
        "pochade",
        "parameters",
        "UserComment",
        "fooocus_scheme",
        "prompt",
        "invokeai_metadata",
        "sd-metadata",
        "Dream",
        "Comment",
        "Description",
        "Software",
        "Source",
    }
)
"""What texts are called; others are skipped unread."""

PNG = b"\x89PNG\r\n\x1a\n"
_USER_COMMENT = 0x9286
_MAKER_NOTE = 0x927C
_EXIF_FOLDER = 0x8769
_MAKE, _MODEL, _SOFTWARE = 0x010F, 0x0110, 0x0131
_LABELLED = re.compile(r"(prompt|workflow):")


def texts(data: bytes) -> dict[str, str]:
    """Texts by keyword; EXIF's comment, where a JPEG or WebP keeps them, is `UserComment`.

    Raises `Unsupported` for another kind of file, `TooLarge` for a file beyond `MAX_FILE_BYTES` or
    a text beyond `MAX_TEXT_BYTES`, also when only unpacking would make it so long.
    """
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(
            f"The file is too large ({len(data) >> 20} MB, the limit is {MAX_FILE_BYTES >> 20} MB).",
            "Drop the picture as it was first saved.",
        )
    if data.startswith(PNG):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _first_exif(_jpeg_exif(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _first_exif(_webp_exif(data))
    raise Unsupported(
        "This is not a picture that the studio reads.", "Use a PNG, JPEG or WebP file."
    )


def _png(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind, body in _png_chunks(data):
        if kind == b"eXIf":
            for key, text in _exif(body).items():
                found.setdefault(key, text)
        else:
            keyword, zero, rest = body.partition(b"\0")
            key = keyword.decode("latin-1")
            if zero and key in KEYS and (text := _PNG_TEXTS[kind](rest)) is not None:
                found[key] = text
    return found


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Chunks that may hold text."""
    at = len(PNG)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind == b"IEND" or at + 8 + length > len(data):
            return
        if kind in _PNG_TEXTS or kind == b"eXIf":
            yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


def _text(body: bytes) -> str:
    return _decoded(checked(body))


def _packed_text(body: bytes) -> str | None:
    unpacked = _unpacked(body[1:])
    return None if unpacked is None else _decoded(unpacked)


def _international_text(body: bytes) -> str | None:
    packed = body[:1] == b"\x01"
    _language, _, rest = body[2:].partition(b"\0")
    _translated, zero, text = rest.partition(b"\0")
    if not zero:
        return None
    raw = _unpacked(text) if packed else checked(text)
    return None if raw is None else raw.decode("utf-8", "replace")


_PNG_TEXTS = {b"tEXt": _text, b"zTXt": _packed_text, b"iTXt": _international_text}


def checked(raw: bytes) -> bytes:
    """The same. Raises `TooLarge` beyond `MAX_TEXT_BYTES`."""
    if len(raw) > MAX_TEXT_BYTES:
        raise TooLarge(
            f"The settings in the picture are too long (over {MAX_TEXT_BYTES >> 10} KB).",
            "Type the prompt by hand.",
        )
    return raw


def _unpacked(packed: bytes) -> bytes | None:
    try:
        return checked(zlib.decompressobj().decompress(packed, MAX_TEXT_BYTES + 1))
    except zlib.error:
        return None


def _decoded(raw: bytes) -> str:
    """The standard says Latin-1, half of the programs write UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _jpeg_exif(data: bytes) -> Iterator[bytes]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in {0xDA, 0xD9} or length < 2:  # pixels, or the end
            return
        body = data[at + 4 : at + 2 + length]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            yield body[6:]
        at += 2 + length


def _webp_exif(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            yield data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0")
        at += 8 + length + length % 2


def _first_exif(bodies: Iterator[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for body in bodies:
        for key, text in _exif(body).items():
            found.setdefault(key, text)
    return found


def _exif(body: bytes) -> dict[str, str]:
    tags = _tags(body)
    found: dict[str, str] = {}
    if comment := tags.get(_USER_COMMENT):
        found["UserComment"] = _comment(checked(comment))
    if software := tags.get(_SOFTWARE):
        found["Software"] = _decoded(checked(software)).rstrip("\0")
    if scheme := tags.get(_MAKER_NOTE):
        found["fooocus_scheme"] = _decoded(scheme[:32]).rstrip("\0")
    for tag in (_MODEL, _MAKE):
        # ComfyUI's "prompt:{…}" and "workflow:{…}"
        text = _decoded(checked(tags.get(tag, b""))).rstrip("\0")
        if labelled := _LABELLED.match(text):
            found[labelled[1]] = text[labelled.end() :]
    return {key: text for key, text in found.items() if key in KEYS}


def _tags(body: bytes) -> dict[int, bytes]:
    """Values of text and raw bytes in a TIFF structure: the first folder and its EXIF folder."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(body[:4])
    if order is None or len(body) < 8:
        return {}
    found: dict[int, bytes] = {}
    folders = [struct.unpack(f"{order}I", body[4:8])[0]]
    seen: set[int] = set()
    while folders:
        folder = folders.pop()
        if folder in seen or folder + 2 > len(body):
            continue
        seen.add(folder)
        (count,) = struct.unpack(f"{order}H", body[folder : folder + 2])
        for entry in range(folder + 2, min(folder + 2 + 12 * count, len(body) - 11), 12):
            tag, kind, size, at = struct.unpack(f"{order}HHII", body[entry : entry + 12])
            if tag == _EXIF_FOLDER and kind in {4, 13} and len(seen) < 3:
                folders.append(at)
            elif kind in {1, 2, 7}:
                start = at if size > 4 else entry + 8
                found.setdefault(tag, body[start : start + size])
    return found


def _comment(raw: bytes) -> str:
    """An EXIF UserComment: eight bytes that name the encoding, then the text."""
    name, text = raw[:8], raw[8:]
    if name == b"UNICODE\0":
        return _utf16(text)
    if name == b"ASCII\0\0\0" or not name.strip(b"\0"):
        return _decoded(text).rstrip("\0")
    return _decoded(raw).rstrip("\0")


def _utf16(raw: bytes) -> str:
    """Big-endian as piexif writes it, unless the bytes read as Latin letters only the other way."""
    raw = raw[: len(raw) // 2 * 2]
    if raw[:2] == b"\xff\xfe":
        return raw[2:].decode("utf-16-le", "replace")
    little = raw[1::2].count(0) > raw[::2].count(0)
    text = raw.decode("utf-16-le" if little else "utf-16-be", "replace")
    return text.removeprefix("\ufeff").rstrip("\0")
