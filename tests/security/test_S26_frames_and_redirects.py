"""S26: the studio in a foreign frame, and logins that lead elsewhere."""

from urllib.parse import urlsplit

import pytest

from tests.api.house import USERS, House
from tests.security.routes import addresses


def test_every_answer_forbids_foreign_frames(alone: House) -> None:
    with alone.client(follow_redirects=False) as client:
        for method, path in addresses(alone.guard):
            if path in {"/api/stream", "/gradio_api/queue/data", "/gradio_api/heartbeat/x"}:
                continue  # open for long
            headers = client.request(method, path).headers
            assert headers["x-frame-options"] == "SAMEORIGIN", (method, path)
            policy = headers.get("content-security-policy", "frame-ancestors")
            assert "frame-ancestors" in policy, (method, path)


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "/%09/evil.example",
        "/\t/evil.example",
        "//evil.example/%2f..",
        "/%5cevil.example",
        "javascript:alert(1)",
        "///evil.example",
        "http:evil.example",
        "/\r\nSet-Cookie: a=b",
    ],
)
def test_a_login_leads_nowhere_else(locked: House, target: str) -> None:
    with locked.client(headers={"accept": "text/html"}) as client:
        asked = client.get("/login", params={"next": target})
        sent = client.post("/login", data={"name": "ada", "password": USERS["ada"], "next": target})
        again = client.get("/login", params={"next": target})
        left = client.post("/logout", data={"next": target})
    assert asked.status_code == 200
    for answer in (sent, again, left):
        assert answer.status_code == 303
        leads = urlsplit(answer.headers["location"])
        assert not leads.scheme and not leads.netloc
        assert answer.headers["location"][:2] not in {"//", "/\\"}
        assert "\\" not in answer.headers["location"]


def test_an_address_that_looks_like_another_host_is_no_way_out(locked: House) -> None:
    with locked.client(headers={"accept": "text/html"}) as client:
        for path in ("//evil.example", "//evil.example/%2f..", "/%5cevil.example"):
            answer = client.get(locked.url + path)
            if answer.status_code == 303:
                assert answer.headers["location"].startswith("/login")
                assert "next=//" not in answer.headers["location"]
            else:
                assert answer.status_code in {401, 404}
