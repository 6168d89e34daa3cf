"""S12 and S13: neither a name nor another owner's id deletes or writes anything."""

from pathlib import Path

import pytest

from tests.api.house import USERS, House, complaint, png

NAMES = ("../x", '<>:"', "x" * 300, "../../evil.png", "CON", "a/b\\c")


def test_another_owner_deletes_nothing(locked: House) -> None:
    hers = locked.picture("user:ada").id
    file = locked.studio.file("user:ada", hers)
    before = file.stat().st_ino, file.read_bytes()
    with locked.client(auth=("ben", USERS["ben"])) as ben:
        complaint(ben.delete(f"/api/images/{hers}"), 404)
        ben.delete("/api/trash")
        complaint(ben.delete("/api/images/..%2f..%2fgallery.db"), 404)
    assert (file.stat().st_ino, file.read_bytes()) == before


@pytest.mark.parametrize("name", NAMES)
def test_an_uploads_name_writes_nowhere(alone: House, tmp_path: Path, name: str) -> None:
    with alone.client() as client:
        answer = client.post("/api/inputs", files={"file": (name, png(), "image/png")})
    assert answer.status_code in {200, 201}, answer.text
    ref = answer.json()["ref"]
    stored = alone.studio.picture_file("local", ref)
    assert stored.name == ref
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("prompt", ["../../evil", 'a<>:"|?*b', "x" * 8000, "CON", "\u202eevil"])
def test_a_prompt_names_a_file_inside_the_folder(alone: House, prompt: str) -> None:
    record = alone.picture("local", prompt)
    file = alone.studio.file("local", record.id)
    month = file.parent
    assert month.parent.name == "pictures"
    assert file.resolve() == file
    assert len(file.name.encode()) <= 255
    assert not set(file.name) & set('<>:"/\\|?*')
