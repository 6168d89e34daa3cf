"""Names that are valid everywhere, files that are whole or not there."""

import errno
import os
import re
import stat
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import StorageFailed
from studio.gallery import files

ANY_TEXT = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="../\\:*?<>|\"' \0\n\r\t.~$%", max_size=80),
    st.text(alphabet="אבגדשלום\u202e\u2066مرحبا", max_size=80),
    st.text(alphabet="🦊👩\u200d🚀🏳\ufe0f🌈", max_size=80),
    st.text(alphabet="e\u0301\u0323\u0338a", max_size=200),
    st.text(alphabet="字𠀀한ก็ไ", max_size=200),
)


@given(prompt=ANY_TEXT, created=st.floats(min_value=0, max_value=4e9))
def test_every_prompt_gives_a_name_valid_everywhere(prompt: str, created: float) -> None:
    name = files.picture_name(created, prompt, "0123456789abcdef" * 2)
    assert len(name.encode()) <= 255
    assert len(os.fsencode(name)) <= 255
    assert not set(name) & set('/\\:*?"<>|\0')
    assert not any(unicodedata.category(character)[0] == "C" for character in name)
    assert re.fullmatch(r"\d{8}-\d{6}-.{1,60}-01234567\.png", name)
    assert name[0] not in ".- "
    assert name == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("A red fox, in the snow", "a-red-fox-in-the-snow"),
        ("../../etc/passwd", "etc-passwd"),
        ("..\\..\\boot.ini", "boot-ini"),
        ("CON", "con"),
        ("(word:1.3)", "word-1-3"),
        ("東京タワー", "東京タワー"),
        ("שלום עולם", "שלום-עולם"),
        ("🦊🦊", "picture"),
        ("", "picture"),
        ("...", "picture"),
        ("x" * 10_000, "x" * 60),
        ("𠀀" * 100, "𠀀" * 45),
        ("e\u0301" * 3, "ééé"),
        ("\u0301a", "a"),
    ],
)
def test_slugs_tell_what_is_on_the_picture(prompt: str, slug: str) -> None:
    assert files.slug(prompt) == slug


def test_names_sort_by_time() -> None:
    moments = [0.0, 1.0, 951_782_400.0, 1.7e9, 1.7e9 + 3600, 1.7e9 + 86400 * 200]
    names = [files.picture_name(moment, "z" if moment else "a", "0" * 32) for moment in moments]
    assert names == sorted(names)
    assert files.month(951_782_400.0) == "2000-02"


def test_a_taken_name_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    files.write_whole(path, b"first")
    with pytest.raises(FileExistsError):
        files.write_whole(path, b"second")
    assert path.read_bytes() == b"first"
    files.write_whole(path, b"third", replace=True)
    assert path.read_bytes() == b"third"
    assert os.listdir(tmp_path) == ["x.png"]


def test_modes_are_as_asked(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a" / "b")
    files.write_whole(tmp_path / "a" / "b" / "x", b"", mode=0o600)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b" / "x").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "disk is full"), (errno.EROFS, "cannot be")],
)
def test_what_the_disk_says_is_said_without_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path))

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StorageFailed, match=said) as told:
        files.write_whole(tmp_path / "x", b"data")
    assert str(tmp_path) not in str(told.value)
    assert os.listdir(tmp_path) == []


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr("os.write", lambda handle, data: write(handle, data[:7]))
    files.write_whole(tmp_path / "x", bytes(range(100)))
    assert (tmp_path / "x").read_bytes() == bytes(range(100))


def test_sweeping_takes_only_what_is_unfinished(tmp_path: Path) -> None:
    (tmp_path / "2026-01").mkdir()
    for name in (".tmp-1", "2026-01/.tmp-2", "2026-01/x.png", "2026-01/.hidden"):
        (tmp_path / name).write_bytes(b"")
    assert files.sweep(tmp_path) == 2
    assert sorted(os.listdir(tmp_path / "2026-01")) == [".hidden", "x.png"]
