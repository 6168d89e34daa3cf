"""Uploads: stored once, counted for each, seen by their owner alone."""

import hashlib
import io
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from studio.core.errors import InUse, NotFound, StorageFailed, StudioError, Unsupported
from studio.gallery.inputs import KEPT_S, Inputs, Uses
from tests.gallery.faults import Faults, injected, watched_databases


def upload(colour: str = "red", form: str = "PNG", side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, form)
    return file.getvalue()


@pytest.fixture
def inputs(tmp_path: Path) -> Iterator[Inputs]:
    opened = Inputs(tmp_path)
    yield opened
    opened.close()


def stored(data_dir: Path) -> set[str]:
    return {path.name for path in (data_dir / "inputs").glob("*/*")}


def test_an_upload_lies_under_the_digest_of_its_bytes(inputs: Inputs, tmp_path: Path) -> None:
    data = upload()
    ref = inputs.add("local", data, "image/png")
    assert ref == hashlib.sha256(data).hexdigest()
    path = inputs.file("local", ref)
    assert path == tmp_path / "inputs" / ref[:2] / ref
    assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "inputs").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "inputs.db").stat().st_mode) == 0o600
    assert inputs.info("local", ref).media_type == "image/png"


def test_the_same_bytes_are_stored_once_and_counted_for_each(
    inputs: Inputs, tmp_path: Path
) -> None:
    data = upload()
    refs = {inputs.add(owner, data) for owner in ("user:a", "user:b", "user:a")}
    assert len(refs) == len(stored(tmp_path)) == 1
    assert inputs.used_bytes("user:a") == inputs.used_bytes("user:b") == len(data)


def test_uploads_of_others_do_not_exist(inputs: Inputs) -> None:
    ref = inputs.add("user:a", upload())
    for attempt in (inputs.file, inputs.info, inputs.remove):
        with pytest.raises(NotFound):
            attempt("user:b", ref)
    assert inputs.file("user:a", ref).is_file()


@pytest.mark.parametrize(
    "ref", ["", "../x", "/etc/passwd", "a\0b", "x" * 300, "\ud800", "0" * 64, "0" * 32, "CON"]
)
def test_no_name_but_a_ref_finds_anything(inputs: Inputs, ref: str) -> None:
    inputs.add("local", upload())
    for attempt in (inputs.file, inputs.info, inputs.remove):
        with pytest.raises(NotFound):
            attempt("local", ref)


def test_the_last_owner_takes_the_file_along(inputs: Inputs, tmp_path: Path) -> None:
    ref = inputs.add("user:a", upload())
    inputs.add("user:b", upload())
    inputs.remove("user:a", ref)
    assert stored(tmp_path) == {ref}
    inputs.remove("user:b", ref)
    assert stored(tmp_path) == set()
    assert inputs.add("user:a", upload()) == ref


