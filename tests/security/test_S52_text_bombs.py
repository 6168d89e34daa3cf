"""S52: a small picture with huge texts in it."""

import struct
import time
import zlib

import pytest

from tests.api.house import House, complaint, png
from tests.security.peak import peak_below


def with_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    plain = png()
    end = plain.rindex(b"IEND") - 4
    extra = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return plain[:end] + extra + plain[end:]


BOMBS = {
    "zTXt 48 kB to 50 MB": lambda: with_chunks(
        (b"zTXt", b"parameters\0\0" + zlib.compress(bytes(50_000_000), 9))
    ),
    "iTXt 48 kB to 50 MB": lambda: with_chunks(
        (b"iTXt", b"pochade\0\1\0\0\0" + zlib.compress(bytes(50_000_000), 9))
    ),
    "20 tEXt of 900 kB": lambda: with_chunks(
        *((b"tEXt", b"parameters\0" + b"x" * 900_000) for _ in range(20))
    ),
    "100000 small tEXt": lambda: with_chunks(*((b"tEXt", b"a\0b") for _ in range(100_000))),
}


@pytest.mark.parametrize("path", ["/api/inputs", "/api/settings-from-picture"])
@pytest.mark.parametrize("name", BOMBS)
def test_it_costs_nothing(alone: House, path: str, name: str) -> None:
    data = BOMBS[name]()
    with alone.client() as client:
        began = time.monotonic()
        with peak_below(130):
            answer = client.post(path, content=data, headers={"content-type": "image/png"})
        assert time.monotonic() - began < 6
        if answer.status_code not in {200, 201}:
            complaint(answer, answer.status_code)
            assert 400 <= answer.status_code < 500
        if "MB" in name and path == "/api/inputs":
            assert answer.status_code in {413, 415, 422}
        assert client.get("/api/health").status_code == 200
