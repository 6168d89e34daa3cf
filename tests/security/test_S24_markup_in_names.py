"""S24: names that are markup, in everything that the web side itself writes."""

from pathlib import Path

from studio.app import App
from tests.api.house import House, open_house, png

EVIL = "<img src=x onerror=alert(1)>"


def test_pages_of_our_own_show_names_as_text(app: App, tmp_path: Path) -> None:
    with (
        open_house(app, tmp_path, users={EVIL: "secret"}) as house,
        house.client(headers={"accept": "text/html"}) as client,
    ):
        wrong = client.post("/login", data={"name": EVIL, "password": "x", "next": f"/{EVIL}"})
        assert wrong.status_code == 401
        assert EVIL not in wrong.text and "&lt;img" in wrong.text
        assert client.post("/login", data={"name": EVIL, "password": "secret"}).status_code == 303
        for path in (f"/{EVIL}", f"/api/{EVIL}", f"/enter?token={EVIL}", "/api/docs"):
            answer = client.get(path)
            if answer.headers.get("content-type", "").startswith("text/html"):
                assert EVIL not in answer.text


def test_data_is_never_html(alone: House) -> None:
    with alone.client(headers={"accept": "text/html"}) as client:
        alone.picture("local", EVIL)
        client.put("/api/drafts/txt2img", json={"prompt": EVIL})
        upload = client.post("/api/inputs", files={EVIL: (EVIL, png(), "image/png")})
        for answer in (
            upload,
            client.get(f"/api/jobs/{EVIL}"),
            client.get("/api/images"),
            client.get(f"/api/images?text={EVIL}"),
            client.get(f"/api/images?limit={EVIL}"),
            client.get("/api/drafts/txt2img"),
            client.post("/api/jobs", json={"task": EVIL}),
            client.post("/api/jobs", json={"task": "txt2img", "prompt": EVIL, EVIL: 1}),
        ):
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
