"""S51: a small file that is a huge picture."""

import struct
import time
import zlib

import pytest

from tests.api.house import House, complaint
from tests.security.peak import peak_below


def bomb(width: int, height: int) -> bytes:
    """A grey PNG of that size, whose pixels pack to almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    row = b"\0" * (width // 8 + 2)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row * 100) for _ in range(height // 100 + 1)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("path", ["/api/inputs", "/api/settings-from-picture"])
@pytest.mark.parametrize(
    "size", [(13_000, 13_000), (30_000, 30_000), (100_000, 10), (2**31 - 1, 2**31 - 1)]
)
def test_it_is_refused_before_it_is_unpacked(
    alone: House, path: str, size: tuple[int, int]
) -> None:
    data = bomb(min(size[0], 13_000), min(size[1], 13_000))
    data = data[:16] + struct.pack(">II", *size) + data[24:]
    head = data[12:29]
    data = data[:29] + struct.pack(">I", zlib.crc32(head)) + data[33:]
    with alone.client() as client:
        began = time.monotonic()
        with peak_below(100):
            answer = client.post(path, content=data, headers={"content-type": "image/png"})
        assert time.monotonic() - began < 6
        if path == "/api/inputs":
            assert "too large" in complaint(answer, 413)["message"]
        else:
            complaint(answer, answer.status_code)
            assert 400 <= answer.status_code < 500


def test_a_file_above_the_limit_is_one_sentence(alone: House) -> None:
    with alone.client() as client:
        answer = client.post(
            "/api/inputs", content=b"\x89PNG\r\n\x1a\n" + bytes(33 * 1024**2 + 65536)
        )
        assert "too large" in complaint(answer, 413)["message"]
        assert client.get("/api/health").status_code == 200
