"""Words of a prompt that stand for vectors of their own: textual inversion, as A1111 reads it.

Such a word is the name of a file, upper and lower case alike, and nothing marks it; ComfyUI's
`embedding:name` means the same. It takes as many tokens as it has vectors.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from studio.core.records import NOTHING
from studio.prompts.chunks import Tokenize


@dataclass(frozen=True)
class Embedded:
    """The words that there are, and how they become tokens: below zero, so that no vocabulary has
    them."""

    sizes: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    """Vectors of each, by name."""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest = sorted(self.sizes, key=len, reverse=True)
        names = "|".join(map(re.escape, longest)) or r"(?!)"
        return re.compile(rf"(?<!\w)(?:embedding:)?({names})(?!\w)", re.IGNORECASE)

    @cached_property
    def _by_name(self) -> dict[str, tuple[int, ...]]:
        ids: dict[str, tuple[int, ...]] = {}
        last = 0
        for name, size in self.sizes.items():
            ids[name.casefold()] = tuple(range(last - 1, last - 1 - size, -1))
            last -= size
        return ids

    @cached_property
    def together(self) -> dict[int, int]:
        """How many tokens belong together, by the first of them."""
        return {ids[0]: len(ids) for ids in self._by_name.values()}

    @cached_property
    def vectors(self) -> dict[int, tuple[str, int]]:
        """Name and number of the vector that each token stands for."""
        return {
            token: (name, number)
            for name, ids in self._by_name.items()
            for number, token in enumerate(ids)
        }

    def found(self, text: str) -> tuple[str, ...]:
        """Names of those in a text, each once, in lower case."""
        return tuple(dict.fromkeys(hit[1].casefold() for hit in self._pattern.finditer(text)))

    def tokenizer(self, tokenize: Tokenize) -> Tokenize:
        """As `tokenize`, with a token for each vector where one of these words stands."""
        if not self.sizes:
            return tokenize

        def with_words(texts: Sequence[str]) -> list[list[int]]:
            parts = [self._pattern.split(text) for text in texts]
            plain = [part for row in parts for part in row[::2]]
            ids = iter(tokenize(plain))
            rows: list[list[int]] = []
            for row in parts:
                tokens: list[int] = []
                for at, part in enumerate(row):
                    tokens += self._by_name[part.casefold()] if at % 2 else next(ids)
                rows.append(tokens)
            return rows

        return with_words


NO_WORDS = Embedded()
