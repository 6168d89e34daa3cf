"""S59: connections that are opened and held."""

import socket
import time
from contextlib import ExitStack

import pytest

from studio.api import server
from studio.api.access import Limits
from studio.app import App
from tests.api.house import House, answer_of, complaint, open_house


def test_four_live_views_per_person(public: House) -> None:
    with ExitStack() as held, public.client() as greedy, public.client() as other:
        greedy.get("/api/live")
        for _ in range(4):
            stream = held.enter_context(greedy.stream("GET", "/api/stream"))
            assert stream.status_code == 200
        error = complaint(greedy.get("/api/stream"), 429)
        assert error["message"] == "You already have 4 live views open."
        assert greedy.get("/api/live").status_code == 200  # asking now and then still works
        with other.stream("GET", "/api/stream") as stream:
            assert stream.status_code == 200


def test_a_closed_view_makes_room(public: House) -> None:
    with public.client() as client:
        for _ in range(12):
            with client.stream("GET", "/api/stream") as stream:
                next(stream.iter_lines())
            _until_room(client)


def _until_room(client) -> None:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        with client.stream("GET", "/api/stream") as stream:
            if stream.status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError("closed views are still counted")


def test_gradio_s_own_connections_are_counted(app: App, tmp_path) -> None:
    from tests.api.fixtures import small_page

    with (
        open_house(app, tmp_path, public=True, mount=small_page, limits=Limits(pages=2)) as house,
        house.client() as client,
        ExitStack() as held,
    ):
        client.get("/api/live")
        for number in range(2):
            held.enter_context(client.stream("GET", f"/gradio_api/heartbeat/h{number}"))
        complaint(client.get("/gradio_api/heartbeat/h3"), 429)


def test_a_head_that_never_ends_is_closed(
    app: App, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_S", 0.4)
    with open_house(app, tmp_path) as house:
        for begun in (b"", b"GET / HTTP/1.1\r\nHost: loc"):
            with house.raw() as connection:
                connection.sendall(begun)
                assert _closed_within(connection, 2)
        with house.raw() as connection:  # drop by drop does not help
            began = time.monotonic()
            try:
                while time.monotonic() - began < 3:
                    connection.sendall(b"X-A: b\r\n" if began else b"GET / HTTP/1.1\r\n")
                    time.sleep(0.05)
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert time.monotonic() - began < 2
        with house.raw() as connection:  # a second request on a kept connection, too
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in connection.recv(65536)
            connection.sendall(b"GET / HT")
            assert _closed_within(connection, 2)


def test_a_body_that_never_ends_is_408(app: App, tmp_path) -> None:
    limits = Limits(body_idle_s=0.3, body_total_s=1.0)
    head = b"Host: localhost\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\n"
    kinds = {
        b"/api/jobs": b"application/json",
        b"/api/inputs": b"image/png",
        b"/gradio_api/queue/join": b"application/json",
        b"/login": b"application/x-www-form-urlencoded",
    }
    with open_house(app, tmp_path, limits=limits) as house:
        for path, kind in kinds.items():
            with house.raw() as connection:
                began = time.monotonic()
                connection.sendall(b"POST " + path + b" HTTP/1.1\r\n" + head % kind + b"{")
                answer = answer_of(connection)
                assert b" 408 " in answer.partition(b"\r\n")[0], (path, answer[:80])
                assert time.monotonic() - began < 3
        with house.raw() as connection:  # drop by drop
            connection.sendall(b"POST /api/jobs HTTP/1.1\r\n" + head % b"application/json")
            began = time.monotonic()
            answer = b""
            connection.settimeout(0.1)
            while not answer and time.monotonic() - began < 4:
                connection.sendall(b" ")
                try:
                    answer = connection.recv(65536)
                except TimeoutError:
                    continue
            assert b" 408 " in answer and time.monotonic() - began < 3


def test_many_idle_connections_leave_the_page_alive(alone: House) -> None:
    with ExitStack() as held:
        for _ in range(300):
            held.enter_context(alone.raw())
        with alone.client() as client:
            began = time.monotonic()
            assert client.get("/api/live").status_code == 200
            assert time.monotonic() - began < 3


def _closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True
