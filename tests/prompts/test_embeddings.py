"""Words that stand for vectors, among tokens."""

from collections.abc import Sequence

from studio.prompts.chunks import chunk
from studio.prompts.embeddings import NO_WORDS, Embedded

WORDS = Embedded({"blob": 2, "blob-xl": 3, "Easy.Negative": 4})


def letters(texts: Sequence[str]) -> list[list[int]]:
    return [[ord(letter) for letter in text if letter != " "] for text in texts]


def counted(text: str) -> list[int]:
    [ids] = WORDS.tokenizer(letters)([text])
    return ids


def test_a_word_becomes_its_vectors_and_nothing_else_does() -> None:
    blob, longer = [-1, -2], [-3, -4, -5]
    assert counted("a blob b") == [97, *blob, 98]
    assert counted("BLOB,blob") == [*blob, 44, *blob]
    assert counted("embedding:blob-xl") == longer
    assert counted("blobs ablob blob_") == letters(["blobsablobblob_"])[0]
    assert len(counted("easy.negative")) == 4
    assert counted("easyxnegative") == letters(["easyxnegative"])[0]
    assert NO_WORDS.tokenizer(letters) is letters
    assert WORDS.vectors[-4] == ("blob-xl", 1)


def test_vectors_of_a_word_are_not_torn_apart() -> None:
    text = "x" * 9 + " blob-xl"
    first, second = chunk(
        text, WORDS.tokenizer(letters), window=10, comma=None, together=WORDS.together
    )
    assert (len(first.ids), second.ids) == (9, (-3, -4, -5))


def test_found_names_are_told_once() -> None:
    assert WORDS.found("(blob:1.2), Blob and EASY.negative") == ("blob", "easy.negative")
