"""What may come in, what may not, and what it costs to find out."""

import io
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from studio.core import intake
from studio.core.errors import InvalidRequest, StudioError, TooLarge, Unsupported

ROOT = Path(__file__).resolve().parents[2]
REFUSED_MEMORY_MB = 60
"""What refusing may add to the process; decoding 13000² would add 500."""


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def grid(mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Image.Image:
    """A picture whose corners differ: red at the top left, blue at the top right, else white."""
    image = Image.new("RGB", size, "white")
    image.putpixel((0, 0), (255, 0, 0))
    image.putpixel((size[0] - 1, 0), (0, 0, 255))
    return image.convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def made_png(width: int, height: int, *extra: bytes, pixels: bytes | None = None) -> bytes:
    """A grey PNG of that size; its pixels are zeros, packed without ever being in memory at once."""
    packer = zlib.compressobj(9)
    if pixels is None:
        line = bytes(width + 1)
        packed = b"".join(packer.compress(line) for _ in range(min(height, 20_000)))
        pixels = packed + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(extra)
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(1, 1), (6, 4), (300, 7)])
def test_real_pictures_come_in(form: str, size: tuple[int, int]) -> None:
    data = saved(Image.new("RGB", size, "green"), form)
    found = intake.inspect(data)
    assert (found.format, found.width, found.height, found.frames) == (form, *size, 1)
    assert not found.exif_rotated
    assert found.notes == ()
    image = intake.load(data)
    assert (image.mode, image.size) == ("RGB", size)


@pytest.mark.parametrize(
    ("mode", "form", "loaded"),
    [
        ("1", "PNG", "RGB"), ("L", "PNG", "RGB"), ("LA", "PNG", "RGBA"), ("P", "PNG", "RGB"),
        ("RGBA", "PNG", "RGBA"), ("RGBA", "WEBP", "RGBA"), ("L", "JPEG", "RGB"),
        ("CMYK", "JPEG", "RGB"), ("YCbCr", "JPEG", "RGB"),
    ],
)  # fmt: skip
def test_every_way_to_store_pixels_becomes_rgb(mode: str, form: str, loaded: str) -> None:
    image = Image.new("RGB", (8, 8), (200, 200, 200)).convert(mode)
    if mode.endswith("A"):
        image.putalpha(128)
    data = saved(image, form)
    intake.inspect(data)
    image = intake.load(data)
    assert image.mode == loaded
    pixel = image.getpixel((4, 4))
    assert isinstance(pixel, tuple)
    if mode != "1":
        assert all(abs(channel - 200) <= 4 for channel in pixel[:3])


LEVELS = (65535, 65279, 32896, 32768, 255, 0)
"""Of 16 bit; the upper 8 of them are what is seen."""


def test_16_bit_grey_keeps_its_brightness() -> None:
    image = Image.new("I;16", (len(LEVELS), 1))
    image.putdata(LEVELS)
    data = saved(image)
    assert intake.inspect(data).mode == "I;16"
    loaded = intake.load(data)
    assert list(loaded.tobytes()[::3]) == [level >> 8 for level in LEVELS]


def test_16_bit_colour_comes_in_as_bright_as_16_bit_grey() -> None:
    lines = b"\0" + b"".join(struct.pack(">HHH", level, level, 0) for level in LEVELS)
    header = struct.pack(">IIBBBBB", len(LEVELS), 1, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    data += chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    intake.inspect(data)
    loaded = intake.load(data).tobytes()
    assert list(loaded[::3]) == list(loaded[1::3]) == [level >> 8 for level in LEVELS]


@pytest.mark.parametrize(
    ("kind", "depth", "pixels", "key"),
    [
        (0, 16, struct.pack(">HHH", 1000, 1001, 65535), struct.pack(">H", 1000)),
        (0, 8, bytes([7, 8, 255]), struct.pack(">H", 7)),
        (0, 4, bytes([0x12, 0xF0]), struct.pack(">H", 1)),
        (0, 2, bytes([0b01101100]), struct.pack(">H", 1)),
        (0, 1, bytes([0b10000000]), struct.pack(">H", 1)),
        (2, 8, bytes([1, 2, 3, 1, 2, 4, 9, 9, 9]), struct.pack(">HHH", 1, 2, 3)),
        (
            2,
            16,
            struct.pack(">9H", 300, 600, 900, 300, 600, 901, 301, 600, 900),
            b"\1\x2c\2\x58\3\x84",
        ),
        (2, 16, struct.pack(">9H", 300, 600, 900, 300, 600, 9, 0, 0, 0), b"\1\x2c\2\x58\3\x84"),
    ],
)
def test_a_colour_that_is_transparent_is_so_at_every_depth(
    kind: int, depth: int, pixels: bytes, key: bytes
) -> None:
    data = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", 3, 1, depth, kind, 0, 0, 0)
    )
    data += chunk(b"tRNS", key) + chunk(b"IDAT", zlib.compress(b"\0" + pixels))
    loaded = intake.load(data + chunk(b"IEND", b""))
    assert list(loaded.getchannel("A").tobytes()) == [0, 255, 255]


