"""From nothing and from every schema there ever was to the newest one."""

import json
from pathlib import Path

import pytest

from studio.core.errors import StorageFailed
from studio.core.sqlite import Database
from studio.gallery.inputs import Inputs
from studio.gallery.migrations import GALLERY, INPUTS
from studio.gallery.store import Gallery
from tests.gallery.painted import files, listed, painted


def schema(path: Path, migrations: tuple) -> set[tuple[str, str]]:
    database = Database(path, migrations)
    rows = database.read("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    database.close()
    return {(row["name"], row["sql"]) for row in rows}


@pytest.mark.parametrize("migrations", [GALLERY, INPUTS])
def test_names_count_from_one(migrations: tuple) -> None:
    numbers = [int(migration.__name__[1:4]) for migration in migrations]
    assert numbers == list(range(1, len(migrations) + 1))


@pytest.mark.parametrize("version", range(len(GALLERY) + 1))
def test_every_old_gallery_becomes_the_newest(tmp_path: Path, version: int) -> None:
    old = tmp_path / "old" / "gallery.db"
    schema(old, GALLERY[:version])
    assert schema(old, GALLERY) == schema(tmp_path / "new" / "gallery.db", GALLERY)
    gallery = Gallery(tmp_path / "old")
    painted(gallery)
    gallery.save_draft("local", "txt2img", {"prompt": "x"})
    assert len(listed(gallery, text="fox")) == 1
    gallery.close()


def test_the_first_gallery_keeps_its_pictures(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    record = painted(gallery)
    gallery.star("local", record.id, True)
    rows = [dict(row) for row in gallery._db.read("SELECT * FROM pictures")]
    gallery.close()
    for part in tmp_path.glob("gallery.db*"):
        part.unlink()
    first = Database(tmp_path / "gallery.db", GALLERY[:1])
    with first.write() as db:
        db.executemany(
            f"INSERT INTO pictures ({', '.join(rows[0])})"
            f" VALUES ({', '.join(':' + column for column in rows[0])})",
            rows,
        )
    first.close()
    gallery = Gallery(tmp_path)
    assert [found.starred for found in listed(gallery, text="fox")] == [True]
    assert (tmp_path / f"gallery.db.before-{GALLERY[1].__name__}").is_file()
    gallery.close()


def test_the_gallery_of_a_newer_studio_is_refused_and_left_alone(tmp_path: Path) -> None:
    def m999_future(db: object) -> None:
        pass

    gallery = Gallery(tmp_path)
    painted(gallery)
    gallery.close()
    Database(tmp_path / "gallery.db", (*GALLERY, m999_future)).close()
    before = (tmp_path / "gallery.db").read_bytes()
    with pytest.raises(StorageFailed, match="newer"):
        Gallery(tmp_path)
    assert (tmp_path / "gallery.db").read_bytes() == before
    assert len(files(tmp_path)) == 1


def test_old_uploads_are_read(tmp_path: Path) -> None:
    store = Database(tmp_path / "inputs.db", INPUTS[:1])
    intake = {"format": "PNG", "width": 1, "height": 2, "mode": "RGB", "frames": 3,
              "exif_rotated": False}  # fmt: skip
    with store.write() as db:
        db.execute(
            "INSERT INTO inputs VALUES (?, ?, ?, ?, ?)",
            ("local", "a" * 64, 5, json.dumps(intake), 1.0),
        )
    store.close()
    inputs = Inputs(tmp_path)
    assert inputs.info("local", "a" * 64).frames == 3
    inputs.close()
