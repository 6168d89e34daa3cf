"""Installing over the API: for the person at this machine, as long work that a page follows."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.house import House, complaint
from tests.checkpoints.web import Web, serving


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web()) as found:
        yield found


@pytest.fixture(scope="module")
def tiny(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from studio.checkpoints.catalog import Catalog
    from studio.checkpoints.convert import convert
    from studio.paths import CONFIGS

    file = tmp_path_factory.mktemp("single") / "tiny.safetensors"
    convert(Catalog((checkpoints,)).get("tiny"), "file", file, configs=CONFIGS)
    return file.read_bytes()


def test_it_is_looked_at_installed_followed_and_forgotten(alone: House, web, tiny) -> None:
    web.files["arrived.safetensors"] = tiny
    wish = {"source": f"{web.url}/arrived.safetensors"}
    with alone.client() as client:
        plan = client.post("/api/installs/look", json=wish).json()
        assert (plan["name"], plan["size_bytes"]) == ("arrived", len(tiny))
        begun = client.post("/api/installs", json=wish)
        assert begun.status_code == 202
        install_id, end = begun.json()["id"], time.monotonic() + 60
        while (now := client.get("/api/live").json()["installs"][0])["state"] != "done":
            assert now["id"] == install_id and time.monotonic() < end
            assert now["state"] in {"waiting", "running"}, now
            time.sleep(0.05)
        assert now["done_bytes"] == len(tiny)
        listed = client.get("/api/choices").json()["checkpoints"]
        assert "arrived" in {entry["id"] for entry in listed}
        told = client.get("/api/installs").json()
        assert told["may_install"] and told["free_bytes"] > 0
        assert {"stabilityai/sd-turbo"} <= {one["source"] for one in told["starters"]}
        assert client.delete(f"/api/installs/{install_id}").status_code == 204
        assert client.get("/api/installs").json()["installs"] == []
        complaint(client.post(f"/api/installs/{install_id}/stop"), 404)
    for file in alone.app.installs.sums():
        file.unlink()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({}, "neither an address nor"),
        ({"source": "file:///etc/passwd"}, "no address"),
        ({"source": "http://example.org/a.safetensors"}, "only fetched over https"),
        ({"source": 7}, "'source' must be a text"),
        ({"source": "a/b", "path": "/etc"}, "no setting called 'path'"),
        ({"source": "a/b", "sha256": "x"}, "64 digits"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(alone: House, wish, said) -> None:
    with alone.client() as client:
        for path in ("/api/installs", "/api/installs/look"):
            assert said in complaint(client.post(path, json=wish), 422)["message"]


def test_new_weights_reach_open_pages(alone: House) -> None:
    with alone.client() as client:
        before = client.get("/api/live").json()
        alone.studio.shelf_changed()
        after = client.get("/api/live").json()
    assert after["shelf"] == before["shelf"] + 1 and after["version"] > before["version"]
