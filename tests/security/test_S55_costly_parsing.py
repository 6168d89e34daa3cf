"""S55: forms, headers and ranges that are dear to read."""

import threading
import time
from collections.abc import Callable

import httpx
import pytest

from tests.api.house import House, answer_of, complaint

FORM = {"content-type": "multipart/form-data; boundary=x"}
END = b"\r\n--x--\r\n"
PATIENCE_S = 6.0
"""Generous, for busy machines: what these bodies are made for takes minutes."""


def others_are_served_meanwhile(house: House, ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Runs `ask` while somebody else uses the studio, who must not notice."""
    answers: list[httpx.Response] = []
    with house.client() as other:
        other.get("/api/health")
        asking = threading.Thread(target=lambda: answers.append(ask()))
        asking.start()
        slowest = 0.0
        while asking.is_alive():
            began = time.monotonic()
            assert other.get("/api/health").status_code == 200
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.01)
        asking.join()
    # 20 ms on an idle machine; a parser that blocks the loop takes the whole body's time
    assert slowest < PATIENCE_S / 3, f"others waited {slowest:.2f} s"
    return answers[0]


BODIES = {
    "10000 headers of a part": (b"--x\r\n" + b"A: b\r\n" * 10_000 + b"\r\nhi" + END, 422),
    "a header of 1 MB": (b"--x\r\nA: " + b"b" * 1_000_000 + b"\r\n\r\nhi" + END, 422),
    "10000 parts": (
        b"".join(
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' for _ in range(10_000)
        )
        + b"--x--\r\n",
        422,
    ),
    "a field of 20 MB": (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"1" * 20_000_000 + END,
        422,
    ),
    "a preamble of 50 MB": (b"\r" * 50_000_000 + b"--x\r\n", 413),
    "a preamble of 8 MB": (b"\r\n" * 4_000_000 + b"--x\r\n", 422),
    "almost boundaries": (
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        + b"\r\n--y" * 1_000_000
        + END,
        415,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_form_is_refused_quickly(alone: House, name: str) -> None:
    body, status = BODIES[name]
    with alone.client() as client:
        began = time.monotonic()
        answer = others_are_served_meanwhile(
            alone, lambda: client.post("/api/inputs", content=body, headers=FORM)
        )
        assert time.monotonic() - began < PATIENCE_S
        complaint(answer, status)


@pytest.mark.parametrize(
    "boundary", ["x=y", "boundary=", "boundary=" + "x" * 10_000, 'boundary="', "boundary=é"]
)
def test_a_strange_boundary_is_one_sentence(alone: House, boundary: str) -> None:
    kind = f"multipart/form-data; {boundary}".encode()
    with alone.client() as client:
        answer = client.post(
            "/api/inputs", content=b"--x\r\n\r\nhi", headers={b"content-type": kind}
        )
        complaint(answer, 422)


def test_many_ranges_are_refused(alone: House) -> None:
    record = alone.picture("local")
    with alone.client() as client:
        path = f"/api/images/{record.id}/file"
        began = time.monotonic()
        many = "bytes=" + ",".join(f"{number}-" for number in range(5000))
        complaint(client.get(path, headers={"range": many}), 416)
        assert time.monotonic() - began < 1
        part = client.get(path, headers={"range": "bytes=0-7"})
        assert part.status_code == 206 and part.content == b"\x89PNG\r\n\x1a\n"
        assert client.get(path, headers={"range": "bytes=99999999-"}).status_code == 416
        assert client.get(path, headers={"range": "nonsense"}).status_code in {200, 400, 416}


def test_many_or_long_headers_are_refused(alone: House) -> None:
    with alone.client() as client:
        complaint(client.get("/api/health", headers=[("x-a", "b")] * 1000), 431)
    with alone.raw() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 200_000)
        assert answer_of(connection).startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))


def test_a_login_form_is_small(locked: House) -> None:
    with locked.client() as client:
        kind = {"content-type": "application/x-www-form-urlencoded"}
        complaint(client.post("/login", content=b"a" * 2_000_000, headers=kind), 413)
