"""What may come in: real PNG, JPEG and WebP pictures, measured before anything is decoded.

A file is judged by its content. Its header says how large it is, its structure where it ends;
only then are pixels decoded, once, to know that they are there.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from studio.core import png
from studio.core.errors import InvalidRequest, TooLarge, Unsupported

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

MAX_BYTES = 32 << 20
MAX_PIXELS = 40_000_000
MAX_SIDE_PX = 8192
MAX_TEXT_BYTES = 8 << 20
"""Metadata of one file, unpacked. The largest ComfyUI workflows have about 2 MB."""

MAX_PACKED_BYTES = 1 << 20
"""One compressed text, unpacked: Pillow refuses to read more."""

_ORIENTATION = 0x0112
"""EXIF tag: how the camera was held, 1 (upright) … 8."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Intake:
    """A picture that may come in."""

    format: str
    """`PNG`, `JPEG` or `WEBP`."""
    width: int
    """Pixels, as it is shown: after EXIF rotation."""
    height: int
    mode: str
    """Pillow's name for how pixels are stored ("RGB", "CMYK", "I;16", …)."""
    frames: int = 1
    """More than 1 in an animation; only the first is used."""
    exif_rotated: bool = False

    @property
    def media_type(self) -> str:
        return f"image/{self.format.lower()}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not used as it is, a sentence each."""
        if self.frames > 1:
            return (f"This is an animation: only the first of its {self.frames} frames is used.",)
        return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """What the bytes say before decoding."""

    format: str
    width: int
    height: int
    frames: int | None = 1
    """None: the decoder knows."""


def inspect(data: bytes) -> Intake:
    """Judges a whole file. Takes up to 12 bytes a pixel of memory, and much less to refuse.

    Raises `TooLarge` (over 32 MB, 40 MP or 8192 px a side), `Unsupported` (another kind of file,
    cut off, damaged, or with something hidden behind the picture), `InvalidRequest` (too much
    metadata).
    """
    if len(data) > MAX_BYTES:
        raise TooLarge(
            f"The file is too large ({len(data) / 1e6:.0f} MB, the limit is {MAX_BYTES >> 20} MB).",
            "Save it as JPEG or WebP, or make it smaller.",
        )
    header = _header(data)
    _require_size(header.width, header.height)
    with _damage_told(), _opened(data, header.format) as image:
        frames = header.frames or int(getattr(image, "n_frames", 1))
        mode = image.mode
        if header.format == "JPEG":
            image.draft(None, (1, 1))  # an eighth of the size: reads all, keeps little
        image.load()
        rotation = _rotation(image)
    width, height = header.width, header.height
    return Intake(
        format=header.format,
        width=height if rotation in _SIDEWAYS else width,
        height=width if rotation in _SIDEWAYS else height,
        mode=mode,
        frames=frames,
        exif_rotated=rotation != 1,
    )


def load(source: Path | bytes) -> "Image":
    """The picture as RGB, or as RGBA if some of it may be transparent: upright, 8 bit, first frame.

    An embedded colour profile is converted to sRGB. Raises as `inspect` does, `OSError` if the
    file cannot be read.
    """
    data = source if isinstance(source, bytes) else _bytes(source)
    header = _header(data)
    _require_size(header.width, header.height)
    with _damage_told(), _opened(data, header.format) as image:
        image.load()
        if header.format == "PNG":
            image = _keyed(image, data)
        return _upright(_coloured(image), _rotation(image))


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height as the picture is shown, from its header. Raises as `load` does."""
    data = _bytes(path)
    header = _header(data)
    with _damage_told(), _opened(data, header.format) as image:
        rotation = _rotation(image)
    if rotation in _SIDEWAYS:
        return header.height, header.width
    return header.width, header.height


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES * 8)


def _header(data: bytes) -> _Header:
    for signature, read in _READERS.items():
        if data.startswith(signature):
            return read(data)
    raise Unsupported(
        "This is not a picture that the studio reads.", "Use a PNG, JPEG or WebP file."
    )


def _require_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise _damaged()
    if width * height > MAX_PIXELS:
        raise TooLarge(
            f"The picture is too large ({width * height / 1e6:.0f} MP, "
            f"the limit is {MAX_PIXELS // 10**6} MP).",
            "Make it smaller and try again.",
        )
    if max(width, height) > MAX_SIDE_PX:
        raise TooLarge(
            f"The picture is too large ({max(width, height)} px, the limit is {MAX_SIDE_PX} px "
            "a side).",
            "Make it smaller and try again.",
        )


@contextmanager
def _opened(data: bytes, form: str) -> "Generator[Image]":
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=(form,)) as image:
        yield image


@contextmanager
def _damage_told() -> Generator[None]:
    """Whatever a decoder trips over, as one sentence. These are what Pillow's decoders raise."""
    try:
        yield
    except (
        OSError,
        ValueError,
        SyntaxError,
        ArithmeticError,
        LookupError,
        AttributeError,
        AssertionError,
        TypeError,
        EOFError,
        MemoryError,
        struct.error,
        zlib.error,
    ) as error:
        raise _damaged() from error


