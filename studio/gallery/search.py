"""Text as the word index holds it, and queries that cannot be anything but words."""

import re
import unicodedata

MAX_TERMS = 32
MAX_TERM_CHARS = 64

_UNSPACED = re.compile(
    "([\u2e80-\u2fdf\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])"
)
"""Scripts that put no spaces between words: each character is indexed as a word."""


def plain(text: str) -> str:
    """The text without what SQLite cannot store: NUL and lone surrogates."""
    return text.replace("\0", " ").encode("utf-8", "ignore").decode()


def searchable(text: str) -> str:
    """The words of a text, spaced so that the index can tell them apart.

    SQLite's tokenizer takes emoji for spaces; each becomes a word made of its number.
    """
    spaced = _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", plain(text)))
    return "".join(_named(character) for character in spaced)


def match(text: str) -> str | None:
    """An FTS5 query for pictures with all words of `text`, the last letters of each left open.

    None if there is no word in it. Every word is quoted, so operators and brackets are only text.
    """
    terms = [searchable(term[:MAX_TERM_CHARS]).strip() for term in plain(text).split()[:MAX_TERMS]]
    quoted = ['"' + term.replace('"', '""') + '"*' for term in terms if _has_word(term)]
    return " ".join(quoted) or None


def _named(character: str) -> str:
    if character > "\uffff" or unicodedata.category(character) == "So":
        return f" u{ord(character):x} "
    return character


def _has_word(term: str) -> bool:
    return any(character.isalnum() for character in term)