def test_full_space_is_said_and_room_made_by_removing(tmp_path: Path) -> None:
    first, second = upload("red"), upload("blue")
    inputs = Inputs(tmp_path, quota_bytes=len(first) + len(second) // 2)
    ref = inputs.add("user:a", first)
    with pytest.raises(StorageFailed, match=r"Your space is full \(0\.0 GB of 0\.0 GB\)\."):
        inputs.add("user:a", second)
    assert stored(tmp_path) == {ref}
    assert inputs.add("user:a", first) == ref  # what is there already needs no room
    inputs.add("user:b", second)
    inputs.remove("user:a", ref)
    inputs.add("user:a", second)
    inputs.close()


class Shelf:
    """A store for three uploads, a clock and what needs them."""

    def __init__(self, data_dir: Path) -> None:
        self.now = 1000.0
        self.uses = Uses()
        self.asked: list[str] = []
        room = 3 * max(len(upload(colour)) for colour in ("red", "blue", "teal", "tan", "pink"))
        self.inputs = Inputs(data_dir, quota_bytes=room, uses=self._uses, clock=lambda: self.now)

    def _uses(self, owner: str) -> Uses:
        self.asked.append(owner)
        return self.uses

    def add(self, colour: str, owner: str = "user:a") -> str:
        self.now += 1
        return self.inputs.add(owner, upload(colour))

    def has(self, ref: str, owner: str = "user:a") -> bool:
        try:
            return self.inputs.file(owner, ref).is_file()
        except NotFound:
            return False


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    opened = Shelf(tmp_path)
    yield opened
    opened.inputs.close()


def test_the_oldest_upload_that_nothing_needs_makes_room(shelf: Shelf, tmp_path: Path) -> None:
    red, blue, teal = shelf.add("red"), shelf.add("blue"), shelf.add("teal")
    others = shelf.add("red", "user:b")
    assert shelf.asked == []
    shelf.now += KEPT_S
    tan = shelf.add("tan")
    assert not shelf.has(red)
    assert all(map(shelf.has, (blue, teal, tan))) and shelf.has(others, "user:b")
    pink = shelf.add("pink")
    assert stored(tmp_path) == {red, teal, tan, pink}  # red is still the other's
    assert set(shelf.asked) == {"user:a"}


@pytest.mark.parametrize("needed", ["pictures", "jobs", "drafts"])
def test_what_is_needed_stays_however_old(shelf: Shelf, needed: str) -> None:
    red, blue, teal = shelf.add("red"), shelf.add("blue"), shelf.add("teal")
    shelf.uses = Uses(**{needed: frozenset({red})})
    shelf.now += 1000 * KEPT_S
    shelf.add("tan")
    assert shelf.has(red) and not shelf.has(blue) and shelf.has(teal)


def test_a_day_is_kept_and_nothing_goes_in_vain(shelf: Shelf) -> None:
    red, blue, teal = shelf.add("red"), shelf.add("blue"), shelf.add("teal")
    with pytest.raises(StorageFailed, match=r"Your space is full .* makes room after a day\."):
        shelf.add("tan")
    shelf.now = 1000 + KEPT_S
    with pytest.raises(StorageFailed):  # red is a day old now, and not a second more
        shelf.add("tan")
    shelf.now += KEPT_S
    with pytest.raises(StorageFailed):  # all of them together were not enough
        shelf.inputs.add("user:a", upload("tan", side=4000))
    assert all(map(shelf.has, (red, blue, teal)))


def test_an_upload_that_came_again_is_as_good_as_new(shelf: Shelf) -> None:
    red, blue = shelf.add("red"), shelf.add("blue")
    shelf.add("teal")
    shelf.now += KEPT_S
    assert shelf.add("red") == red
    shelf.add("tan")
    assert shelf.has(red) and not shelf.has(blue)


def test_an_upload_in_use_is_not_removed_but_one_in_a_form_is(shelf: Shelf) -> None:
    red = shelf.add("red")
    for uses, words in (
        (Uses(pictures=frozenset({red})), "A picture in the gallery or the trash"),
        (Uses(jobs=frozenset({red})), "A job in the queue"),
    ):
        shelf.uses = uses
        with pytest.raises(InUse, match=words):
            shelf.inputs.remove("user:a", red)
        assert shelf.has(red)
    shelf.uses = Uses(drafts=frozenset({red}))
    shelf.inputs.remove("user:a", red)
    assert not shelf.has(red)


def test_whatever_fails_while_room_is_made_nothing_is_lost_twice(tmp_path: Path) -> None:
    for at in range(1, 40):
        with watched_databases():
            shelf = Shelf(tmp_path / str(at))
        old = [shelf.add(colour) for colour in ("red", "blue", "teal")]
        shelf.now += KEPT_S
        faults = Faults(at=at)
        new = None
        with injected(faults):
            try:
                new = shelf.add("tan")
            except StudioError as error:
                assert isinstance(error, StorageFailed)
        expected = {*old[1:], new} if new else set(old)
        found = {ref for ref in (*old, new) if ref and shelf.has(ref)}
        assert found == expected, faults.names
        shelf.inputs.close()
        if not faults.fired:
            return
    pytest.fail("making room touches the disk endlessly")


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (upload(), "text/html"), (upload(), "image/svg+xml"), (b"<svg/>", "image/svg+xml"),
        (b"<html>", "image/png"), (upload() + b"<script>", "image/png"), (upload(form="GIF"), None),
        (upload()[:-5], "image/png"), (b"", None), (upload(), "multipart/form-data"),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_nothing(
    inputs: Inputs, tmp_path: Path, data: bytes, content_type: str | None
) -> None:
    with pytest.raises(Unsupported):
        inputs.add("local", data, content_type)
    assert stored(tmp_path) == set()
    assert inputs.used_bytes("local") == 0


@pytest.mark.parametrize("content_type", [None, "", "image/jpeg", "Image/PNG; charset=x"])
def test_content_counts_more_than_the_type_that_was_said(
    inputs: Inputs, content_type: str | None
) -> None:
    assert inputs.info("local", inputs.add("local", upload(), content_type)).format == "PNG"


def test_a_file_that_changed_on_the_disk_is_stored_anew(inputs: Inputs) -> None:
    ref = inputs.add("user:a", upload())
    inputs.file("user:a", ref).write_bytes(b"garbage")
    inputs.add("user:b", upload())
    assert inputs.file("user:a", ref).read_bytes() == upload()
    inputs.file("user:a", ref).unlink()
    with pytest.raises(NotFound):
        inputs.file("user:a", ref)
    assert inputs.add("user:a", upload()) == ref
    assert inputs.file("user:a", ref).is_file()


def test_what_an_animation_loses_can_be_asked(inputs: Inputs) -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    ref = inputs.add("local", file.getvalue())
    assert "first of its 2 frames" in inputs.info("local", ref).notes[0]


def test_uploads_survive_a_restart_and_a_lost_database(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path)
    ref = inputs.add("local", upload(), "image/png")
    inputs.close()
    inputs = Inputs(tmp_path)
    assert inputs.file("local", ref).read_bytes() == upload()
    inputs.close()
    (tmp_path / "inputs" / ref[:2] / ("0" * 64)).write_bytes(b"changed")
    (tmp_path / "inputs.db").write_bytes(b"damaged" * 1000)
    inputs = Inputs(tmp_path)
    assert inputs.file("local", ref).read_bytes() == upload()
    assert inputs.used_bytes("local") == len(upload())
    assert len(list(tmp_path.glob("inputs.db.damaged-*"))) == 1
    inputs.close()


@pytest.mark.parametrize("lasting", [False, True])
def test_whichever_touch_of_an_upload_fails_it_is_there_or_not(
    tmp_path: Path, lasting: bool
) -> None:
    for at in range(1, 40):
        data_dir = tmp_path / str(at)
        with watched_databases():
            inputs = Inputs(data_dir)
        inputs.add("local", upload("blue"))
        faults = Faults(at=at, lasting=lasting)
        ref = None
        with injected(faults):
            try:
                ref = inputs.add("local", upload())
            except StudioError as error:
                assert isinstance(error, StorageFailed)
        digest = hashlib.sha256(upload()).hexdigest()
        if ref is None:
            with pytest.raises(NotFound):
                inputs.file("local", digest)
            assert lasting or len(stored(data_dir)) == 1
        assert inputs.add("local", upload()) == digest
        assert inputs.file("local", digest).read_bytes() == upload()
        inputs.close()
        Inputs(data_dir).close()
        assert not list(data_dir.rglob(".tmp-*"))
        if not faults.fired:
            assert at > 8
            return
    pytest.fail("an upload touches the disk endlessly")
