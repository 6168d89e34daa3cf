"""What is left when the disk or the process fails in the middle: never half a picture."""

import errno
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from studio.core import png
from studio.core.errors import StorageFailed
from studio.core.records import ImageRecord
from studio.gallery.store import Gallery
from tests.gallery.faults import Faults, injected, watched_databases
from tests.gallery.painted import assert_whole, files, leftovers, listed, painted

SAVER = Path(__file__).with_name("saver.py")
KILLS = 15
MOST_TOUCHES = 60


def assert_matching(gallery: Gallery, data_dir: Path) -> None:
    """Rows and files are one to one, all readable, nothing unfinished."""
    assert_whole(data_dir)
    assert {record.file for record in listed(gallery)} == files(data_dir)
    assert leftovers(data_dir) == []
    assert gallery._db.integrity()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("lasting", [False, True])
def test_whichever_touch_of_a_save_fails_there_is_a_whole_picture_or_none(
    tmp_path: Path, error: int, lasting: bool
) -> None:
    for at in range(1, MOST_TOUCHES):
        data_dir = tmp_path / str(at)
        with watched_databases():
            gallery = Gallery(data_dir)
        before = painted(gallery, seed=0)
        for month in (data_dir / "pictures").iterdir():
            if month.is_dir() and at % 2:  # the folder too is to be made in every other round
                month.rename(data_dir / "pictures" / "2020-01")
                gallery.repair()
        faults = Faults(at=at, error=error, lasting=lasting)
        saved = None
        with injected(faults):
            try:
                saved = painted(gallery, seed=1)
            except StorageFailed as failure:
                assert str(data_dir) not in str(failure)
        assert_whole(data_dir)
        shown = {record.id for record in listed(gallery)}
        assert shown == {before.id, saved.id} if saved else {before.id}
        assert {record.file for record in listed(gallery)} <= files(data_dir)
        after = painted(gallery, seed=2)  # the studio goes on without a restart
        gallery.close()
        gallery = Gallery(data_dir)
        assert_matching(gallery, data_dir)
        assert after.id in {record.id for record in listed(gallery)}
        if not lasting:  # a disk that works again lets the save clean up behind itself
            assert len(listed(gallery)) == (3 if saved else 2)
        gallery.close()
        if not faults.fired:
            assert at > 8, "the shim counts nothing"
            return
    pytest.fail("a save touches the disk endlessly")


def test_a_save_is_flushed_step_by_step_before_its_row_is_written(data_dir: Path) -> None:
    with watched_databases():
        gallery = Gallery(data_dir)
    painted(gallery)
    faults = Faults(at=0)
    with injected(faults):
        painted(gallery)
    gallery.close()
    file = ["open", "write", "fsync", "replace", "open", "fsync"]  # the second open: the folder
    assert faults.names == [*file, "BEGIN", "INSERT", "COMMIT"]


def test_whichever_touch_of_emptying_the_trash_fails_nothing_comes_back(tmp_path: Path) -> None:
    for at in range(1, MOST_TOUCHES):
        data_dir = tmp_path / str(at)
        with watched_databases():
            gallery = Gallery(data_dir)
        kept, *gone = (painted(gallery, seed=seed) for seed in range(4))
        gallery.trash("local", [record.id for record in gone])
        faults = Faults(at=at, error=errno.EIO)
        with injected(faults):
            try:
                gallery.empty_trash("local")
            except StorageFailed:
                assert faults.fired
        gallery.close()
        gallery = Gallery(data_dir)
        assert [record.id for record in listed(gallery)] == [kept.id]
        left = {record.file for record in listed(gallery, trashed=True)}
        assert files(data_dir) == {kept.file} | left
        assert gallery._db.read("SELECT COUNT(*) FROM pictures")[0][0] == len(files(data_dir))
        gallery.empty_trash("local")
        assert_matching(gallery, data_dir)
        gallery.close()
        if not faults.fired:
            assert at > 4
            return
    pytest.fail("emptying the trash touches the disk endlessly")


