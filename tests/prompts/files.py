"""Picture files with texts inside, written byte for byte as the programs write them."""

import io
import struct
import zlib
from collections.abc import Mapping
from typing import cast

from PIL import Image
from PIL.PngImagePlugin import PngInfo

USER_COMMENT = 0x9286


def pixels(size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, (200, 80, 20))


def png(**texts: str) -> bytes:
    """As Pillow's users write it: tEXt where Latin-1 holds the text, else iTXt."""
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key.replace("__", "-"), text)
    file = io.BytesIO()
    pixels().save(file, "PNG", pnginfo=info)
    return file.getvalue()


def png_chunks(*chunks: tuple[bytes, bytes], after_pixels: bool = False) -> bytes:
    """A PNG with raw chunks before (or behind) its pixels."""
    plain = png()
    at = plain.index(b"IEND") - 4 if after_pixels else plain.index(b"IDAT") - 4
    packed = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return plain[:at] + packed + plain[at:]


def hidden(signature: str, body: bytes, size: tuple[int, int] = (90, 80)) -> bytes:
    """A PNG with a signature, a length in bits and a body in its lowest bits, column by column."""
    colours = "rgb" in signature
    image = pixels(size) if colours else pixels(size).convert("RGBA")
    whole = signature.encode() + struct.pack(">I", 8 * len(body)) + body
    bits = iter("".join(f"{byte:08b}" for byte in whole))
    for x in range(size[0]):
        for y in range(size[1]):
            pixel = list(cast(tuple[int, ...], image.getpixel((x, y))))
            for channel in (0, 1, 2) if colours else (3,):
                pixel[channel] = pixel[channel] & ~1 | int(next(bits, "0"))
            image.putpixel((x, y), tuple(pixel))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def exif(comment: bytes | None = None, root: Mapping[int, object] | None = None) -> Image.Exif:
    found = Image.Exif()
    for tag, value in (root or {}).items():
        found[tag] = value
    if comment is not None:
        found.get_ifd(0x8769)[USER_COMMENT] = comment
    return found


def unicode_comment(text: str) -> bytes:
    """What piexif's `UserComment.dump(text, "unicode")` makes."""
    return b"UNICODE\0" + text.encode("utf-16-be")


def saved(form: str, found: Image.Exif) -> bytes:
    file = io.BytesIO()
    pixels().save(file, form, exif=found)
    return file.getvalue()
