"""Which checkpoint a picture means: its hash says more than its name."""

from dataclasses import replace
from pathlib import Path

import pytest

from studio.checkpoints.catalog import Checkpoint, Found, inspect
from studio.checkpoints.meant import Meant, meant

A, B = "a" * 64, "b" * 64


def checkpoint(name: str, label: str = "", problem: str = "") -> Checkpoint:
    blank = inspect(Found(id=name, path=Path(name), layout="file", stamp=()))
    return replace(blank, problem=problem, label=label or name)


HERE = (
    checkpoint("broken", problem="It is damaged."),
    checkpoint("one", "First Light"),
    checkpoint("more/two"),
    checkpoint("copy of two"),
)
HASHES = {"broken": A, "one": A, "more/two": B, "copy of two": B}


@pytest.mark.parametrize(
    ("name", "digest", "found"),
    [
        ("one", "", "one"),
        ("ONE", A, "one"),
        ("first light", "", "one"),
        ("two", "", "more/two"),
        ("two", A[:10], "one"),  # the hash wins
        ("renamed", B[:10], "more/two"),
        ("copy of two", B[:10], "copy of two"),  # of two with that hash the one with that name
        ("", A, "one"),
        ("", A[:8], "one"),
        ("broken", A, "one"),
        ("broken", "", None),
        ("renamed", "", None),
        ("renamed", "c" * 10, None),
        ("", "c" * 10, None),
    ],
)
def test_hash_then_name(name: str, digest: str, found: str | None) -> None:
    answer = meant(HERE, HASHES, name, digest)
    assert answer.checkpoint_id == found
    assert bool(answer.note) == (found is None)


def test_another_file_of_that_name_is_said() -> None:
    note = "'First Light' is not the same file here as the one that painted this"
    assert meant(HERE, HASHES, "one", "c" * 10).note.startswith(note)
    assert meant(HERE, HASHES, "one", "c" * 64).note.startswith(note)


def test_what_is_not_known_is_not_said() -> None:
    assert meant(HERE, {}, "one", "c" * 10) == Meant("one")
    assert meant(HERE, HASHES, "one", "c" * 8) == Meant("one")  # a hash of A1111's older kind
