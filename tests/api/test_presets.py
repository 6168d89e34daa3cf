"""Styles in words over the API: one's own, the house's, files, and in requests."""

import pytest

from tests.api.house import House, complaint

INK = {"name": "My ink", "prompt": "ink drawing of {prompt}", "negative_prompt": "colour"}


@pytest.fixture
def client(alone: House):
    with alone.client() as client:
        yield client
        for preset in client.get("/api/presets").json()["presets"]:
            if preset["own"]:
                client.delete("/api/presets", params={"name": preset["name"]})


def names(client, *, own: bool) -> list[str]:
    listed = client.get("/api/presets").json()["presets"]
    return [one["name"] for one in listed if one["own"] is own]


def test_own_ones_are_kept_replaced_and_removed(client) -> None:
    assert names(client, own=True) == [] and "Watercolour" in names(client, own=False)
    assert client.put("/api/presets", json=INK).json() == {**INK, "own": True}
    client.put("/api/presets", json={**INK, "prompt": "pen"}).raise_for_status()
    client.put("/api/presets", json={**INK, "name": "Watercolour"}).raise_for_status()
    assert names(client, own=True) == ["My ink", "Watercolour"]
    assert "Watercolour" not in names(client, own=False)
    assert client.delete("/api/presets", params={"name": "Watercolour"}).status_code == 204
    assert "Watercolour" in names(client, own=False)
    assert "no such style" in complaint(client.delete("/api/presets?name=x"), 404)["message"]


@pytest.mark.parametrize(
    "change",
    [{"name": " "}, {"name": "#no"}, {"name": "x" * 101}, {"prompt": "", "negative_prompt": " "}],
)
def test_nonsense_is_refused(client, change: dict) -> None:
    complaint(client.put("/api/presets", json={**INK, **change}), 422)
    assert names(client, own=True) == []


def test_files_go_out_and_in(client) -> None:
    client.put("/api/presets", json=INK).raise_for_status()
    file = client.get("/api/presets/styles.csv")
    assert file.headers["content-type"].startswith("text/csv")
    client.delete("/api/presets", params={"name": INK["name"]})
    kind = {"Content-Type": "text/csv"}
    client.post("/api/presets/styles.csv", content=file.content, headers=kind).raise_for_status()
    assert names(client, own=True) == ["My ink"]
    broken = client.post("/api/presets/styles.csv", content=b"\x00,\xff", headers=kind)
    assert "no file of styles" in complaint(broken, 422)["message"]


def test_a_request_holds_what_the_styles_made_of_its_prompt(client) -> None:
    client.put("/api/presets", json=INK).raise_for_status()
    asked = {"task": "txt2img", "prompt": "a fox", "checkpoint": "tiny", "styles": ["My ink"]}
    made = client.post("/api/jobs", json=asked).json()
    client.delete(f"/api/jobs/{made['id']}")
    request = made["request"]
    assert (request["prompt"], request["negative_prompt"]) == ("ink drawing of a fox", "colour")
    assert (request["styles"], request["styled"]) == ([], ["My ink"])
    assert request["typed"] == {"prompt": "a fox", "negative_prompt": ""}
    again = client.post(f"/api/jobs/{made['id']}/rerun").json()
    client.delete(f"/api/jobs/{again['id']}")
    assert again["request"] == request
    absent = client.post("/api/jobs", json={**asked, "styles": ["nothing"]})
    assert "no style 'nothing'" in complaint(absent, 422)["message"]
