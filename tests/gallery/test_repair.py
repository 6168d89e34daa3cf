"""Rows and files find each other again: after losses, copies, renames, damage."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from studio.core import png
from studio.core.records import ImageRecord
from studio.gallery.store import Gallery, Repaired
from tests.gallery.painted import JOB, files, listed, painted, picture

Keep = Callable[..., ImageRecord]
MUTANTS = 200


def reopened(gallery: Gallery, data_dir: Path) -> Gallery:
    gallery.close()
    return Gallery(data_dir)


def test_a_sound_gallery_needs_no_repair(gallery: Gallery, keep: Keep) -> None:
    keep()
    assert gallery.repair() == Repaired()


def test_a_file_that_comes_back_is_shown_again_with_its_star(
    gallery: Gallery, keep: Keep, data_dir: Path, tmp_path: Path
) -> None:
    first, second = keep(), keep()
    gallery.star("local", first.id, True)
    shutil.move(data_dir / first.file, tmp_path / "away")
    assert gallery.repair() == Repaired(missing=1)
    assert gallery.repair() == Repaired()
    assert [record.id for record in listed(gallery)] == [second.id]
    assert listed(gallery, starred=True) == []
    shutil.move(tmp_path / "away", data_dir / first.file)
    assert gallery.repair() == Repaired(returned=1)
    assert [record.id for record in listed(gallery, starred=True)] == [first.id]
    assert [record.id for record in listed(gallery)] == [second.id, first.id]


def test_a_renamed_file_stays_the_same_picture(
    gallery: Gallery, keep: Keep, data_dir: Path
) -> None:
    record = keep()
    (data_dir / "pictures" / "best").mkdir()
    (data_dir / record.file).rename(data_dir / "pictures" / "best" / "my favourite.png")
    assert gallery.repair() == Repaired(returned=1)
    found = gallery.record("local", record.id)
    assert found.file == "pictures/best/my favourite.png"
    assert [found] == listed(gallery)


def test_a_copied_file_is_a_picture_of_its_own(
    gallery: Gallery, keep: Keep, data_dir: Path
) -> None:
    record = keep()
    shutil.copy(data_dir / record.file, (data_dir / record.file).with_name("copy.png"))
    assert gallery.repair() == Repaired(added=1)
    assert {found.file for found in listed(gallery)} == files(data_dir)
    assert len({found.id for found in listed(gallery)}) == 2


def test_what_crashes_leave_is_swept(gallery: Gallery, keep: Keep, data_dir: Path) -> None:
    month = (data_dir / keep().file).parent
    (month / ".tmp-1").write_bytes(b"half")
    (data_dir / "thumbs" / ".tmp-2").write_bytes(b"half")
    assert gallery.repair() == Repaired(swept=2)


def test_pictures_of_other_programs_are_left_alone(
    gallery: Gallery, keep: Keep, data_dir: Path
) -> None:
    month = (data_dir / keep().file).parent
    Image.new("RGB", (8, 8)).save(month / "mine.png")
    (month / "notes.txt").write_text("hello")
    (month / "folder.png").mkdir()
    assert gallery.repair() == Repaired()
    assert (month / "mine.png").is_file()


@pytest.mark.parametrize(
    "story",
    ["", "null", "[]", "{}", '{"version": 1}', "[" * 100_000, '{"version": 1, "seed": 1e999}',
     '{"version": 2}', "9" * 10_000],
)  # fmt: skip
def test_a_story_that_is_none_is_no_picture_of_ours(
    gallery: Gallery, keep: Keep, data_dir: Path, story: str
) -> None:
    month = (data_dir / keep().file).parent
    (month / "x.png").write_bytes(png.encode(picture(), {png.STORY: story}))
    assert gallery.repair() == Repaired()
    keep()


def test_a_lost_database_is_rebuilt_from_the_files(
    gallery: Gallery, keep: Keep, data_dir: Path
) -> None:
    kept = [keep("a fox 東京", seed=seed, index=seed, parents=("b" * 64,)) for seed in range(5)]
    gallery.close()
    for part in data_dir.glob("gallery.db*"):
        part.unlink()
    again = Gallery(data_dir)
    assert listed(again) == kept[::-1]
    assert listed(again, text="東") == kept[::-1]
    again.close()


def test_a_rebuilt_gallery_knows_whose_jobs_the_pictures_were_of(data_dir: Path) -> None:
    gallery = Gallery(data_dir)
    hers = painted(gallery, owner="user:a", job=JOB)
    unknown = painted(gallery, owner="user:b", job="f" * 32)
    gallery.close()
    (data_dir / "gallery.db").unlink()
    gallery = Gallery(data_dir, owner_of={JOB: "user:a"}.get)
    assert [record.id for record in listed(gallery, "user:a")] == [hers.id]
    assert [record.id for record in listed(gallery, "local")] == [unknown.id]
    gallery.close()


@pytest.mark.parametrize("damage", ["letter", "half", "zeros", "middle", "empty", "schema"])
def test_a_damaged_database_is_set_aside_and_rebuilt(
    gallery: Gallery, keep: Keep, data_dir: Path, damage: str
) -> None:
    kept = [keep(seed=seed) for seed in range(12)]
    gallery.close()
    path = data_dir / "gallery.db"
    data = bytearray(path.read_bytes())
    match damage:
        case "letter":
            data[:16] = b"Dear Madam, I am"
        case "half":
            del data[len(data) // 2 :]
        case "zeros":
            data[4096:] = bytes(len(data) - 4096)
        case "middle":
            data[5000:30000] = random.Random(1).randbytes(25000)
        case "empty":
            data.clear()
        case _:
            data[100:400] = b"\xff" * 300
    path.write_bytes(data)
    again = Gallery(data_dir)
    assert listed(again) == kept[::-1]
    assert bool(list(data_dir.glob("gallery.db.damaged-*"))) == (damage != "empty")
    painted(again)
    again.close()
    again = Gallery(data_dir)
    assert len(listed(again)) == 13
    again.close()


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_in_the_database_hide_no_picture(
    gallery: Gallery, keep: Keep, data_dir: Path, seed: int
) -> None:
    kept = [keep(f"fox number {number}", seed=number) for number in range(4)]
    gallery.close()
    chance = random.Random(seed)
    path = data_dir / "gallery.db"
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 5, 50])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    again = Gallery(data_dir)
    shown = {record.file for owner in ("local",) for record in listed(again, owner)}
    assert shown == {record.file for record in kept}
    listed(again, text="fox")
    painted(again, "a new fox")
    assert len(listed(again)) == 5
    again.close()


def test_a_damaged_wal_loses_nothing_that_has_a_file(
    gallery: Gallery, keep: Keep, data_dir: Path, tmp_path: Path
) -> None:
    kept = [keep(seed=seed) for seed in range(5)]
    copy = tmp_path / "copy"
    shutil.copytree(data_dir, copy)  # as it lies there while the studio runs
    wal = copy / "gallery.db-wal"
    assert wal.stat().st_size > 10_000
    wal.write_bytes(wal.read_bytes()[: wal.stat().st_size * 2 // 3])
    again = Gallery(copy)
    assert listed(again) == kept[::-1]
    again.close()


def test_a_damaged_word_index_is_built_anew(gallery: Gallery, keep: Keep, data_dir: Path) -> None:
    kept = [keep("a fox", seed=seed) for seed in range(3)]
    with gallery._db.write() as db:
        db.execute("DELETE FROM pictures_words_data WHERE id > 10")
    assert listed(gallery, text="fox") == kept[::-1]
    with gallery._db.write() as db:
        db.execute("UPDATE pictures_words_data SET block = X'00112233' WHERE id > 1")
    again = reopened(gallery, data_dir)
    assert listed(again, text="fox") == kept[::-1]
    again.close()


def test_reindexing_corrects_rows_and_keeps_what_only_they_know(
    gallery: Gallery, keep: Keep, data_dir: Path
) -> None:
    record = keep("a fox", owner="user:a")
    gallery.star("user:a", record.id, True)
    with gallery._db.write() as db:
        db.execute("UPDATE pictures SET words = 'nonsense', request = 'x', seed = 'y'")
    assert gallery.record("user:a", record.id).request == {}
    assert gallery.reindex() == 1
    assert [found.request for found in listed(gallery, "user:a", text="fox")] == [record.request]
    assert gallery.record("user:a", record.id).starred
    assert listed(gallery, "user:a", text="nonsense") == []


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One of the ways in which files go bad."""
    changed = bytearray(data)
    match chance.randrange(7):
        case 0:
            return bytes(changed[: chance.randrange(len(changed))])
        case 1:
            for _ in range(chance.choice([1, 3, 30])):
                changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        case 2:
            at = chance.randrange(len(changed))
            changed[at : at + 64] = bytes(64)
        case 3:
            at = chance.randrange(len(changed))
            changed[at:at] = chance.randbytes(chance.randrange(1, 500))
        case 4:
            at = chance.randrange(8, 33)
            changed[at : at + 4] = chance.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
        case 5:
            at = chance.randrange(len(changed))
            del changed[at : at + chance.randrange(1, 200)]
        case _:
            return chance.randbytes(chance.randrange(3000))
    return bytes(changed)


