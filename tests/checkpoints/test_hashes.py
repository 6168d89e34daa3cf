"""Hashes are right, remembered, and never older than the file."""

import hashlib
import os
from pathlib import Path

from studio.checkpoints.hashes import Hashes


def test_a_hash_is_remembered_across_starts(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    assert Hashes(tmp_path / "cache").sha256(file) == right
    stat = file.stat()
    # Same size and time with other bytes: only a remembered hash can still be the old one.
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Hashes(tmp_path / "cache").sha256(file) == right


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file, hashes = tmp_path / "a", Hashes(tmp_path / "cache")
    file.write_bytes(b"weights")
    hashes.sha256(file)
    file.write_bytes(b"other weights")
    assert hashes.sha256(file) == hashlib.sha256(b"other weights").hexdigest()


def test_what_another_process_found_out_is_known_until_the_file_changes(tmp_path: Path) -> None:
    file, never = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"weights")
    never.write_bytes(b"more weights")
    asking, computing = Hashes(tmp_path / "cache"), Hashes(tmp_path / "cache")
    assert asking.remembered([file]) == {}
    right = computing.sha256(file)
    assert asking.remembered([file, never, tmp_path / "missing"]) == {file: right}
    assert not (tmp_path / "cache" / "hashes.json").read_text().count(str(never))
    file.write_bytes(b"other weights")
    assert asking.remembered([file]) == {}


def test_a_broken_cache_costs_only_time(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"weights")
    (tmp_path / "hashes.json").write_text('{"broken')
    assert Hashes(tmp_path).sha256(file) == hashlib.sha256(b"weights").hexdigest()
    assert Hashes(tmp_path / "a" / "not-a-folder").sha256(file)
    assert Hashes(None).sha256(file)
