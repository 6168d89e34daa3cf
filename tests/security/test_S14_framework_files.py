"""S14: Gradio's own file routes hand out nothing of this machine."""

import json

import pytest

from studio.ui.shell import mount
from tests.api.house import House, open_house


@pytest.fixture(scope="module")
def page(alone: House, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("page")
    with open_house(alone.app, folder, mount=mount) as house:
        yield house


def test_no_file_route_answers(page: House) -> None:
    picture = page.studio.file("local", page.picture("local").id)
    database = picture.parents[2] / "gallery.db"
    assert database.is_file()
    targets = (
        "/etc/passwd",
        "/proc/self/environ",
        str(database),
        str(picture),
        "/etc/../etc/hosts",
    )
    with page.client() as client:
        for target in targets:
            for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/file/"):
                answer = client.get(f"{route}{target}")
                assert answer.status_code in {403, 404}, (route, target, answer.status_code)
                assert b"root:" not in answer.content


def test_a_path_in_a_payload_is_not_read(page: House) -> None:
    with page.client() as client:
        for number in range(12):
            data = [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}] * 14
            body = {"data": data, "fn_index": number, "session_hash": "abcdefgh"}
            answer = client.post("/gradio_api/queue/join", content=json.dumps(body))
            assert "root:" not in answer.text