def test_200_broken_files_hide_none_of_the_others(
    gallery: Gallery, keep: Keep, data_dir: Path
) -> None:
    chance = random.Random(3)
    kept = [keep(f"fox {seed}", seed=seed) for seed in range(10)]
    model = (data_dir / kept[0].file).read_bytes()
    month = (data_dir / kept[0].file).parent
    for number in range(MUTANTS):
        broken = mutated(model, chance)
        if broken != model:
            (month / f"20200101-000000-mutant-{number:08x}.png").write_bytes(broken)
    again = reopened(gallery, data_dir)
    shown = listed(again)
    assert [record for record in shown if "mutant" not in record.file] == kept[::-1]
    for record in shown:
        assert again.thumb("local", record.id).is_file()
    assert len(shown) < 20  # a file whose checksums are wrong is not taken in
    again.close()


def test_pictures_that_break_later_are_grey_tiles_and_all_are_listed(
    gallery: Gallery, keep: Keep, data_dir: Path
) -> None:
    chance = random.Random(4)
    kept = [keep(f"fox {seed}", seed=seed) for seed in range(60)]
    for record in kept[::2]:
        path = data_dir / record.file
        path.write_bytes(mutated(path.read_bytes(), chance))
    again = reopened(gallery, data_dir)
    assert listed(again) == kept[::-1]
    for record in kept:
        with Image.open(again.thumb("local", record.id)) as image:
            image.load()
    again.close()
