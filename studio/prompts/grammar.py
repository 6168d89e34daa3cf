"""Weights in a prompt, read as A1111's studio reads them.

`(x)` weighs x by 1.1, `[x]` by 1 / 1.1, `(x:1.3)` by 1.3; nested weights multiply. A bracket that is
never closed applies to the end, a closing one that was never opened is text. A backslash takes the
meaning of the character behind it. `BREAK`, a word of its own, starts a new chunk.

Round and square brackets are matched apart from each other, so `(a[b)c]` weighs a and b by 1.1 and
b and c by 1 / 1.1: A1111 does, and prompts from there are to mean the same here.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from typing import Final

from studio.core.errors import InvalidRequest

MAX_DEPTH = 32
"""Brackets open at once."""

MAX_WEIGHT = 100.0
"""Largest weight, also below zero: beyond it, half precision overflows."""

UP: Final = 1.1
DOWN: Final = 1 / 1.1


class Break(Enum):
    """`BREAK`: what follows starts in a chunk of its own."""

    BREAK = "BREAK"


BREAK: Final = Break.BREAK


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text and its weight; 1.0 is neutral."""

    text: str
    weight: float = 1.0


Pieces = tuple[Piece | Break, ...]

# Possessive quantifiers keep every pattern linear, whatever it is given.
_PLAIN = re.compile(r"[^\\()\[\]:]++")
_WEIGHT = re.compile(r":\s*+([+-]?+[.\d]++)\s*+\)")
_BREAK = re.compile(r"\bBREAK\b")
_NETWORK = re.compile(r"<(lora|lyco|hypernet):([^>:]*+)[:>]", re.IGNORECASE)
_HYPERNETWORK = re.compile(r"<hypernet:([^<>:]*+)[^<>]*+>", re.IGNORECASE)
_NETWORK_NAMES = {"lora": "LoRA", "lyco": "LoRA", "hypernet": "hypernetwork"}
_ESCAPED = re.compile(r"[\\()\[\]]")
_LITERAL = re.compile(r"\bBREA(?=K\b)|<(?=(?:lora|lyco|hypernet):)", re.IGNORECASE)


def weighted(text: str) -> Pieces:
    """The pieces of a prompt, neighbours of the same weight joined; at least one.

    Linear in the length of `text`. Raises `InvalidRequest` for more than `MAX_DEPTH` open brackets,
    a weight beyond `MAX_WEIGHT`, or a `<lora:…>` tag, which `prompts.tags` takes out.
    """
    _refuse_networks(text)
    return _joined(_scan(text))


def plain(text: str) -> str:
    """The words alone, without weights, brackets and BREAK, for encoders that read sentences.

    Raises `InvalidRequest` as `weighted` does.
    """
    words = (" " if piece is BREAK else piece.text for piece in weighted(text))
    return " ".join("".join(words).split())


def weighs(text: str) -> bool:
    """Whether there is anything that `plain` would leave out. Raises `InvalidRequest` as it does."""
    return any(piece is BREAK or piece.weight != 1.0 for piece in weighted(text))


def escape(text: str) -> str:
    """`text` in a form that `weighted` reads back as itself, at weight 1.0."""
    return _LITERAL.sub(r"\g<0>\\", _ESCAPED.sub(r"\\\g<0>", text))


def without_hypernetworks(text: str) -> tuple[str, tuple[str, ...]]:
    """`text` without its `<hypernet:…>` tags, and what they name, each once."""
    names = dict.fromkeys(_brief(found[1]) for found in _HYPERNETWORK.finditer(text))
    return _HYPERNETWORK.sub("", text) if names else text, tuple(names)


def _refuse_networks(text: str) -> None:
    if found := _NETWORK.search(text):
        kind = _NETWORK_NAMES[found[1].lower()]
        raise InvalidRequest(
            f"Unknown {kind} '{_brief(found[2])}'.",
            "Take the tag out of the prompt.",
            field="prompt",
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """Stretches of text and their weights, side by side; no text is a BREAK."""

    texts: list[str | None] = field(default_factory=list[str | None])
    weights: list[float] = field(default_factory=list[float])

    def add(self, text: str | None) -> None:
        self.texts.append(text)
        self.weights.append(1.0)

    def multiply(self, start: int, factor: float) -> None:
        self.weights[start:] = [weight * factor for weight in self.weights[start:]]


def _scan(text: str) -> _Run:
    run = _Run()
    # where the brackets that are open begin, as indices into the run
    round_: list[int] = []
    square: list[int] = []
    at = 0
    while at < len(text):
        letter = text[at]
        if found := _PLAIN.match(text, at):
            _add_plain(run, found[0])
            at = found.end()
            continue
        if letter == "\\":
            following = text[at + 1 : at + 2]
            # before anything but a bracket or a backslash it vanishes and escapes nothing
            escapes = bool(following) and following in "\\()[]"
            run.add(following if escapes else "")
            at += 2 if escapes else 1
            continue
        if letter == ":" and round_ and (closing := _weight(text, at)):
            weight, at = closing
            run.multiply(round_.pop(), weight)
            continue
        if letter in "([":
            (round_ if letter == "(" else square).append(len(run.texts))
            _check_depth(len(round_) + len(square))
        elif letter == ")" and round_:
            run.multiply(round_.pop(), UP)
        elif letter == "]" and square:
            run.multiply(square.pop(), DOWN)
        else:
            run.add(letter)
        at += 1
    for start in round_:
        run.multiply(start, UP)
    for start in square:
        run.multiply(start, DOWN)
    return run


def _add_plain(run: _Run, text: str) -> None:
    """Plain text cut at each BREAK; the white space around it goes with it."""
    start = 0
    for found in _BREAK.finditer(text):
        before = text[start : found.start()].rstrip()
        run.add(before.lstrip() if start else before)
        run.add(None)
        start = found.end()
    rest = text[start:]
    run.add(rest.lstrip() if start else rest)


def _weight(text: str, at: int) -> tuple[float, int] | None:
    """The number of a `:1.3)` and where it ends; None where it is none ("1.2.3" is text)."""
    if found := _WEIGHT.match(text, at):
        with suppress(ValueError):
            return float(found[1]), found.end()
    return None


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidRequest(
            f"The prompt has more than {MAX_DEPTH} brackets open at once.",
            r"Close some, or write \( and \[ for mere brackets.",
            field="prompt",
        )


def _check_weight(weight: float) -> None:
    # not a number fails the comparison too
    if not abs(weight) <= MAX_WEIGHT:
        raise InvalidRequest(
            f"The weight {weight:g} in the prompt is too strong.",
            rf"Keep weights within ±{MAX_WEIGHT:g}, or write \( and \) for mere brackets.",
            field="prompt",
        )


def _joined(run: _Run) -> Pieces:
    pieces: list[Piece | Break] = []
    stretches = zip(run.texts, run.weights, strict=True)
    for (breaks, weight), group in groupby(stretches, key=lambda of: (of[0] is None, of[1])):
        if breaks:
            pieces += [BREAK for _ in group]
        elif text := "".join(text or "" for text, _ in group):
            _check_weight(weight)
            pieces.append(Piece(text, weight))
    return tuple(pieces) or (Piece(""),)


def _brief(name: str) -> str:
    return "".join(letter for letter in name.strip() if letter.isprintable())[:60]
