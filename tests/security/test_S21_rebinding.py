"""S21: a foreign name is pointed at this machine."""

import pytest

from tests.api.house import House, answer_of, complaint
from tests.security.routes import addresses


@pytest.mark.parametrize(
    "name",
    [
        "evil.example",
        "evil.example:7860",
        "localhost.evil",
        "127.0.0.1.evil.example",
        "0.0.0.0",
        "",
    ],
)
def test_no_address_answers_to_a_foreign_name(alone: House, name: str) -> None:
    with alone.client(headers={"host": name}) as client:
        for method, path in addresses(alone.guard):
            answer = client.request(method, path)
            assert answer.status_code == 400, (method, path)
        complaint(client.get("/api/stream"), 400)


def test_two_names_or_none_are_refused(alone: House) -> None:
    for head in ("Host: localhost\r\nHost: evil.example\r\n", ""):
        with alone.raw() as connection:
            connection.sendall(f"GET /api/health HTTP/1.1\r\n{head}\r\n".encode())
            assert answer_of(connection).startswith(b"HTTP/1.1 400")
    with alone.raw() as connection:
        connection.sendall(b"GET /api/health HTTP/1.0\r\n\r\n")
        assert b" 400 " in answer_of(connection).partition(b"\r\n")[0]


def test_names_of_this_machine_work(alone: House) -> None:
    port = alone.url.rpartition(":")[2]
    for name in ("localhost", "127.0.0.1", "LOCALHOST", f"[::1]:{port}"):
        with alone.client(headers={"host": name}) as client:
            assert client.get("/api/health").status_code == 200


def test_a_studio_on_the_network_knows_addresses_but_not_names(public: House) -> None:
    with public.client(headers={"host": "192.0.2.7:7860"}) as client:
        assert client.get("/api/health").status_code == 200
    with public.client(headers={"host": "evil.example"}) as client:
        complaint(client.get("/api/health"), 400)
