"""Tags of LoRAs, as A1111 reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import InvalidRequest
from studio.prompts.tags import MAX_STRENGTH, Tag, renamed, tagged, untagged, written


@pytest.mark.parametrize(
    ("text", "rest", "tags"),
    [
        ("a fox", "a fox", []),
        ("a <lora:ink> fox", "a  fox", [Tag("ink", 1.0, 1.0)]),
        ("<lora:ink:0.8>", "", [Tag("ink", 0.8, 0.8)]),
        ("<lora:ink:0.5:0.8>", "", [Tag("ink", 0.8, 0.5)]),
        ("<lora:ink:0.8:te=0.5:unet=1>", "", [Tag("ink", 1.0, 0.5)]),
        ("<lora:ink:te=0.5>", "", [Tag("ink", 0.5, 0.5)]),
        ("<lora:ink:unet=0.5>", "", [Tag("ink", 0.5, 1.0)]),
        ("<lora:ink:-1>", "", [Tag("ink", -1.0, -1.0)]),
        ("<LoRA: pixel art : .5 >", "", [Tag("pixel art", 0.5, 0.5)]),
        ("<lyco:wave:1><lora:sub/ink:2>", "", [Tag("wave"), Tag("sub/ink", 2.0, 2.0)]),
        ("(a <lora:ink:1>:1.2)", "(a :1.2)", [Tag("ink")]),
        ("1 < 2, a <b:c> d <3 <lora> <lora:>", "1 < 2, a <b:c> d <3 <lora> <lora:>", []),
        ("<lora:open", "<lora:open", []),
        ("<lora:ink:>", "", None),
        ("<lora:ink:much>", "", None),
        ("<lora:ink:nan>", "", None),
        ("<lora:ink:11>", "", None),
        ("<lora:ink:1:1:8>", "", None),
        ("<lora:ink:1:dyn=8>", "", None),
    ],
)
def test_what_a_tag_says(text: str, rest: str, tags: list[Tag] | None) -> None:
    if tags is None:
        with pytest.raises(InvalidRequest, match="'ink'"):
            untagged(text)
        return
    assert untagged(text) == (rest, tuple(tags))


strengths = st.floats(-MAX_STRENGTH, MAX_STRENGTH).map(lambda value: round(value, 3) + 0.0)
stems = st.text("abc xyz-_.()/", min_size=1, max_size=12).filter(lambda name: name.strip() == name)


@given(st.text("ab <>,:", max_size=20), st.lists(st.builds(Tag, stems, strengths, strengths)))
def test_what_is_written_is_read_again(text: str, tags: list[Tag]) -> None:
    assert untagged(tagged(text, tags))[1] == tuple(tags)
    assert untagged(tagged("", tags))[0].strip() == ""


@given(st.text("<lora:yc>=1. te", max_size=60))
def test_nothing_but_tags_is_taken_out(text: str) -> None:
    try:
        rest, tags = untagged(text)
    except InvalidRequest:
        return
    assert (rest == text) == (not tags)


def test_a_plain_tag_is_one_that_everybody_reads() -> None:
    assert written(Tag("ink", 0.8, 0.8)) == "<lora:ink:0.8>"
    assert written(Tag("ink", 0.8, 0.5)) == "<lora:ink:0.5:0.8>"


def test_tags_are_renamed_and_left_out() -> None:
    text = "a <lora:ink:0.5>, <lora:wash:1> b"
    assert renamed(text, {"ink": "x/y", "wash": None}) == "a <lora:x/y:0.5>,  b"


@pytest.mark.parametrize("text", ["<lora:" * 9_000, "<lora:a" + ":1" * 30_000, "<lora:a:" * 9_000])
def test_hostile_text_takes_linear_time(text: str) -> None:
    assert untagged(text)[1] == ()
