"""S48: private pictures in caches, and by their bare address."""

import pytest

from tests.api.house import USERS, House, complaint


@pytest.mark.parametrize("part", ["", "/file", "/file?download=1"])
def test_pictures_are_not_stored_on_the_way(locked: House, part: str) -> None:
    record = locked.picture("user:ada")
    with locked.client() as client:
        mine = client.get(f"/api/images/{record.id}{part}", auth=("ada", USERS["ada"]))
        assert mine.status_code == 200
        assert mine.headers["cache-control"] == "private, no-store"
        complaint(client.get(f"/api/images/{record.id}{part}"), 401)
        complaint(client.get(f"/api/images/{record.id}{part}", auth=("ben", USERS["ben"])), 404)


def test_thumbnails_are_kept_by_the_browser_alone(locked: House) -> None:
    record = locked.picture("user:ada")
    with locked.client(auth=("ada", USERS["ada"])) as client:
        thumb = client.get(f"/api/images/{record.id}/thumb")
        assert thumb.headers["cache-control"].startswith("private, max-age=")
        client.post("/login", data={"name": "ada", "password": USERS["ada"]})
        assert client.post("/logout").headers["clear-site-data"] == '"cache"'


def test_everything_else_that_is_somebody_s_is_not_stored(locked: House) -> None:
    with locked.client(auth=("ada", USERS["ada"])) as client:
        for path in (
            "/",
            "/config",
            "/api/jobs",
            "/api/live",
            "/api/images",
            "/api/drafts/txt2img",
        ):
            assert client.get(path).headers["cache-control"] == "private, no-store", path


@pytest.mark.parametrize(
    "path",
    [
        "file=/etc/passwd",
        "file=http://127.0.0.1/",
        "file=C:/x",
        "file/x",
        "proxy=http://x/",
        "FILE=/etc/passwd",
    ],
)
def test_gradio_serves_no_files(alone: House, path: str) -> None:
    with alone.client() as client:
        answer = client.get(f"/gradio_api/{path}")
        assert answer.status_code in {403, 404}