def test_killed_at_whichever_touch_of_a_save(tmp_path: Path) -> None:
    for at in range(1, MOST_TOUCHES):
        data_dir = tmp_path / str(at)
        ended = subprocess.run(
            [sys.executable, str(SAVER), str(data_dir), str(at)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode in {0, -9}, ended.stderr
        told = ended.stdout.split()
        gallery = Gallery(data_dir)
        assert_matching(gallery, data_dir)
        shown = [record.id for record in listed(gallery)]
        assert set(told) <= set(shown)
        assert len(shown) <= 2
        gallery.close()
        if ended.returncode == 0:
            assert len(told) == 2
            assert at > 8
            return
    pytest.fail("a save touches the disk endlessly")


def test_killed_at_any_moment_what_was_told_is_there(tmp_path: Path) -> None:
    chance = random.Random(7)
    data_dir = tmp_path / "data"
    told: set[str] = set()
    for _ in range(KILLS):
        saver = subprocess.Popen(
            [sys.executable, str(SAVER), str(data_dir)], stdout=subprocess.PIPE, text=True
        )
        assert saver.stdout is not None
        told.add(saver.stdout.readline().strip())
        time.sleep(chance.random() * 0.15)
        saver.kill()
        told |= set(saver.stdout.read().split())
        saver.wait()
        saver.stdout.close()
        assert_whole(data_dir)
    gallery = Gallery(data_dir)
    assert_matching(gallery, data_dir)
    assert told - {""} <= {record.id for record in listed(gallery)}
    assert len(told) > KILLS
    gallery.close()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond it: what a full disk does, for this process alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_no_partial_picture_and_is_got_over(
    gallery: Gallery, keep: Callable[..., ImageRecord], data_dir: Path
) -> None:
    before = keep(seed=0)
    with file_size_limit(20_000), pytest.raises(StorageFailed, match="disk is full"):
        keep(seed=1, side=128)  # noise does not compress: 49 kB
    assert files(data_dir) == {before.file}
    assert leftovers(data_dir) == []
    assert keep(seed=1, side=128).file in files(data_dir)


def test_a_full_disk_at_the_database_leaves_no_picture_either(
    gallery: Gallery, keep: Callable[..., ImageRecord], data_dir: Path
) -> None:
    before = keep(seed=0)
    with file_size_limit(4_000), pytest.raises(StorageFailed):
        keep(seed=1)  # the picture has room, the WAL has not
    assert files(data_dir) == {before.file}
    with file_size_limit(4_000), pytest.raises(StorageFailed):
        gallery.star("local", before.id, True)
    assert not gallery.record("local", before.id).starred
    keep(seed=1)
    assert_matching(gallery, data_dir)


def test_no_room_for_a_thumbnail_shows_the_picture_itself(
    gallery: Gallery, keep: Callable[..., ImageRecord]
) -> None:
    record = keep(side=128)
    with file_size_limit(100):
        shown = gallery.thumb("local", record.id)
    assert shown == gallery.file("local", record.id)
    assert gallery.thumb("local", record.id).suffix == ".webp"


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A folder of a person for whom permissions count, and this process being that person."""
    nobody = 65534
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        root = os.geteuid() == 0
        if root:
            os.chown(folder, nobody, nobody)
            os.seteuid(nobody)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


def test_a_read_only_folder_is_said_and_left_as_it_was(
    gallery: Gallery, keep: Callable[..., ImageRecord]
) -> None:
    keep()  # loads what a save needs while this process may still read its libraries
    with unprivileged() as folder:
        opened = Gallery(folder / "data")
        before = painted(opened)
        month = (folder / "data" / before.file).parent
        month.chmod(0o500)
        with pytest.raises(StorageFailed, match="cannot be written"):
            painted(opened)
        assert [record.id for record in listed(opened)] == [before.id]
        opened.trash("local", [before.id])
        with pytest.raises(StorageFailed, match="cannot be written"):
            opened.empty_trash("local")
        assert [record.id for record in listed(opened, trashed=True)] == [before.id]
        month.chmod(0o700)
        assert opened.empty_trash("local") == 1
        opened.close()
        (folder / "data").chmod(0o500)
        (folder / "data" / "gallery.db").chmod(0o400)
        with pytest.raises(StorageFailed):
            Gallery(folder / "data")
        with pytest.raises(StorageFailed):
            Gallery(folder / "data" / "new")
        (folder / "data").chmod(0o700)


def test_a_file_that_arrives_changed_is_taken_back(
    gallery: Gallery,
    keep: Callable[..., ImageRecord],
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = os.write
    for at in (50, 300, -60, -1):  # header, story, pixels, end

        def garble(handle: int, data: memoryview, at: int = at) -> int:
            changed = bytearray(data)
            changed[at] ^= 0x10
            return write(handle, changed)

        monkeypatch.setattr("os.write", garble)
        with pytest.raises(StorageFailed, match="did not arrive"):
            keep()
        monkeypatch.undo()
    assert files(data_dir) == set()
    assert listed(gallery) == []


def test_the_folder_of_another_disk_is_not_written_to(
    gallery: Gallery, keep: Callable[..., ImageRecord], data_dir: Path
) -> None:
    record = keep()
    pictures = data_dir / "pictures"
    pictures.rename(data_dir / "unplugged")
    pictures.mkdir()
    for attempt in (keep, gallery.require_space, lambda: gallery.empty_trash("local")):
        with pytest.raises(StorageFailed, match="not the one this studio wrote"):
            attempt()
    gallery.close()
    with pytest.raises(StorageFailed, match="not the one this studio wrote"):
        Gallery(data_dir)
    assert list(pictures.iterdir()) == []
    pictures.rmdir()
    (data_dir / "unplugged").rename(pictures)
    again = Gallery(data_dir)
    assert [found.id for found in listed(again)] == [record.id]
    assert png.read(again.file("local", record.id)).width == 16
    again.close()


def test_a_data_folder_without_its_marker_is_refused(
    gallery: Gallery, keep: Callable[..., ImageRecord], data_dir: Path
) -> None:
    keep()
    gallery.close()
    (data_dir / ".studio").unlink()
    with pytest.raises(StorageFailed, match="not the one this studio wrote"):
        Gallery(data_dir)
    (data_dir / "gallery.db").write_bytes(b"damaged" * 1000)
    with pytest.raises(StorageFailed, match="not the one this studio wrote"):
        Gallery(data_dir)
    (data_dir / ".studio").touch()
    again = Gallery(data_dir)
    assert len(listed(again)) == 1
    again.close()


def test_a_folder_with_other_things_in_it_becomes_the_studios(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "jobs.db").write_bytes(b"")
    Gallery(data_dir).close()
    assert (data_dir / ".studio").is_file()
    assert (data_dir / "pictures" / ".studio").is_file()
