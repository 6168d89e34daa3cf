"""The shared database: commits that hold, writers in turn, damage that is told."""

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from studio.core.errors import StorageFailed
from studio.core.sqlite import Database, DatabaseDamaged, set_aside


def m001_notes(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE notes (n INTEGER PRIMARY KEY, text TEXT NOT NULL)")


def m002_colour(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE notes ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'")


def m003_broken(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE half (n INTEGER)")
    db.execute("INSERT INTO nowhere VALUES (1)")


def noted(path: Path, count: int = 1, text: str = "hello") -> Database:
    database = Database(path, [m001_notes])
    with database.write() as db:
        db.executemany("INSERT INTO notes (text) VALUES (?)", [(text,)] * count)
    return database


def test_a_new_database_and_its_folder_belong_to_their_owner_alone(tmp_path: Path) -> None:
    noted(tmp_path / "data" / "x.db").close()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "x.db").stat().st_mode) == 0o600


def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    database = noted(tmp_path / "x.db")
    with pytest.raises(KeyError), database.write() as db:
        db.execute("INSERT INTO notes (text) VALUES ('lost')")
        raise KeyError
    assert [row["text"] for row in database.read("SELECT text FROM notes")] == ["hello"]


def test_readers_see_the_last_commit_while_somebody_writes(tmp_path: Path) -> None:
    database = noted(tmp_path / "x.db")
    with database.write() as db:
        db.execute("INSERT INTO notes (text) VALUES ('new')")
        assert len(database.read("SELECT * FROM notes")) == 1
    assert len(database.read("SELECT * FROM notes")) == 2


def test_writers_of_many_threads_take_turns(tmp_path: Path) -> None:
    database = noted(tmp_path / "x.db")

    def count_up() -> None:
        for _ in range(20):
            with database.write() as db:
                seen = db.execute("SELECT COUNT(*) FROM notes").fetchone()[0]
                db.execute("INSERT INTO notes (n, text) VALUES (?, 'x')", (seen + 1,))
            database.read("SELECT * FROM notes")

    threads = [threading.Thread(target=count_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.read("SELECT MAX(n) AS n FROM notes")[0]["n"] == 161


def test_two_processes_worth_of_databases_share_a_file(tmp_path: Path) -> None:
    first, second = noted(tmp_path / "x.db"), Database(tmp_path / "x.db", [m001_notes])
    with second.write() as db:
        db.execute("INSERT INTO notes (text) VALUES ('second')")
    assert len(first.read("SELECT * FROM notes")) == 2


def test_commits_are_flushed_to_the_disk(tmp_path: Path) -> None:
    with noted(tmp_path / "x.db").write() as db:
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_new_migrations_run_once_and_leave_a_copy_of_what_was(tmp_path: Path) -> None:
    noted(tmp_path / "x.db").close()
    for _ in range(2):
        database = Database(tmp_path / "x.db", [m001_notes, m002_colour])
        assert [tuple(row) for row in database.read("SELECT text, colour FROM notes")] == [
            ("hello", "blue")
        ]
        database.close()
    before = Database(tmp_path / "x.db.before-m002_colour", [m001_notes])
    assert [row.keys() for row in before.read("SELECT * FROM notes")] == [["n", "text"]]


def test_a_failing_migration_changes_nothing(tmp_path: Path) -> None:
    noted(tmp_path / "x.db").close()
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        Database(tmp_path / "x.db", [m001_notes, m002_colour, m003_broken])
    database = Database(tmp_path / "x.db", [m001_notes])
    assert database.read("SELECT * FROM notes")[0].keys() == ["n", "text"]
    assert not database.read("SELECT * FROM sqlite_master WHERE name = 'half'")


def test_the_database_of_a_newer_studio_is_refused_and_left_alone(tmp_path: Path) -> None:
    Database(tmp_path / "x.db", [m001_notes, m002_colour]).close()
    before = (tmp_path / "x.db").read_bytes()
    with pytest.raises(StorageFailed, match="newer"):
        Database(tmp_path / "x.db", [m001_notes])
    assert (tmp_path / "x.db").read_bytes() == before


def test_a_full_disk_is_told_and_the_database_goes_on(tmp_path: Path) -> None:
    database = noted(tmp_path / "x.db")
    with database.write() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageFailed, match="disk is full"), database.write() as db:
        db.executemany("INSERT INTO notes (text) VALUES (?)", [("x" * 4000,)] * 50)
    assert len(database.read("SELECT * FROM notes")) == 1
    with database.write() as db:
        db.execute("INSERT INTO notes (text) VALUES ('small')")
    assert len(database.read("SELECT * FROM notes")) == 2
    assert database.integrity()


def test_something_else_in_place_of_the_database_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"this is a letter, not a database" * 100)
    with pytest.raises(DatabaseDamaged):
        Database(path, [m001_notes])
    assert path.read_bytes().startswith(b"this is a letter")


def test_a_changed_page_is_found_and_the_file_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    noted(path, 500, "x" * 100).close()
    data = bytearray(path.read_bytes())
    for at in range(4096 * 3, 4096 * 3 + 64):
        data[at] ^= 0xFF
    path.write_bytes(data)
    database = Database(path, [m001_notes])
    assert not database.integrity()
    database.close()
    moved = set_aside(path)
    assert moved.read_bytes() == data
    assert not path.exists()
    assert noted(path).integrity()


def test_two_damaged_databases_in_a_second_are_both_kept(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        (tmp_path / "x.db").write_bytes(content)
        (tmp_path / "x.db-wal").write_bytes(content)
        set_aside(tmp_path / "x.db")
    assert len(list(tmp_path.glob("x.db.damaged-*"))) == 4
    assert not (tmp_path / "x.db-wal").exists()


def test_a_byte_that_is_no_text_does_not_hide_the_row(tmp_path: Path) -> None:
    database = noted(tmp_path / "x.db")
    with database.write() as db:
        db.execute("INSERT INTO notes (text) VALUES (CAST(X'61FF62' AS TEXT))")
    assert database.read("SELECT text FROM notes")[1]["text"] == "a\ufffdb"


def test_nothing_works_after_closing_and_it_says_so(tmp_path: Path) -> None:
    database = noted(tmp_path / "x.db")
    database.close()
    with pytest.raises(StorageFailed, match="closing"):
        database.read("SELECT 1")
    with pytest.raises(StorageFailed, match="closing"), database.write():
        pass
    assert os.listdir(tmp_path) == ["x.db"]  # the WAL was taken in


def test_a_folder_in_place_of_the_database_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "x.db").mkdir()
    with pytest.raises(StorageFailed):
        Database(tmp_path / "x.db", [m001_notes])
