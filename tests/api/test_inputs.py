"""Uploads over the API: removed by hand, and by themselves once nothing needs them."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from studio.app import App, compose
from studio.core.records import Picture
from studio.gallery.inputs import KEPT_S
from studio.settings import Settings
from tests.api.house import USERS, House, complaint, open_house, png

COLOURS = ("red", "blue", "teal", "tan")
KIND = {"content-type": "image/png"}
ADA = "user:ada"


@pytest.fixture
def small(checkpoints: Path, tmp_path: Path) -> Iterator[App]:
    """A studio in which each may keep three uploads."""
    app = compose(
        Settings(
            data_dir=tmp_path / "data",
            checkpoint_dirs=(checkpoints,),
            device="cpu",
            input_quota_bytes=3 * max(len(png(colour=colour)) for colour in COLOURS),
        )
    )
    yield app
    app.close()


@pytest.fixture
def house(small: App, tmp_path: Path) -> Iterator[House]:
    with open_house(small, tmp_path / "access", users=USERS) as house:
        yield house


@pytest.fixture
def ada(house: House) -> Iterator[httpx.Client]:
    with house.client(auth=("ada", USERS["ada"])) as client:
        yield client


def sent(client: httpx.Client, colour: str) -> str:
    answer = client.post("/api/inputs", content=png(colour=colour), headers=KIND)
    assert answer.status_code == 201, answer.text
    return answer.json()["ref"]


def job_over(client: httpx.Client, ref: str) -> str:
    wish = {"task": "img2img", "prompt": "a fox", "checkpoint": "tiny", "image": ref}
    answer = client.post("/api/jobs", json={**wish, "width": 64, "height": 64})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def there(client: httpx.Client, ref: str) -> bool:
    return client.get(f"/api/pictures/{ref}").status_code == 200


def picture_of(app: App, ref: str) -> str:
    """A picture in the gallery that was made from an upload."""
    pixels = Picture(index=0, seed=1, width=8, height=8, pixels=bytes(192))
    return app.gallery.add(ADA, "0" * 32, "img2img", {"image": ref}, pixels, "a fox", (ref,)).id


def later(app: App) -> None:
    """Lets a day pass for what is uploaded."""
    clock = app.inputs._clock
    app.inputs._clock = lambda: clock() + KEPT_S


def test_an_upload_is_removed_once_nothing_is_made_from_it(house: House, ada: httpx.Client) -> None:
    ref = sent(ada, "red")
    with house.client(auth=("ben", USERS["ben"])) as ben:
        complaint(ben.delete(f"/api/inputs/{ref}"), 404)
    job = job_over(ada, ref)
    assert "job" in complaint(ada.delete(f"/api/inputs/{ref}"), 409)["message"]
    ada.delete(f"/api/jobs/{job}")
    picture = picture_of(house.app, ref)
    for _ in ("in the gallery", "in the trash"):
        assert "picture" in complaint(ada.delete(f"/api/inputs/{ref}"), 409)["message"]
        ada.delete(f"/api/images/{picture}")
    assert ada.delete("/api/trash").status_code == 204
    ada.put("/api/drafts/img2img", json={"image": ref})  # a form alone does not hold it
    assert ada.delete(f"/api/inputs/{ref}").status_code == 204
    assert not there(ada, ref)
    complaint(ada.delete(f"/api/inputs/{ref}"), 404)
    complaint(ada.delete("/api/inputs/..%2f..%2fjobs.db"), 404)


def test_uploads_that_a_picture_a_job_or_a_form_names_outlive_the_others(
    small: App, ada: httpx.Client
) -> None:
    red, blue, teal = (sent(ada, colour) for colour in COLOURS[:3])
    later(small)
    picture = picture_of(small, red)
    ada.delete(f"/api/images/{picture}")
    ada.put("/api/drafts/img2img", json={"canvas": {"layers": [{"image": blue}]}})
    job = job_over(ada, teal)
    full = ada.post("/api/inputs", content=png(colour="tan"), headers=KIND)
    assert "Your space is full" in complaint(full, 507)["message"]
    assert there(ada, red) and there(ada, blue) and there(ada, teal)
    ada.delete(f"/api/jobs/{job}")
    tan = sent(ada, "tan")
    assert there(ada, red) and there(ada, blue) and there(ada, tan) and not there(ada, teal)


def test_uploads_of_today_do_not_make_room(ada: httpx.Client) -> None:
    refs = [sent(ada, colour) for colour in COLOURS[:3]]
    complaint(ada.post("/api/inputs", content=png(colour="tan"), headers=KIND), 507)
    assert all(there(ada, ref) for ref in refs)