def _damaged() -> Unsupported:
    return Unsupported("The picture is damaged or cut off.", "Save or download it again.")


def _hidden() -> Unsupported:
    return Unsupported(
        "The file holds something else behind its picture.",
        "Open it in a picture editor and save it anew.",
    )


# PNG


def _read_png(data: bytes) -> _Header:
    file = io.BytesIO(data)
    width, height = struct.unpack(">II", data[16:24].ljust(8, b"\0"))
    budget, frames, pixels = MAX_TEXT_BYTES, 1, False
    try:
        for chunk in png.walk(file, keep=lambda kind, length: kind in _PNG_READ):
            pixels = pixels or chunk.kind == b"IDAT"
            if chunk.kind == b"acTL" and len(chunk.data) == 8:
                frames = max(1, struct.unpack(">I", chunk.data[:4])[0])
            elif chunk.kind in _PNG_READ:
                budget -= _unpacked(chunk, budget)
                if budget < 0:
                    raise InvalidRequest(
                        "The picture carries too much metadata "
                        f"(the limit is {MAX_TEXT_BYTES >> 20} MB).",
                        "Open it in a picture editor and save it anew.",
                    )
    except (png.DamagedPng, zlib.error):
        raise _damaged() from None
    if not pixels:
        raise _damaged()
    if data[file.tell() :].strip(_PADDING):
        raise _hidden()
    return _Header(format="PNG", width=width, height=height, frames=frames)


