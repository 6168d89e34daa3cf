"""A picture of our own, dropped again."""

import httpx

from tests.api.house import House, png


def test_our_own_picture_gives_its_request_back(alone: House) -> None:
    record = alone.picture("local", "a red fox in the snow", seed=11)
    with alone.client() as client:
        file = client.get(f"/api/images/{record.id}/file").content
        raw = client.post("/api/settings-from-picture", content=file)
        form = client.post("/api/settings-from-picture", files={"file": ("x.png", file)})
    found = settings(raw)
    assert found == settings(form)
    assert found["source"] == "Pochade" and found["task"] == "txt2img"
    assert found["prompt"] == "a red fox in the snow"
    assert found["request"] == dict(record.request)


def test_it_is_not_stored(alone: House) -> None:
    data = png((12, 13), "navy")
    with alone.client() as client:
        client.post("/api/settings-from-picture", content=data)
        ref = client.post("/api/inputs", content=data).json()["ref"]
    assert alone.studio.picture_file("local", ref).is_file()


def settings(answer: httpx.Response) -> dict:
    assert answer.status_code == 200, answer.text
    return answer.json()