def test_a_transparent_palette_stays_transparent() -> None:
    image = grid("P")
    image.info["transparency"] = 0
    loaded = intake.load(saved(image, transparency=0))
    assert loaded.mode == "RGBA"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_camera_is_turned_back(form: str, orientation: int) -> None:
    image = Image.new("RGB", (64, 32), "white")
    image.paste((255, 0, 0), (0, 0, 16, 16))  # the camera's top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(image, form, exif=exif)
    found, loaded = intake.inspect(data), intake.load(data)
    assert (found.width, found.height) == loaded.size
    assert loaded.size == ((64, 32) if orientation < 5 else (32, 64))
    assert found.exif_rotated == (orientation != 1)
    right, bottom = loaded.width - 4, loaded.height - 4
    where = {1: (4, 4), 2: (right, 4), 3: (right, bottom), 4: (4, bottom), 5: (4, 4), 6: (right, 4),
             7: (right, bottom), 8: (4, bottom)}  # fmt: skip
    red, green, blue = loaded.getpixel(where[orientation])
    assert red > 200
    assert green < 80
    assert blue < 80


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b""])
def test_broken_exif_does_not_matter(exif: bytes) -> None:
    data = saved(grid(), "JPEG", exif=exif)
    assert not intake.inspect(data).exif_rotated
    assert intake.load(data).size == (6, 4)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_used_and_that_is_said(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:], lossless=True)
    found = intake.inspect(data)
    assert found.frames == 3
    assert found.notes == ("This is an animation: only the first of its 3 frames is used.",)
    assert intake.load(data).getpixel((4, 4))[:3] == (255, 0, 0)


def test_a_colour_profile_is_applied_and_a_broken_one_ignored() -> None:
    image = Image.new("RGB", (4, 4), (10, 200, 30))
    lab_like = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (lab_like, b"not a profile", lab_like[:200]):
        data = saved(image, icc_profile=profile)
        intake.inspect(data)
        pixel = intake.load(data).getpixel((0, 0))
        assert all(abs(a - b) <= 2 for a, b in zip(pixel, (10, 200, 30), strict=True))