_PNG_READ = {b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL"}
_PADDING = b"\0 \t\r\n"


def _unpacked(chunk: png.Chunk, limit: int) -> int:
    """Bytes of a metadata chunk once unpacked; more than `limit` if it is too much to tell."""
    packed = b""
    name, _, rest = chunk.data.partition(b"\0")
    if chunk.kind in {b"zTXt", b"iCCP"}:
        packed = rest[1:]
    elif chunk.kind == b"iTXt" and rest[:1] == b"\1":
        packed = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if not packed:
        return chunk.length
    size = len(zlib.decompressobj().decompress(packed, MAX_PACKED_BYTES + 1))
    return len(name) + (size if size <= MAX_PACKED_BYTES else limit + 1)


# JPEG

_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
"""Stuffed bytes and restarts between the pixels are no markers."""
_MAX_SEGMENTS = 20_000
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers: height and width follow."""
_ALONE, _END, _SCAN = {0x01, 0xD8}, 0xD9, 0xDA


def _read_jpeg(data: bytes) -> _Header:
    width = height = metadata = 0
    at = 2
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            raise _damaged()
        marker, at = found[1][0], found.end()
        if marker == _END:
            break
        if marker in _ALONE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            raise _damaged()
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", data[at + 3 : at + 7].ljust(4, b"\0"))
        elif marker == _SCAN and not width:
            raise _damaged()
        elif 0xE0 <= marker <= 0xEF or marker == 0xFE:
            metadata += length
            if metadata > MAX_TEXT_BYTES:
                raise InvalidRequest(
                    f"The picture carries too much metadata (the limit is {MAX_TEXT_BYTES >> 20} "
                    "MB).",
                    "Open it in a picture editor and save it anew.",
                )
        at += length
    else:
        raise _damaged()
    if not width:
        raise _damaged()
    if not _harmless_tail(data[at:]):
        raise _hidden()
    return _Header(format="JPEG", width=width, height=height)


def _harmless_tail(tail: bytes) -> bool:
    """Whether it is what cameras put there: nothing, padding, another JPEG, a short film."""
    tail = tail.lstrip(_PADDING)
    return not tail or tail.startswith(b"\xff\xd8\xff") or tail[:16].find(b"ftyp") >= 0


# WebP


def _read_webp(data: bytes) -> _Header:
    if data[8:12] != b"WEBP" or len(data) < 30:
        raise (
            _damaged()
            if data[8:12] == b"WEBP"
            else Unsupported(
                "This is not a picture that the studio reads.", "Use a PNG, JPEG or WebP file."
            )
        )
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise _damaged()
    if data[end:].strip(_PADDING):
        raise _hidden()
    kind, body = data[12:16], data[20:]
    if kind == b"VP8X":
        width = int.from_bytes(body[4:7], "little") + 1
        height = int.from_bytes(body[7:10], "little") + 1
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", body[6:10]))
    else:
        raise _damaged()
    return _Header(format="WEBP", width=width, height=height, frames=None)


_READERS: Mapping[bytes, Callable[[bytes], _Header]] = {
    png.SIGNATURE: _read_png,
    b"\xff\xd8\xff": _read_jpeg,
    b"RIFF": _read_webp,
}


# Colours and rotation

_SIDEWAYS = {5, 6, 7, 8}


def _rotation(image: "Image") -> int:
    """The orientation tag of a loaded picture: asking earlier would decode, and hide its damage."""
    try:
        found: Any = image.getexif().get(_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error):
        return 1  # a camera wrote nonsense; the pixels have been read
    return found if found in range(1, 9) else 1


def _upright(image: "Image", rotation: int) -> "Image":
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[rotation]) if rotation in turns else image


def _keyed(image: "Image", data: bytes) -> "Image":
    """The picture of a PNG with the one colour that it says is transparent, where Pillow gives its
    pixels at another depth than the file has."""
    depth, key = data[24], image.info.get("transparency")
    if isinstance(key, int) and image.mode == "L" and depth < 8:
        image.info["transparency"] = key * 255 // (2**depth - 1)
    elif isinstance(key, tuple) and depth == 16:
        return _keyed_of_16_bits(image, data, cast(tuple[int, ...], key))
    return image


def _keyed_of_16_bits(image: "Image", data: bytes, key: tuple[int, ...]) -> "Image":
    """RGBA. Pillow gives the upper bytes of such colours; the lower ones are read beside them."""
    import numpy as np
    from PIL import Image as Images

    upper = np.all(np.asarray(image) == [value >> 8 for value in key], axis=-1)
    with _opened(data, "PNG") as again:
        file = cast("ImageFile", again)
        file.tile = [tile._replace(args="RGB;16L") for tile in file.tile]
        lower = np.all(np.asarray(again) == [value & 255 for value in key], axis=-1)
    shown = image.copy()
    shown.putalpha(Images.fromarray(np.where(upper & lower, 0, 255).astype(np.uint8)))
    del shown.info["transparency"]
    return shown


def _of_16_bits(image: "Image") -> "Image":
    """Grey; as Pillow's decoder does with 16 bit colours."""
    wide = image.convert("I")
    grey = wide.point(lambda value: value / 256).convert("L")
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return grey.convert("RGB")
    import numpy as np
    from PIL import Image as Images

    shown = np.where(np.asarray(wide) == key, 0, 255).astype(np.uint8)
    return Images.merge("LA", (grey, Images.fromarray(shown))).convert("RGBA")


def _coloured(image: "Image") -> "Image":
    if image.mode.startswith("I"):
        return _of_16_bits(image)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in {"RGB", "CMYK"} and image.info.get("icc_profile"):
        return _in_srgb(image)
    return image.convert("RGB")


def _in_srgb(image: "Image") -> "Image":
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        target: Any = cast(Any, ImageCms).createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, profile, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB")  # a broken profile says nothing about the pixels
    return converted or image.convert("RGB")
