"""`POST /api/pose`: people in, their map out."""

import io

import httpx
import pytest
from PIL import Image

from tests.api.house import WANT, House, complaint
from tests.tasks.test_poses import written


@pytest.fixture
def client(alone: House):
    with alone.client() as client:
        yield client


def test_people_become_a_map_of_their_canvas(client: httpx.Client) -> None:
    made = client.post("/api/pose", json=written()).json()
    assert (made["width"], made["height"]) == (64, 96)
    assert made["pose"] == written()
    shown = Image.open(io.BytesIO(client.get(f"/api/pictures/{made['ref']}").content))
    assert shown.size == (64, 96)
    assert client.post("/api/pose", json=made["pose"]).json() == made


def test_and_of_another_size_if_that_is_wanted(client: httpx.Client) -> None:
    made = client.post("/api/pose?width=128&height=192", json=written()).json()
    assert made["pose"]["people"][0]["pose_keypoints_2d"][:3] == [64, 8, 1]
    assert made["pose"]["canvas_width"] == 128


def test_nobody_is_a_sentence(client: httpx.Client) -> None:
    nobody = written(people=[])
    assert "Nobody" in complaint(client.post("/api/pose", json=nobody), 422)["message"]
    unit = {"kind": "pose", "pose": nobody}
    asked = client.post("/api/jobs", json={**WANT, "task": "control", "units": [unit]})
    assert "Nobody" in complaint(asked, 422)["message"]
    assert "size" in complaint(client.post("/api/pose?width=9", json=written()), 422)["message"]
