"""S30, S32: making the studio fetch something is for the person at it, and leads nowhere else."""

import httpx
import pytest

from tests.api.house import USERS, House, complaint
from tests.checkpoints.web import Web, serving

WHO = ("ada", "visitor")


@pytest.fixture(params=WHO)
def somebody(request, locked: House, public: House):
    if request.param == "ada":
        with locked.client(auth=("ada", USERS["ada"])) as client:
            yield client
    else:
        with public.client() as client:
            client.get("/", headers={"accept": "text/html"})
            yield client


def test_nobody_else_makes_the_studio_ask_the_network(somebody: httpx.Client) -> None:
    with serving(Web(files={"a.safetensors": b"secret"})) as web:
        wish = {"source": f"{web.url}/a.safetensors"}
        for path in ("/api/installs", "/api/installs/look"):
            said = complaint(somebody.post(path, json=wish), 403)
            assert said["message"] == "Only the person at this machine can install checkpoints."
        complaint(somebody.post("/api/preprocessors/hed/install"), 403)
        assert web.answers == []
    for verb in ("stop", "resume"):
        complaint(somebody.post(f"/api/installs/x/{verb}"), 403)
    complaint(somebody.delete("/api/installs/x"), 403)


def test_nobody_else_sees_what_is_installed(somebody: httpx.Client) -> None:
    told = somebody.get("/api/installs").json()
    assert told == {"may_install": False, "installs": [], "starters": [], "free_bytes": 0}
    assert somebody.get("/api/live").json()["installs"] == []


@pytest.mark.parametrize("name", ["../../evil", "..\\evil", "/tmp/evil", "a\0evil", "C:\\evil"])
def test_a_name_is_no_way_out(alone: House, name: str) -> None:
    with serving(Web(files={"a.safetensors": b"x" * 100})) as web, alone.client() as client:
        wish = {"source": f"{web.url}/a.safetensors", "name": name}
        made = client.post("/api/installs/look", json=wish).json()["name"]
    assert made.endswith("evil")
    assert not set(made) & set('/\\\0:<>"|?*') and not made.startswith(".")


def test_whoever_is_named_may_install_from_the_internet_alone(locked: House, monkeypatch) -> None:
    """`--allow-install ada` lets ada install, and nobody else, and lets nobody look into the house."""
    monkeypatch.setattr(locked.studio, "_installers", frozenset({"user:ada"}))
    with serving(Web(files={"a.safetensors": b"x" * 100})) as web:
        wish = {"source": f"{web.url}/a.safetensors"}
        with locked.client(auth=("ada", USERS["ada"])) as ada:
            told = ada.get("/api/installs").json()
            assert told["may_install"] and told["starters"]
            said = complaint(ada.post("/api/installs/look", json=wish), 403)
            assert said["message"] == "This address cannot be used."
        other = next(name for name in USERS if name != "ada")
        with locked.client(auth=(other, USERS[other])) as stranger:
            assert not stranger.get("/api/installs").json()["may_install"]
            said = complaint(stranger.post("/api/installs", json=wish), 403)
            assert "--allow-install" in said["hint"]
        assert web.answers == []
