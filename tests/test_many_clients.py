"""Fifty clients at once: nothing is lost, and turns go round."""

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import pytest

from tests.serving import Server, until_over

CLIENTS = 50
NAMES = ("ada", "ben", "cyd", "dot", "eve")


@pytest.mark.slow
def test_fifty_clients_lose_nothing_and_take_turns(tmp_path: Path, checkpoints: Path) -> None:
    logins = [flag for name in NAMES for flag in ("--auth", f"{name}:secret-{name}")]
    flags = ("--checkpoints", str(checkpoints), *logins)
    env = {"STUDIO_MAX_WAITING": "100"}
    with Server(tmp_path / "data", flags=flags, env=env) as server:

        def client_of(number: int) -> tuple[str, dict[str, object]]:
            name = NAMES[number % len(NAMES)]
            with server.client(auth=(name, f"secret-{name}")) as client:
                answer = client.post(
                    "/api/jobs",
                    json={
                        "task": "txt2img",
                        "prompt": f"picture {number}",
                        "checkpoint": "tiny",
                        "width": 64,
                        "height": 64,
                        "steps": 2,
                        "seed": number,
                    },
                )
                assert answer.status_code in {200, 201, 202}, answer.text
                return name, until_over(client, answer.json()["id"], every_s=0.5)

        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(client_of, range(CLIENTS)))

        assert [job["state"] for _, job in answers] == ["finished"] * CLIENTS
        images = [image["id"] for _, job in answers for image in job["images"]]
        assert len(set(images)) == CLIENTS
        for number, (_, job) in enumerate(answers):
            assert job["request"]["seed"] == number

        served = [name for name, job in sorted(answers, key=lambda pair: pair[1]["started"])]
        # once everybody waits, nobody is served twice in a row
        runs = [len(list(run)) for _, run in groupby(served[len(NAMES) * 2 :])]
        assert max(runs[: len(NAMES) * 5]) == 1

        with server.client(auth=("ada", "secret-ada")) as ada:
            mine = ada.get("/api/images", params={"limit": 100}).json()["images"]
            assert len(mine) == CLIENTS // len(NAMES)
            theirs = next(job for name, job in answers if name == "ben")
            assert ada.get(f"/api/jobs/{theirs['id']}").status_code == 404
            assert ada.get(f"/api/images/{theirs['images'][0]['id']}/file").status_code == 404
