"""HEAD answers as GET does, without its body, at every address of ours."""

import json

import httpx
import pytest

from tests.api.house import USERS, WANT, House, answer_of, complaint
from tests.security.routes import addresses

STREAMS = {"/api/stream", "/api/jobs/x/events"}


def ours(house: House) -> list[str]:
    return [
        path
        for method, path in addresses(house.guard)
        if method == "GET"
        and path.startswith(("/api/", "/login", "/enter", "/robots", "/assets/ui"))
    ]


def head_of(answer: httpx.Response) -> tuple[int, dict[str, str]]:
    names = ("content-type", "content-length", "location", "cache-control", "retry-after")
    return answer.status_code, {n: answer.headers[n] for n in names if n in answer.headers}


@pytest.mark.parametrize("logged_in", [True, False])
def test_every_get_route_answers_head(locked: House, logged_in: bool) -> None:
    auth = ("ada", USERS["ada"]) if logged_in else None
    seen = set()
    with locked.client(auth=auth) as client:
        for path in ours(locked):
            if path in STREAMS and logged_in:
                continue
            got, head = client.get(path), client.head(path)
            told, expected = head_of(head), head_of(got)
            if path in {"/api/live", "/api/health"}:  # the engine's state may differ meanwhile
                told[1].pop("content-length", None)
                expected[1].pop("content-length", None)
            assert told == expected, path
            assert head.content == b"", path
            seen.add(head.status_code)
    assert {200, 404} <= seen if logged_in else {200, 401} <= seen


def test_head_sees_no_more_than_get(locked: House) -> None:
    record = locked.picture("user:ada")
    with (
        locked.client(auth=("ada", USERS["ada"])) as ada,
        locked.client(auth=("ben", USERS["ben"])) as ben,
    ):
        for path in (f"/api/images/{record.id}", f"/api/images/{record.id}/file"):
            mine = ada.head(path)
            assert mine.status_code == 200
            assert int(mine.headers["content-length"]) == len(ada.get(path).content)
            assert ben.head(path).status_code == 404


def test_a_head_of_a_stream_ends_and_leaves_nothing_open(locked: House) -> None:
    with locked.client(auth=("ada", USERS["ada"])) as client:
        job = client.post("/api/jobs", json=WANT).json()["id"]
        try:
            for _ in range(locked.access.limits.streams + 2):
                for path in ("/api/stream", f"/api/jobs/{job}/events"):
                    answer = client.head(path)
                    assert answer.status_code == 200
                    assert answer.headers["content-type"].startswith("text/event-stream")
        finally:
            client.delete(f"/api/jobs/{job}")


def test_nothing_follows_the_head_on_the_wire(alone: House) -> None:
    with alone.raw() as connection:
        connection.sendall(b"HEAD /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head, _, rest = answer_of(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and rest == b""
        connection.sendall(b"GET /api/sharing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        body = answer_of(connection).partition(b"\r\n\r\n")[2]
        assert json.loads(body) == {"link": None}


def test_head_changes_nothing_and_is_no_post(locked: House) -> None:
    with locked.client(auth=("ada", USERS["ada"])) as client:
        for path in ("/api/mask", "/api/inputs", "/api/sharing/stop"):
            assert client.head(path).status_code == client.get(path).status_code
        complaint(client.get("/api/mask"), 405)
