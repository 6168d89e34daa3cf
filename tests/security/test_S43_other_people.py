"""S43: as Ben, reading and stopping what is Ada's."""

import httpx
import pytest

from studio.core.errors import NotFound
from studio.core.records import new_id
from tests.api.house import USERS, WANT, House, complaint, png


@pytest.fixture
def ada(locked: House):
    with locked.client(auth=("ada", USERS["ada"])) as client:
        yield client


@pytest.fixture
def ben(locked: House):
    with locked.client(auth=("ben", USERS["ben"])) as client:
        yield client


def test_another_s_job_does_not_exist(locked: House, ada: httpx.Client, ben: httpx.Client) -> None:
    hers = ada.post("/api/jobs", json=WANT).json()["id"]
    his = ben.post("/api/jobs", json=WANT).json()["id"]
    unknown = new_id()
    for method, path in (
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/preview"),
        ("DELETE", ""),
        ("POST", "/rerun"),
    ):
        theirs = complaint(ben.request(method, f"/api/jobs/{hers}{path}"), 404)
        assert theirs == complaint(ben.request(method, f"/api/jobs/{unknown}{path}"), 404)
    complaint(ben.post(f"/api/jobs/{hers}/move", json={"before": None}), 404)
    complaint(ben.post(f"/api/jobs/{his}/move", json={"before": hers}), 404)
    assert ada.get(f"/api/jobs/{hers}").json()["state"] == "queued"
    assert hers not in ben.get("/api/jobs").text + ben.get("/api/live").text
    with ben.stream("GET", "/api/stream") as stream:
        assert hers not in next(stream.iter_lines())
    ada.delete(f"/api/jobs/{hers}")
    ben.delete(f"/api/jobs/{his}")


def test_another_s_picture_does_not_exist(
    locked: House, ada: httpx.Client, ben: httpx.Client
) -> None:
    hers = locked.picture("user:ada", "ada's secret garden").id
    file = locked.studio.file("user:ada", hers)
    before = file.stat().st_ino, file.read_bytes()
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/file", None),
        ("GET", "/thumb", None),
        ("DELETE", "", None),
        ("PATCH", "", {"starred": True}),
    ):
        complaint(ben.request(method, f"/api/images/{hers}{path}", json=body), 404)
    complaint(ben.post("/api/images/trash", json={"ids": [hers]}), 404)
    complaint(ben.post("/api/images/restore", json={"ids": [hers]}), 404)
    assert ben.delete("/api/trash").status_code == 204
    assert ben.get("/api/images?text=secret").json()["images"] == []
    assert (file.stat().st_ino, file.read_bytes()) == before
    found = ada.get(f"/api/images/{hers}").json()
    assert found["starred"] is False and found["trashed"] is False
    assert "user:ada" not in ada.get(f"/api/images/{hers}").text


def test_another_s_upload_and_form_are_not_there(
    locked: House, ada: httpx.Client, ben: httpx.Client
) -> None:
    ref = ada.post("/api/inputs", content=png((9, 9), "plum")).json()["ref"]
    assert locked.studio.picture_file("user:ada", ref).is_file()
    with pytest.raises(NotFound):
        locked.studio.picture_file("user:ben", ref)
    ada.put("/api/drafts/txt2img", json={"prompt": "hers"})
    assert ben.get("/api/drafts/txt2img").json() == {}


def test_another_s_gradio_session_does_not_exist(ada: httpx.Client, ben: httpx.Client) -> None:
    event = {"data": ["hello"], "fn_index": 0, "session_hash": "adas0session", "trigger_id": 1}
    assert ada.post("/gradio_api/queue/join", json=event).status_code == 200
    complaint(ben.get("/gradio_api/queue/data?session_hash=adas0session"), 404)
    complaint(ben.post("/gradio_api/queue/join", json=event), 404)
    complaint(ben.post("/gradio_api/run/predict", json=event), 404)
    stop = {"session_hash": "adas0session", "fn_index": 0, "event_id": "x"}
    complaint(ben.post("/gradio_api/cancel", json=stop), 404)
    complaint(ben.get("/gradio_api/heartbeat/adas0session"), 404)
    with ada.stream("GET", "/gradio_api/queue/data?session_hash=adas0session") as stream:
        for line in stream.iter_lines():
            if "process_completed" in line:
                assert "hello" in line
                break


def test_ids_cannot_be_guessed(ada: httpx.Client) -> None:
    ids = [ada.post("/api/jobs", json=WANT).json()["id"] for _ in range(3)]
    assert all(len(one) == 32 and int(one, 16) for one in ids) and len(set(ids)) == 3
    for one in ids:
        ada.delete(f"/api/jobs/{one}")
