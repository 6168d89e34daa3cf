"""A prompt cut into windows of the text encoder, as A1111's studio cuts it.

Shared by the token counter of the page and by the engine, so that both say the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from studio.core.errors import InvalidRequest
from studio.core.records import NOTHING
from studio.prompts.grammar import Break, Pieces, weighted

COMMA = ",</w>"
"""CLIP's vocabulary entry for a comma."""

LOOK_BACK = 20
"""Tokens: a full window is cut behind its last comma if that is at most so far back, and what
follows the comma moves to the next window (A1111's comma padding backtrack)."""

MAX_CHUNKS = 32
"""Attention over the prompt costs memory per chunk; far beyond any prompt that was written."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of one window with their weights, without start, end and padding."""

    ids: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()


Tokenize = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Texts to token ids, each by itself, without start and end tokens."""


def chunk(
    text: str,
    tokenize: Tokenize,
    *,
    window: int,
    comma: int | None,
    together: Mapping[int, int] = NOTHING,
) -> tuple[Chunk, ...]:
    """The windows of a prompt, at least one.

    `window` is how many tokens fit beside start and end (75 for CLIP), `comma` the id of a comma;
    None switches the look-back off. `together` has, by first token, how many tokens are not torn
    apart between windows. Raises `InvalidRequest` for what the grammar refuses and for
    more than `MAX_CHUNKS` windows.
    """
    pieces = weighted(text)
    texts = [piece.text for piece in pieces if not isinstance(piece, Break)]
    tokens = tokenize(texts) if texts else ()
    chunks = cut(pieces, tokens, window=window, comma=comma, together=together)
    if len(chunks) > MAX_CHUNKS:
        raise InvalidRequest(
            f"The prompt fills {len(chunks)} chunks of {window} tokens, the limit is {MAX_CHUNKS}.",
            "Shorten it or take out some BREAK.",
            field="prompt",
        )
    return chunks


def cut(
    pieces: Pieces,
    tokens: Iterable[Sequence[int]],
    *,
    window: int,
    comma: int | None,
    together: Mapping[int, int] = NOTHING,
) -> tuple[Chunk, ...]:
    """Deals tokens into windows; `tokens` holds those of each text piece, in order."""
    texts = iter(tokens)
    done: list[Chunk] = []
    now: list[tuple[int, float]] = []
    last_comma = -1

    for piece in pieces:
        if isinstance(piece, Break):
            done.append(_chunk(now))
            now, last_comma = [], -1
            continue
        for token in next(texts):
            if now and len(now) + together.get(token, 0) > window:
                done.append(_chunk(now))
                now, last_comma = [], -1
            if len(now) == window:
                kept = window
                if token != comma and last_comma >= 0 and window - last_comma <= LOOK_BACK:
                    kept = last_comma + 1
                done.append(_chunk(now[:kept]))
                now, last_comma = now[kept:], -1
            if token == comma:
                last_comma = len(now)
            now.append((token, piece.weight))
    if now or not done:
        done.append(_chunk(now))
    return tuple(done)


def _chunk(tokens: Sequence[tuple[int, float]]) -> Chunk:
    return Chunk(
        ids=tuple(token for token, _ in tokens), weights=tuple(weight for _, weight in tokens)
    )
