"""Following jobs over the wire."""

import json
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from studio.core.events import Finished, Progress, Started
from tests.api.house import WANT, House, complaint, open_house


@pytest.fixture
def client(alone: House) -> Iterator[httpx.Client]:
    with alone.client() as client:
        yield client


def entries(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Server-sent events as a browser reads them."""
    event: dict[str, str] = {}
    for line in lines:
        if not line and event:
            yield event
            event = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


def a_job(client: httpx.Client) -> str:
    return client.post("/api/jobs", json=WANT).json()["id"]


def happens(house: House, job: str, *events: object) -> None:
    for event in events:
        house.app.jobs.append(job, event)
    house.studio._watchers.changed("local")


def test_a_feed_is_replayed_goes_on_and_ends_with_the_job(
    alone: House, client: httpx.Client
) -> None:
    job = a_job(client)
    happens(alone, job, Started())
    with client.stream("GET", f"/api/jobs/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["x-accel-buffering"] == "no"
        feed = entries(stream.iter_lines())
        assert [(entry["id"], entry["event"]) for entry in (next(feed), next(feed))] == [
            ("1", "queued"),
            ("2", "started"),
        ]
        happens(alone, job, Progress(picture=0, pictures=1, step=1, steps=2))
        entry = next(feed)
        assert entry["event"] == "progress" and json.loads(entry["data"])["step"] == 1
        happens(alone, job, Finished(image_ids=(), seconds=1.0))
        assert next(feed)["event"] == "finished"
        assert list(feed) == []


def test_a_feed_goes_on_after_the_last_entry_seen(alone: House, client: httpx.Client) -> None:
    job = a_job(client)
    happens(alone, job, Started(), Finished(image_ids=(), seconds=1.0))

    def numbers(headers: dict[str, str] | None = None, query: str = "") -> list[str]:
        answer = client.get(f"/api/jobs/{job}/events{query}", headers=headers)
        return [entry["id"] for entry in entries(iter(answer.text.split("\n")))]

    assert numbers() == ["1", "2", "3"]
    assert numbers({"last-event-id": "2"}) == ["3"]
    assert numbers(query="?after=1") == ["2", "3"]
    assert numbers({"last-event-id": "nonsense"}) == ["1", "2", "3"]
    assert numbers({"last-event-id": "-1"}) == ["1", "2", "3"]
    done = client.get(f"/api/jobs/{job}/events", headers={"last-event-id": "3"})
    assert done.status_code == 204
    assert (
        client.get(f"/api/jobs/{job}/events", headers={"last-event-id": "9" * 10}).status_code
        == 204
    )
    complaint(client.get(f"/api/jobs/{job}/events?after=-1"), 422)


def test_a_snapshot_comes_at_once_and_after_each_change(alone: House, client: httpx.Client) -> None:
    with client.stream("GET", "/api/stream") as stream:
        snapshots = entries(stream.iter_lines())
        first = json.loads(next(snapshots)["data"])
        assert set(first) >= {"version", "warm", "engine", "jobs", "ahead", "recent"}
        assert alone.studio._watchers.watched("local")
        with alone.client() as other:
            job = a_job(other)
        later = json.loads(next(snapshots)["data"])
        assert later["version"] > first["version"]
        assert job in [one["id"] for one in later["jobs"]]
    until = time.monotonic() + 5
    while alone.studio._watchers.watched("local"):
        assert time.monotonic() < until, "still watching after the page is gone"
        time.sleep(0.02)
    client.delete(f"/api/jobs/{job}")


def test_many_changes_make_few_snapshots(alone: House, client: httpx.Client) -> None:
    with client.stream("GET", "/api/stream?watch=0") as stream:
        snapshots = entries(stream.iter_lines())
        next(snapshots)
        assert not alone.studio._watchers.watched("local")
        began = time.monotonic()

        def change() -> None:
            while time.monotonic() - began < 1.0:
                alone.studio._watchers.changed("local")
                time.sleep(0.005)

        changing = threading.Thread(target=change)
        changing.start()
        seen = 0
        while time.monotonic() - began < 1.0:
            next(snapshots)
            seen += 1
        changing.join()
    assert 2 <= seen <= 5


def test_open_streams_end_when_the_server_does(app, tmp_path) -> None:
    with open_house(app, tmp_path) as house:
        client = house.client()
        stream = client.send(client.build_request("GET", "/api/stream"), stream=True)
        lines = stream.iter_lines()
        next(lines)
        began = time.monotonic()
    assert time.monotonic() - began < 3
    list(lines)  # ends, instead of breaking off
    client.close()


def test_a_stream_that_breaks_is_in_the_log(alone: House, client, monkeypatch, caplog) -> None:
    with client.stream("GET", "/api/stream") as stream:
        lines = stream.iter_lines()
        next(lines)

        def broken(owner: str) -> dict:
            raise RuntimeError("the gallery fell off the wall")

        monkeypatch.setattr(alone.studio, "live", broken)
        alone.studio._watchers.changed("local")
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)
    assert caplog.text.count("incident ") == 1
    assert "the gallery fell off the wall" in caplog.text
    assert not alone.studio._watchers.watched("local")
