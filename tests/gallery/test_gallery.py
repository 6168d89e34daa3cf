"""Saving, finding, starring, throwing away and getting back."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from studio.core import png
from studio.core.errors import InvalidRequest, NotFound, StorageFailed, StudioError, TooLarge
from studio.core.records import ImageRecord
from studio.gallery.store import Gallery, Query
from tests.gallery.painted import JOB, files, listed, painted, picture

Keep = Callable[..., ImageRecord]
SHARED = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_saved_picture_has_its_pixels_and_its_story_in_the_file(
    gallery: Gallery, keep: Keep
) -> None:
    record = keep("a fox, 東京", seed=5, index=2, parents=("a" * 64,))
    with Image.open(gallery.file("local", record.id)) as image:
        assert image.tobytes() == picture(5).pixels
        assert image.info["parameters"] == record.infotext
        story = json.loads(image.info["pochade"])
    assert story["request"] == record.request
    assert (story["version"], story["task"], story["seed"], story["index"]) == (1, "txt2img", 5, 2)
    assert (story["job"], story["id"], story["created"]) == (JOB, record.id, record.created)
    assert story["facts"] == record.facts == {**picture().facts, "shape": [1, 4]}
    assert story["parents"] == ["a" * 64]
    assert gallery.record("local", record.id) == record


def test_a1111s_text_is_latin_1_where_that_can_say_it(gallery: Gallery, keep: Keep) -> None:
    plain, other = (gallery.file("local", keep(text).id).read_bytes() for text in ("Äpfel", "東京"))
    assert b"tEXtparameters\0" + "Äpfel".encode("latin-1") in plain
    assert b"iTXtparameters\0\0\0\0\0" + "東京".encode() in other


def test_the_file_never_tells_who_or_where(data_dir: Path, gallery: Gallery, keep: Keep) -> None:
    record = keep(owner="user:alice")
    data = gallery.file("user:alice", record.id).read_bytes()
    for secret in (b"alice", str(data_dir).encode(), data_dir.parent.name.encode()):
        assert secret not in data
    assert "alice" not in record.file
    assert not Path(record.file).is_absolute()


def test_files_lie_in_their_month_under_a_telling_name(gallery: Gallery, keep: Keep) -> None:
    record = keep("A Red Fox, (in the snow:1.3)")
    assert re.fullmatch(
        r"pictures/\d{4}-\d\d/\d{8}-\d{6}-a-red-fox-in-the-snow-1-3-[0-9a-f]{8}\.png", record.file
    )


def test_the_highest_seed_and_those_behind_it_are_kept(gallery: Gallery, keep: Keep) -> None:
    assert gallery.record("local", keep(seed=2**63 + 30).id).seed == 2**63 + 30


def test_pages_follow_each_other_newest_first(gallery: Gallery, keep: Keep) -> None:
    ids = [keep(seed=seed).id for seed in range(7)]
    assert [record.id for record in listed(gallery, limit=3)] == ids[::-1]
    page = gallery.records("local", Query(limit=3))
    keep(seed=99)  # a new picture does not shift the page after
    behind = gallery.records("local", Query(limit=3, cursor=page.next_cursor))
    assert [record.id for record in behind.records] == ids[3:0:-1]


def test_a_page_that_is_exactly_full_is_the_last(gallery: Gallery, keep: Keep) -> None:
    for seed in range(3):
        keep(seed=seed)
    assert gallery.records("local", Query(limit=3)).next_cursor is None


def test_order_is_that_of_saving_whatever_the_clock_says(
    gallery: Gallery, keep: Keep, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids: list[str] = []
    for moment in (1.8e9, 1.7e9, 0.0, 1.8e9 - 86400, 4e9):
        monkeypatch.setattr("studio.gallery.store.time.time", lambda moment=moment: moment)
        ids.append(keep().id)
    monkeypatch.undo()
    assert [record.id for record in listed(gallery)] == ids[::-1]
    gallery.close()
    (data_dir / "gallery.db").unlink()
    rebuilt = Gallery(data_dir)
    assert [record.id for record in listed(rebuilt)] == ids[::-1]
    ids.append(painted(rebuilt).id)
    assert [record.id for record in listed(rebuilt)] == ids[::-1]
    rebuilt.close()


def test_each_owner_sees_only_their_own(gallery: Gallery, keep: Keep) -> None:
    hers, his = keep(owner="user:a"), keep(owner="user:b")
    assert [record.id for record in listed(gallery, "user:a")] == [hers.id]
    assert [record.id for record in listed(gallery, "user:b", text="fox")] == [his.id]
    for attempt in (
        lambda: gallery.record("user:b", hers.id),
        lambda: gallery.file("user:b", hers.id),
        lambda: gallery.thumb("user:b", hers.id),
        lambda: gallery.star("user:b", hers.id, True),
        lambda: gallery.trash("user:b", [hers.id]),
        lambda: gallery.restore("user:b", [hers.id]),
    ):
        with pytest.raises(NotFound):
            attempt()
    gallery.empty_trash("user:b")
    assert gallery.file("user:a", hers.id).is_file()


@pytest.mark.parametrize(
    "image_id",
    ["", "../x", "/etc/passwd", "..\\x", "%2e%2e%2f", "a\0b", "C:\\x", "CON", "x" * 300, "\ud800",
     "0" * 32, "' OR 1=1 --"],
)  # fmt: skip
def test_no_name_but_an_id_finds_anything(gallery: Gallery, keep: Keep, image_id: str) -> None:
    keep()
    for find in (gallery.record, gallery.file, gallery.thumb):
        with pytest.raises(NotFound):
            find("local", image_id)


def test_filters_narrow_alone_and_together(gallery: Gallery, keep: Keep) -> None:
    fox = keep("a fox", checkpoint="one")
    cat = keep("a cat", checkpoint="two", negative_prompt="fox")
    old = keep("a dog", checkpoint="two", task="img2img")
    gallery.star("local", cat.id, True)

    def found(**query: object) -> set[str]:
        return {record.id for record in listed(gallery, **query)}

    assert found(checkpoint="two") == {cat.id, old.id}
    assert found(task="img2img") == {old.id}
    assert old.id not in found(without="img2img") and found(without="img2img") | {old.id} == found()
    assert found(starred=True) == {cat.id}
    assert found(starred=False) == {fox.id, old.id}
    assert found(text="fox") == {fox.id, cat.id}
    assert found(text="fox", checkpoint="two", starred=True) == {cat.id}
    assert found(text="fox", task="img2img") == set()
    assert found(since=cat.created) == {cat.id, old.id}
    assert found(until=cat.created) == {fox.id}
    assert found(since=fox.created, until=old.created, text="a") == {fox.id, cat.id}
    assert found(checkpoint="\ud800") == set()


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 201}, {"limit": -1}, {"cursor": "x"}, {"cursor": "1; DROP"},
     {"cursor": "9" * 30}, {"cursor": "-1"}, {"since": float("nan")}, {"until": float("inf")}],
)  # fmt: skip
def test_senseless_queries_are_refused(gallery: Gallery, query: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        gallery.records("local", Query(**query))


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a lighthouse at dusk", "light dus"),
        ("a lighthouse at dusk", "DUSK lighthouse"),
        ("café crème", "cafe"),
        ("cafe creme", "CAFÉ"),
        ("東京タワーの夜", "タワー"),
        ("東京タワーの夜", "京タ"),
        ("a fox 🦊 in snow", "🦊"),
        ("👩‍🚀 on the moon", "👩‍🚀"),
        ("don't look", "don't"),
        ("(masterpiece:1.3), [blur]", "(masterpiece:1.3)"),
        ("AND then OR not NOT", "AND OR NOT"),
        ('say "hi" twice', '"hi"'),
        ('a 5"x7" print', '5"x7"'),
        ("שלום עולם", "עול"),
        ("ﬁne print", "fine"),
    ],
)
def test_searching_finds(gallery: Gallery, keep: Keep, prompt: str, text: str) -> None:
    keep("something else")
    record = keep(prompt)
    assert [found.id for found in listed(gallery, text=text)] == [record.id]


@pytest.mark.parametrize("text", ["zebra", "ox", "*", '"', "!!!", "NEAR(fox snow)", "words:fox",
                                  "fox NOT snow", "\0", "東", "🐻"])  # fmt: skip
def test_searching_finds_nothing_else(gallery: Gallery, keep: Keep, text: str) -> None:
    keep("a fox in the snow")
    assert listed(gallery, text=text) == []


@SHARED
@given(text=st.text(max_size=200) | st.text(alphabet="\"*()^:{}+-' ANDORNEARfox", max_size=40))
def test_no_text_breaks_the_search(gallery: Gallery, text: str) -> None:
    gallery.records("local", Query(text=text))


@SHARED
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_prompt_is_found_by_itself(gallery: Gallery, text: str) -> None:
    from studio.gallery.search import match

    record = painted(gallery, f"{text} qqq")
    found = [other.id for other in listed(gallery, text="qqq")]
    assert record.id in found
    if text.isascii() and match(text) is not None:
        assert record.id in [other.id for other in listed(gallery, text=text)]


def test_search_survives_its_megabytes(gallery: Gallery, keep: Keep) -> None:
    keep()
    assert listed(gallery, text="fox " * 50_000) == listed(gallery)
    listed(gallery, text="(" * 100_000)
    listed(gallery, text="京" * 100_000)


def test_the_trash_can_be_undone(gallery: Gallery, keep: Keep) -> None:
    first, second = keep(), keep()
    gallery.trash("local", [first.id])
    assert [record.id for record in listed(gallery)] == [second.id]
    assert [record.id for record in listed(gallery, trashed=True)] == [first.id]
    assert gallery.record("local", first.id).trashed
    assert [record.id for record in gallery.job_images(JOB)] == [second.id]
    gallery.restore("local", [first.id])
    assert [record.id for record in listed(gallery)] == [second.id, first.id]


def test_one_unknown_picture_keeps_all_out_of_the_trash(gallery: Gallery, keep: Keep) -> None:
    record = keep()
    with pytest.raises(NotFound):
        gallery.trash("local", [record.id, "0" * 32])
    assert not gallery.record("local", record.id).trashed


def test_emptying_the_trash_deletes_files_rows_and_thumbnails(
    gallery: Gallery, keep: Keep, data_dir: Path
) -> None:
    gone, kept, foreign = keep("gone"), keep("kept"), keep("gone too", owner="user:b")
    thumb = gallery.thumb("local", gone.id)
    gallery.trash("local", [gone.id])
    gallery.trash("user:b", [foreign.id])
    assert gallery.empty_trash("local") == 1
    assert files(data_dir) == {kept.file, foreign.file}
    assert not thumb.exists()
    assert listed(gallery, text="gone") == []
    with pytest.raises(NotFound):
        gallery.record("local", gone.id)
    assert gallery.repair().added == 0
    assert gallery.empty_trash("local") == 0


def test_what_is_needed_stays_in_the_trash(gallery: Gallery, keep: Keep, data_dir: Path) -> None:
    gone, needed = keep("gone"), keep("needed")
    gallery.trash("local", [gone.id, needed.id])
    assert gallery.empty_trash("local", {needed.id}) == 1
    assert files(data_dir) == {needed.file}
    assert gallery.record("local", needed.id).trashed
    assert gallery.empty_trash("local") == 1


def test_a_jobs_pictures_come_in_its_order(gallery: Gallery, keep: Keep) -> None:
    for index in (2, 0, 1):
        keep(index=index)
    keep(job="f" * 32)
    assert [record.index for record in gallery.job_images(JOB)] == [0, 1, 2]
    assert gallery.job_images("nothing") == ()


def test_thumbnails_are_small_webps_made_once(gallery: Gallery, keep: Keep) -> None:
    record = keep(side=500)
    path = gallery.thumb("local", record.id)
    made = path.stat().st_mtime_ns
    with Image.open(path) as image:
        assert (image.format, image.size) == ("WEBP", (384, 384))
    assert gallery.thumb("local", record.id).stat().st_mtime_ns == made
    with Image.open(gallery.thumb("local", keep(side=20).id)) as image:
        assert image.size == (20, 20)


def test_an_empty_thumbnail_is_made_again(gallery: Gallery, keep: Keep) -> None:
    record = keep()
    gallery.thumb("local", record.id).write_bytes(b"")
    with Image.open(gallery.thumb("local", record.id)) as image:
        assert image.size == (16, 16)


def test_a_picture_that_cannot_be_read_is_a_grey_tile(
    gallery: Gallery, keep: Keep, data_dir: Path
) -> None:
    cut, gone = keep(seed=1), keep(seed=2)
    path = data_dir / cut.file
    path.write_bytes(path.read_bytes()[:-40])
    (data_dir / gone.file).unlink()
    for record in (cut, gone):
        with Image.open(gallery.thumb("local", record.id)) as image:
            colours = image.convert("RGB").getcolors()
            assert colours is not None
            assert len(colours) == 1
    assert len(listed(gallery)) == 2


def test_many_threads_may_ask_for_the_same_thumbnail(gallery: Gallery, keep: Keep) -> None:
    record = keep(side=300)
    seen: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: seen.append(gallery.thumb("local", record.id).read_bytes()))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 12
    assert len(set(seen)) == 1


def test_reading_while_saving(gallery: Gallery) -> None:
    wrong: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                for record in gallery.records("local", Query(text="fox")).records:
                    assert gallery.file("local", record.id).is_file()
        except BaseException as error:
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    savers = [
        threading.Thread(target=lambda: [painted(gallery) for _ in range(8)]) for _ in range(3)
    ]
    for saver in savers:
        saver.start()
    for saver in savers:
        saver.join()
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    records = listed(gallery)
    assert len(records) == len({record.file for record in records}) == 24


def test_the_same_digits_in_the_same_second_get_two_names(
    gallery: Gallery, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter(["a" * 32, "a" * 8 + "b" * 24, "c" * 32])
    monkeypatch.setattr("studio.gallery.store.new_id", lambda: next(ids))
    monkeypatch.setattr("studio.gallery.store.time.time", lambda: 1.8e9)
    first, second = keep(), keep()
    assert (first.id, second.id) == ("a" * 32, "c" * 32)
    assert gallery.file("local", first.id) != gallery.file("local", second.id)


def test_forms_come_back_as_they_were_left(gallery: Gallery, data_dir: Path) -> None:
    assert gallery.draft("local", "txt2img") == {}
    values = {"prompt": "a fox 🦊\n", "steps": 20, "size": [512, 512], "seed": None}
    gallery.save_draft("local", "txt2img", {"prompt": "old"})
    gallery.save_draft("local", "txt2img", values)
    assert gallery.draft("local", "txt2img") == values
    assert gallery.draft("user:b", "txt2img") == {}
    gallery.close()
    again = Gallery(data_dir)
    assert again.draft("local", "txt2img") == values
    again.close()


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"prompt": "x" * 70_000}, TooLarge),
        ({"steps": float("nan")}, InvalidRequest),
        ({"x": object()}, InvalidRequest),
    ],
)
def test_forms_that_cannot_be_kept_are_refused(
    gallery: Gallery, values: dict[str, object], error: type[StudioError]
) -> None:
    gallery.save_draft("local", "tab", {"prompt": "before"})
    with pytest.raises(error):
        gallery.save_draft("local", "tab", values)
    assert gallery.draft("local", "tab") == {"prompt": "before"}


def test_nobody_can_keep_endless_forms(gallery: Gallery) -> None:
    with pytest.raises(InvalidRequest):
        for number in range(100):
            gallery.save_draft("visitor:1", f"tab {number}", {})
    gallery.save_draft("local", "tab", {})


def test_a_nearly_full_disk_takes_no_job(gallery: Gallery, data_dir: Path) -> None:
    gallery.require_space()
    strict = Gallery(data_dir.parent / "other", min_free_bytes=10**18)
    with pytest.raises(StorageFailed, match="nearly full"):
        strict.require_space()
    strict.close()


def test_reading_the_text_of_a_file_needs_no_decoding(gallery: Gallery, keep: Keep) -> None:
    path = gallery.file("local", keep().id)
    assert png.tells(path, png.STORY)
    assert not png.tells(path, "workflow")
    assert set(png.read(path).texts) == {"parameters", "pochade"}
