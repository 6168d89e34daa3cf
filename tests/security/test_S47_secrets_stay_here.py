"""S47: no path, user name, host name or secret leaves in a picture, an answer or the page."""

import getpass
import re
import socket
from pathlib import Path

from studio.paths import ROOT
from studio.ui.shell import mount
from tests.api.house import House, complaint, open_house


def secrets_of(house: House) -> list[str]:
    data_dir = house.app.gallery.file("local", house.picture("local").id).parents[2]
    return [str(ROOT), str(data_dir), str(Path.home()) + "/", socket.gethostname()]


def test_a_picture_tells_how_it_was_made_and_nothing_else(alone: House) -> None:
    record = alone.picture("local")
    data = alone.studio.file("local", record.id).read_bytes().decode("latin-1")
    for secret in secrets_of(alone):
        assert secret not in data
    assert "local" not in data
    assert f"/{getpass.getuser()}/" not in data


def test_answers_name_no_place(alone: House) -> None:
    record = alone.picture("local")
    with alone.client() as client:
        said = [
            client.get(path).text
            for path in (
                "/api/choices",
                "/api/health",
                "/api/live",
                "/api/images",
                f"/api/images/{record.id}",
                "/api/openapi.json",
                "/api/images/unknown",
            )
        ]
        answers = client.get(f"/api/images/{record.id}/file")
    for secret in secrets_of(alone):
        assert not [text for text in said if secret in text]
        assert secret not in str(answers.headers)


def test_the_page_names_no_place(alone: House, tmp_path: Path) -> None:
    with open_house(alone.app, tmp_path, mount=mount) as house, house.client() as client:
        page, config = client.get("/").text, client.get("/config").text
    for secret in secrets_of(alone):
        assert secret not in page
        assert secret not in config
    assert not re.search(r"hf_[A-Za-z0-9]{20}", page + config)


def test_an_unexpected_error_is_a_number(alone: House, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"secret {ROOT}")

    monkeypatch.setattr(type(alone.studio), "choices", broken)
    with alone.client() as client:
        error = complaint(client.get("/api/choices"), 500)
    assert re.fullmatch(r"Something went wrong \(id [0-9a-f]+\)\.", error["message"])
    assert "secret" not in str(error)
