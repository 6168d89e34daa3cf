"""Windows are cut where A1111's studio cuts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import InvalidRequest
from studio.prompts.chunks import LOOK_BACK, MAX_CHUNKS, Chunk, chunk, cut
from studio.prompts.grammar import BREAK, Break, Piece, Pieces

COMMA = 0
WINDOW = 75


def lengths(*tokens: int) -> list[int]:
    chunks = cut((Piece("x"),), [tokens], window=WINDOW, comma=COMMA)
    return [len(part.ids) for part in chunks]


def words(count: int) -> tuple[int, ...]:
    return (7,) * count


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ((), [0]),
        (words(75), [75]),
        (words(76), [75, 1]),
        (words(151), [75, 75, 1]),
        # the comma is near: what follows it moves on
        ((*words(60), COMMA, *words(20)), [61, 20]),
        ((*words(54), COMMA, *words(20)), [75]),
        ((*words(55), COMMA, *words(20)), [56, 20]),
        # exactly as far back as allowed, and one more
        ((*words(75 - LOOK_BACK), COMMA, *words(30)), [75 - LOOK_BACK + 1, 30]),
        ((*words(75 - LOOK_BACK - 1), COMMA, *words(30)), [75, 10]),
        # only the last comma counts
        ((*words(60), COMMA, *words(5), COMMA, *words(20)), [67, 20]),
        # a comma as the last token of a full window, and as the first beyond it
        ((*words(74), COMMA, *words(5)), [75, 5]),
        ((*words(75), COMMA, *words(5)), [75, 6]),
        ((*words(60), COMMA, *words(14), COMMA, 7), [75, 2]),
        # a comma that moved on does not pull its followers along a second time
        ((*words(60), COMMA, *words(90)), [61, 75, 15]),
    ],
)
def test_a_window_is_cut_behind_a_comma_that_is_near(
    tokens: tuple[int, ...], expected: list[int]
) -> None:
    assert lengths(*tokens) == expected


def test_break_ends_a_window_and_weights_stay_with_their_tokens() -> None:
    pieces = (Piece("a", 1.1), BREAK, Piece("b"), Piece("c", 0.5), BREAK, BREAK, Piece("d"))
    found = cut(pieces, [(1, 2), (3,), (4, 5), (6,)], window=WINDOW, comma=COMMA)
    assert found == (
        Chunk((1, 2), (1.1, 1.1)),
        Chunk((3, 4, 5), (1.0, 0.5, 0.5)),
        Chunk(),
        Chunk((6,), (1.0,)),
    )
    assert cut((BREAK,), [], window=WINDOW, comma=COMMA) == (Chunk(),)


@given(
    st.lists(st.lists(st.sampled_from([COMMA, 1, 2]), max_size=60) | st.none(), max_size=12),
    st.integers(1, 30),
    st.sampled_from([COMMA, None]),
)
def test_no_token_is_lost_or_moved_past_another(
    parts: list[list[int] | None], window: int, comma: int | None
) -> None:
    pieces: Pieces = tuple(BREAK if part is None else Piece("x", len(part)) for part in parts)
    tokens = [part for part in parts if part is not None]
    chunks = cut(pieces, tokens, window=window, comma=comma)
    assert [id_ for part in chunks for id_ in part.ids] == [id_ for part in tokens for id_ in part]
    weights = [float(len(part)) for part in tokens for _ in part]
    assert [weight for part in chunks for weight in part.weights] == weights
    assert all(len(part.ids) == len(part.weights) <= window for part in chunks)
    assert len(chunks) >= max(1, sum(isinstance(piece, Break) for piece in pieces))


def test_a_prompt_of_endless_chunks_is_refused() -> None:
    def letters(texts: list[str]) -> list[list[int]]:
        return [[1] * len(text) for text in texts]

    fits = "x" * (WINDOW * MAX_CHUNKS)
    assert len(chunk(fits, letters, window=WINDOW, comma=None)) == MAX_CHUNKS
    for text in (fits + "x", "BREAK " * MAX_CHUNKS + "x"):
        with pytest.raises(InvalidRequest, match="33 chunks"):
            chunk(text, letters, window=WINDOW, comma=None)
