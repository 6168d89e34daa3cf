"""S20: a page of another site asks the studio on this machine for things."""

import httpx
import pytest

from tests.api.house import WANT, House, complaint, png
from tests.security.routes import addresses

EVIL = "https://evil.example"


@pytest.fixture
def client(alone: House):
    with alone.client() as client:
        yield client


@pytest.mark.parametrize("origin", [EVIL, "null", "http://localhost.evil", "http://127.0.0.1:1"])
def test_nothing_can_be_changed_from_another_origin(
    alone: House, client: httpx.Client, origin: str
) -> None:
    foreign = {"origin": origin}
    jobs = client.get("/api/jobs").json()
    complaint(client.post("/api/jobs", json=WANT, headers=foreign), 403)
    form = {"file": ("x.png", png(), "image/png")}  # no preflight is needed for a form
    complaint(client.post("/api/inputs", files=form, headers=foreign), 403)
    complaint(client.post("/gradio_api/upload", files=form, headers=foreign), 403)
    event = {"data": ["x"], "fn_index": 0, "session_hash": "s20"}
    complaint(client.post("/gradio_api/queue/join", json=event, headers=foreign), 403)
    complaint(client.post("/logout", headers=foreign), 403)
    complaint(client.options("/api/jobs", headers=foreign), 403)
    assert client.get("/api/jobs").json() == jobs


def test_no_address_answers_what_another_site_s_page_asks(
    alone: House, client: httpx.Client
) -> None:
    seen = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    for method, path in addresses(alone.guard):
        assert client.request(method, path, headers=seen).status_code == 403, (method, path)


def test_another_port_of_this_machine_is_another_site(client: httpx.Client) -> None:
    near = {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
    complaint(client.get("/api/live", headers=near), 403)


def test_a_link_from_another_site_still_opens_the_studio(client: httpx.Client) -> None:
    link = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    assert client.get("/", headers=link).status_code == 200
    complaint(client.post("/api/jobs", json=WANT, headers=link), 403)


def test_json_in_disguise_is_refused(client: httpx.Client) -> None:
    """A form of a foreign page can send text/plain without asking first."""
    plain = {"content-type": "text/plain"}
    body = b'{"task": "txt2img", "prompt": "x"}'
    complaint(client.post("/api/jobs", content=body, headers=plain), 415)
