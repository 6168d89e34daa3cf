"""Styles in words, and A1111's files of them."""

import pytest

from studio.core.errors import InvalidRequest, TooLarge
from studio.core.records import Preset
from studio.paths import PRESETS
from studio.prompts.presets import builtin, expanded, read_csv, write_csv

INK = Preset(name="Ink", prompt="ink drawing of {prompt}, black", negative_prompt="colour")
GRAIN = Preset(name="Grain", prompt="film grain", negative_prompt="")


@pytest.mark.parametrize(
    ("asked", "styles", "made"),
    [
        (("a fox", ""), [], ("a fox", "")),
        (("a fox", ""), [INK], ("ink drawing of a fox, black", "colour")),
        (("a fox ", "text"), [GRAIN], ("a fox, film grain", "text")),
        (
            ("a fox", "text"),
            [INK, GRAIN],
            ("ink drawing of a fox, black, film grain", "text, colour"),
        ),
        (("a fox", ""), [GRAIN, INK], ("ink drawing of a fox, film grain, black", "colour")),
        (("", ""), [GRAIN], ("film grain", "")),
        (("{prompt}", ""), [INK], ("ink drawing of {prompt}, black", "colour")),
    ],
)
def test_styles_are_written_around_the_prompt_or_behind_it(asked, styles, made) -> None:
    assert expanded(*asked, styles) == made


class TestFiles:
    def test_what_a1111_writes_is_read(self) -> None:
        file = (
            b"\xef\xbb\xbfname,prompt,negative_prompt\r\n"
            b'Ink,"ink drawing of {prompt}, black", colour\r\n'
            b"# a comment,x,y\r\n"
            b"---- divider ----,,\r\n"
            b'Two lines,"one\r\ntwo ""quoted""",\r\n'
            b"Ink,again,\r\n"
        )
        assert read_csv(file) == (
            Preset(name="Ink", prompt="again"),
            Preset(name="Two lines", prompt='one\ntwo "quoted"'),
        )

    def test_files_of_old_are_read(self) -> None:
        assert read_csv(b"name,text\nA,b\n") == (Preset(name="A", prompt="b"),)

    def test_what_was_written_is_read_again(self) -> None:
        kept = (
            INK,
            GRAIN,
            Preset(name='Com,ma "q"', prompt=' , lead\n#2,"x"', negative_prompt="a\n\nb"),
            Preset(name="Größe", prompt="ñ 絵", negative_prompt=""),
        )
        assert write_csv(kept).startswith(b"\xef\xbb\xbfname,prompt,negative_prompt\r\n")
        assert read_csv(write_csv(kept)) == kept

    @pytest.mark.parametrize(
        "data",
        [
            b"\xff\xfe",
            b"a,b\n1,2\n",
            b"name\nx\n",
            b"\x89PNG\r\n\x1a\n\x00",
            b"name,prompt\n" + b"x" * 200 + b",y\n",
        ],
    )
    def test_what_is_no_such_file_is_refused(self, data: bytes) -> None:
        with pytest.raises(InvalidRequest):
            read_csv(data)

    def test_one_that_is_too_large_is_refused(self) -> None:
        with pytest.raises(TooLarge):
            read_csv(b"name,prompt\n" + b"a" * 2**20)
        with pytest.raises(TooLarge):
            read_csv(b"name,prompt\n" + b"".join(b"%d,a\n" % n for n in range(501)))

    def test_an_empty_one_has_none(self) -> None:
        assert read_csv(b"") == () == read_csv(b"name,prompt,negative_prompt\n")


def test_the_studio_brings_two_dozen_that_differ() -> None:
    listed = builtin(PRESETS)
    assert len(listed) >= 24
    assert len({one.name.casefold() for one in listed}) == len(listed)
    assert all(one.prompt.count("{prompt}") == 1 and one.negative_prompt for one in listed)
    assert [one.name for one in read_csv(write_csv(listed))] == [one.name for one in listed]
