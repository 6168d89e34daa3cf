"""Uploads: stored once, counted for each, seen by their owner alone."""

import hashlib
import io
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from studio.core.errors import NotFound, StorageFailed, StudioError, Unsupported
from studio.gallery.inputs import Inputs
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
