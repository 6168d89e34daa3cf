"""Listing takes the steps of a page, not those of the gallery: shown by plan and by counting."""

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.records import new_id
from studio.core.sqlite import connect
from studio.gallery.store import Gallery, Query, _listing

ROWS = 20_000
OWNERS = ("local", "user:b")
WORDS = ("fox", "snow", "castle", "river", "robot", "gold")
FIRST = 1.7e9


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """20,000 rows of two owners, straight into the database: no listing looks at files."""
    folder = tmp_path_factory.mktemp("big")
    gallery = Gallery(folder)
    chance = random.Random(1)
    with gallery._db.write() as db:
        db.executemany(
            "INSERT INTO pictures (id, owner, job, position, task, checkpoint, seed, width, height,"
            " request, infotext, facts, parents, words, file, created, starred, trashed)"
            " VALUES (?, ?, 'j', 0, 't', ?, '1', 8, 8, '{}', '', '{}', '[]', ?, ?, ?, ?, ?)",
            (
                (new_id(), OWNERS[n % 2], f"c{n % 7}", " ".join(chance.choices(WORDS, k=8))
                 + (" zeppelin" if n % 2000 == 0 else ""), f"pictures/x/{n}.png", FIRST + n,
                 int(n % 1000 == 0), int(n % 500 == 2))
                for n in range(ROWS)
            ),
        )  # fmt: skip
    gallery.close()
    db = connect(folder / "gallery.db")
    yield db
    db.close()


def steps(db: sqlite3.Connection, query: Query) -> tuple[int, list[sqlite3.Row]]:
    """Instructions of SQLite's machine that a listing takes, to the nearest 10, and its rows."""
    sql, params = _listing("local", query)
    counted = [0]

    def count() -> None:
        counted[0] += 10

    db.set_progress_handler(count, 10)
    try:
        rows = db.execute(str(sql), params).fetchall()
    finally:
        db.set_progress_handler(None, 0)
    return counted[0], rows


QUERIES = {
    "first": Query(),
    "middle": Query(cursor=str(ROWS // 2)),
    "last": Query(cursor="90"),
    "checkpoint": Query(checkpoint="c3"),
    "checkpoint far down": Query(checkpoint="c3", cursor="2000"),
    "starred": Query(starred=True),
    "not starred": Query(starred=False),
    "trash": Query(trashed=True),
    "task": Query(task="t"),
    "unknown task": Query(task="nothing"),
    "unknown checkpoint": Query(checkpoint="nothing"),
    "common word": Query(text="fox"),
    "common word far down": Query(text="fox", cursor="2000"),
    "rare word": Query(text="zepp"),
    "unknown word": Query(text="unheard"),
    "two words": Query(text="fox snow"),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_page_costs_what_a_page_costs(big: sqlite3.Connection, name: str) -> None:
    query = QUERIES[name]
    taken, rows = steps(big, query)
    assert len(rows) <= query.limit + 1
    # a scan of all rows takes over 100,000 steps
    assert taken < 8_000, f"{taken} steps for {len(rows)} rows"


@pytest.mark.parametrize("name", QUERIES)
def test_a_page_is_read_through_an_index_in_its_order(big: sqlite3.Connection, name: str) -> None:
    sql, params = _listing("local", QUERIES[name])
    plan = [row["detail"] for row in big.execute(f"EXPLAIN QUERY PLAN {sql}", params)]
    text = "; ".join(plan)
    assert "TEMP B-TREE" not in text, text
    assert "OFFSET" not in str(sql)
    assert "VIRTUAL TABLE INDEX" in plan[0] or "USING INDEX" in plan[0], text


@pytest.mark.parametrize(
    ("query", "most"),
    [
        (Query(until=FIRST + 100), 150_000),
        (Query(since=FIRST + ROWS - 50), 150_000),
        (Query(text="fox", starred=True), 600_000),
    ],
)
def test_dates_and_odd_mixtures_read_the_index_at_most_once(
    big: sqlite3.Connection, query: Query, most: int
) -> None:
    assert steps(big, query)[0] < most


def test_jobs_and_single_pictures_are_looked_up(big: sqlite3.Connection) -> None:
    for sql in (
        "SELECT * FROM pictures WHERE id = ? AND owner = 'local'",
        "SELECT * FROM pictures WHERE job = ? AND trashed = 0 AND missing = 0"
        " ORDER BY position, seq",
    ):
        plan = "; ".join(row["detail"] for row in big.execute(f"EXPLAIN QUERY PLAN {sql}", ("x",)))
        assert plan.startswith("SEARCH pictures USING INDEX"), plan


def test_the_last_page_and_the_first_hold_what_they_should(
    big: sqlite3.Connection, tmp_path: Path
) -> None:
    sql, params = _listing("local", Query(limit=5))
    rows = big.execute(str(sql), params).fetchall()
    assert [row["created"] - FIRST for row in rows] == [
        n for n in range(ROWS - 2, 0, -2) if n % 500 != 2
    ][:6]