@pytest.mark.parametrize(
    ("width", "height", "said"),
    [
        (13_000, 13_000, "169 MP, the limit is 40 MP"),
        (30_000, 30_000, "900 MP"),
        (2**31 - 1, 2**31 - 1, "MP"),
        (8_193, 1, "8193 px, the limit is 8192 px"),
        (1, 40_000, "40000 px"),
        (6_400, 6_400, "41 MP"),
    ],
)
def test_what_is_too_large_is_refused_by_its_header(width: int, height: int, said: str) -> None:
    jpeg = bytearray(saved(grid(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    webp = bytearray(saved(grid("RGBA"), "WEBP", exif=b"Exif\0\0x"))
    at = webp.index(b"VP8X") + 12
    webp[at : at + 6] = (width - 1 & 0xFFFFFF).to_bytes(3, "little") + (
        height - 1 & 0xFFFFFF
    ).to_bytes(3, "little")
    files = [made_png(width, height, pixels=b"x"), bytes(webp)]
    files += [bytes(jpeg)] if max(width, height) < 2**16 else []
    for data in files:
        for take in (intake.inspect, intake.load):
            with pytest.raises(TooLarge, match="too large") as told:
                take(data)
            assert width > 2**24 or said in told.value.message


def test_refusing_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    bombs = {
        "pixels": made_png(13_000, 13_000),
        "text": made_png(1, 1, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50 << 20)))),
        "profile": made_png(1, 1, chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(50 << 20)))),
    }
    for name, data in bombs.items():
        assert len(data) < 400_000
        (tmp_path / name).write_bytes(data)
    code = """if True:
        import resource, sys
        from studio.core.errors import StudioError
        from studio.core import intake
        from PIL import Image, PngImagePlugin, JpegImagePlugin, WebPImagePlugin
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        data = [open(name, "rb").read() for name in sys.argv[1:]]
        before = peak()
        for one in data:
            try:
                intake.inspect(one)
            except StudioError as error:
                continue
            sys.exit("a bomb came in")
        print(peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *(str(tmp_path / name) for name in bombs)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < REFUSED_MEMORY_MB


@pytest.mark.parametrize(
    "extra",
    [
        [chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50 << 20)))],
        [chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(50 << 20)))],
        [chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(50 << 20)))],
        [chunk(b"tEXt", b"k\0" + b"x" * 900_000)] * 30,
        [chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(900_000)))] * 30,
        [chunk(b"eXIf", bytes(9 << 20))],
    ],
)
def test_metadata_has_a_limit(extra: list[bytes]) -> None:
    with pytest.raises(InvalidRequest, match="metadata"):
        intake.inspect(made_png(1, 1, *extra))


def test_large_honest_metadata_comes_in() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("workflow", '{"nodes": []}' * 150_000)
    intake.inspect(saved(grid(), pnginfo=notes))


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(TooLarge, match="34 MB"):
        intake.inspect(saved(grid()) + bytes(34_000_000))


PAGE = b"<html><script>alert(1)</script></html>"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"hello", PAGE, b"<?xml version='1.0'?><svg/>", b"<svg onload='x'/>",
        saved(grid(), "GIF"), saved(grid(), "BMP"), saved(grid(), "TIFF"), b"%PDF-1.7", b"PK\3\4",
        b"\x89PNG", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"RIFF\4\0\0\0WEBP",
        b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), b"\xff\xd8\xff\xe0" + bytes(100),
        b"\xff\xd8" + b"\xff" * 100_000, b"\xff\xd8" + b"\xff\xe0\0\2" * 100_000,
        made_png(0, 5), made_png(5, 0), made_png(4, 4, pixels=b"not packed"),
        made_png(40, 40, pixels=zlib.compress(bytes(41 * 40))[:-9]), made_png(9, 9, pixels=b""),
        PAGE + saved(grid()), b" " + saved(grid()),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + chunk(b"teST", b"") * 60_000,
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(Unsupported):
        intake.inspect(data)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("tail", [PAGE, b"PK\3\4" + bytes(20), b"%PDF-1.7 ", b"<svg/>", b"x" * 99])
def test_nothing_hides_behind_a_picture(form: str, tail: bytes) -> None:
    data = saved(grid(), form)
    with pytest.raises(Unsupported, match="something else behind"):
        intake.inspect(data + tail)
    with pytest.raises(Unsupported):
        intake.load(data + tail)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_padding_and_what_cameras_append_does_not_matter(form: str) -> None:
    data = saved(grid(), form)
    assert intake.inspect(data + bytes(64)).format == form
    if form == "JPEG":
        intake.inspect(data + saved(grid(), "JPEG"))
        intake.inspect(data + b"\0\0\0\x18ftypmp42" + bytes(200))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_cut_off_picture_is_refused_wherever_it_is_cut(form: str) -> None:
    noise = Image.frombytes("RGB", (32, 32), random.Random(1).randbytes(32 * 32 * 3))
    data = saved(noise, form)
    for end in range(0, len(data) - 1, 37):
        with pytest.raises(Unsupported):
            intake.inspect(data[:end])


def test_progressive_and_restarting_jpegs_come_in() -> None:
    noise = Image.frombytes("RGB", (200, 200), random.Random(1).randbytes(200 * 200 * 3))
    for options in ({"progressive": True}, {"restart_marker_blocks": 1}, {"quality": 100}):
        assert intake.inspect(saved(noise, "JPEG", **options)).width == 200


def pictures() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = Image.frombytes("RGB", (24, 16), random.Random(1).randbytes(24 * 16 * 3))
    return [
        saved(noise), saved(noise, exif=exif), saved(noise.convert("P")),
        saved(noise, "JPEG", exif=exif), saved(noise.convert("CMYK"), "JPEG"),
        saved(noise, "JPEG", progressive=True), saved(noise, "WEBP", exif=exif),
        saved(noise, "WEBP", lossless=True),
        saved(noise, "WEBP", save_all=True, append_images=[noise.rotate(180)]),
        saved(noise, save_all=True, append_images=[noise.rotate(180)]),
    ]  # fmt: skip


@settings(max_examples=300)
@given(
    which=st.integers(0, 9),
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=12),
    recheck=st.booleans(),
)
def test_any_change_is_taken_or_refused_in_one_sentence(
    which: int, edits: list[tuple[int, int]], recheck: bool
) -> None:
    data = bytearray(pictures()[which])
    for at, value in edits:
        data[at % len(data)] = value
    whole = rechecked(bytes(data)) if recheck else bytes(data)
    for take in (intake.inspect, intake.load):
        answer(take, whole)


def answer(take: Callable[[bytes], object], data: bytes) -> None:
    try:
        take(data)
    except StudioError as error:
        assert error.message.endswith(".")
        assert error.hint.endswith(".")


def rechecked(data: bytes) -> bytes:
    """A PNG with its checksums made right again, so that changes reach the decoder."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    out, at = data[:8], 8
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        out += chunk(kind, data[at + 8 : at + 8 + length])
        at += 12 + length
    return out


def test_loading_leaves_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(saved(grid()))
    image = intake.load(path)
    path.unlink()
    assert image.getpixel((0, 0)) == (255, 0, 0)
    with pytest.raises(OSError, match=r"x\.png"):
        intake.load(path)
