"""A server that is killed or asked to end loses nothing that it has promised."""

import signal
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.serving import Server, job_of, until_over, until_painting

LONG = {"steps": 150, "count": 16, "seed": 3}
SHORT = {"steps": 2, "count": 2, "seed": 4}


def submit(client: httpx.Client, **fields: object) -> str:
    body = {"task": "txt2img", "prompt": "a fox", "checkpoint": "tiny", "width": 64, "height": 64}
    answer = client.post("/api/jobs", json={**body, **fields})
    assert answer.status_code in {200, 201, 202}, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def server(tmp_path: Path, checkpoints: Path) -> Server:
    return Server(tmp_path / "data", flags=("--checkpoints", str(checkpoints)))


@pytest.mark.slow
def test_F01_kill_leaves_no_broken_picture_and_no_lost_queue(server: Server) -> None:
    server.start()
    with server.client() as client:
        done = until_over(client, submit(client, **SHORT))
        running = submit(client, **LONG)
        waiting = submit(client, **SHORT)
        until_painting(client, running)
        server.kill()
    with server, server.client() as client:
        assert job_of(client, running)["state"] == "interrupted"
        assert until_over(client, waiting)["state"] == "finished"
        assert job_of(client, done["id"])["images"] == done["images"]
        again = client.post(f"/api/jobs/{running}/rerun").json()["id"]
        assert job_of(client, again)["request"] == job_of(client, running)["request"]
        client.delete(f"/api/jobs/{again}")
        until_over(client, again)
        listed = client.get("/api/images", params={"limit": 200}).json()["images"]
    files = list((server.data_dir / "pictures").rglob("*.png"))
    assert len(files) == len(listed)
    assert not list(server.data_dir.rglob(".tmp-*"))
    for file in files:
        with Image.open(file) as picture:
            picture.load()


@pytest.mark.slow
def test_F14_asked_to_end_in_mid_job_it_ends_quickly_and_keeps_the_queue(server: Server) -> None:
    server.start()
    with server.client() as client:
        running, waiting = submit(client, **LONG), submit(client, **SHORT)
        until_painting(client, running)
    asked = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(15)
    assert time.monotonic() - asked < 15
    with server, server.client() as client:
        assert job_of(client, running)["state"] == "interrupted"
        assert until_over(client, waiting)["state"] == "finished"
        assert len(job_of(client, waiting)["images"]) == SHORT["count"]


@pytest.mark.slow
def test_F13_a_second_studio_on_the_same_folder_is_refused(server: Server) -> None:
    with server:
        second = Server(server.data_dir, flags=server.flags)
        with pytest.raises(RuntimeError, match="already used by"):
            second.start()
        assert second.process.returncode == 3


@pytest.mark.slow
def test_F10_a_client_that_leaves_finds_its_job_done(server: Server) -> None:
    with server:
        with server.client() as client:
            job = submit(client, **SHORT)
            with client.stream("GET", f"/api/jobs/{job}/events") as stream:
                next(stream.iter_lines())
        with server.client() as client:
            assert until_over(client, job)["state"] == "finished"
            replay = client.get(f"/api/jobs/{job}/events").text
            assert "finished" in replay
            last = [line for line in replay.splitlines() if line.startswith("id:")][-1]
            number = int(last.removeprefix("id:").strip())
            rest = client.get(
                f"/api/jobs/{job}/events", headers={"Last-Event-ID": str(number - 1)}
            ).text
            assert [line for line in rest.splitlines() if line.startswith("id:")] == [last]
