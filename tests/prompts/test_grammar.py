"""Weights in prompts mean here what they mean in A1111's studio."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import InvalidRequest
from studio.prompts.grammar import (
    BREAK,
    MAX_DEPTH,
    MAX_WEIGHT,
    Piece,
    escape,
    weighted,
    without_hypernetworks,
)

Expected = list[tuple[str, float] | str]

PROMPTS: list[tuple[str, Expected]] = [
    # nothing special
    ("", [("", 1.0)]),
    ("a red fox", [("a red fox", 1.0)]),
    ("Größe, 狐, 🦊", [("Größe, 狐, 🦊", 1.0)]),
    ("  kept   as is \n", [("  kept   as is \n", 1.0)]),
    # brackets
    ("a (fox)", [("a ", 1.0), ("fox", 1.1)]),
    ("a [fox]", [("a ", 1.0), ("fox", 1 / 1.1)]),
    ("((fox))", [("fox", 1.1 * 1.1)]),
    ("[[fox]]", [("fox", 1 / 1.1 / 1.1)]),
    ("([fox])", [("fox", 1.0)]),
    ("(a [b] c)", [("a ", 1.1), ("b", 1.0), (" c", 1.1)]),
    ("()", [("", 1.0)]),
    ("a()b", [("ab", 1.0)]),
    # numbers
    ("(fox:1.3)", [("fox", 1.3)]),
    ("(fox:1)", [("fox", 1.0)]),
    ("(fox:.5)", [("fox", 0.5)]),
    ("(fox:2.)", [("fox", 2.0)]),
    ("(fox:+1.5)", [("fox", 1.5)]),
    ("(fox:-1)", [("fox", -1.0)]),
    ("(fox:0)", [("fox", 0.0)]),
    ("(fox : 1.2 )", [("fox ", 1.2)]),
    ("(fox:\n1.2\t)", [("fox", 1.2)]),
    ("((fox:1.2))", [("fox", 1.2 * 1.1)]),
    ("((fox):1.2)", [("fox", 1.1 * 1.2)]),
    ("((a:1.2) b:2)", [("a", 2.4), (" b", 2.0)]),
    ("[fox:1.2]", [("fox:1.2", 1 / 1.1)]),
    ("([fox:1.2)]", [("fox", 1.2 / 1.1)]),
    # numbers that are none, and colons that are text
    ("(fox:1.2.3)", [("fox:1.2.3", 1.1)]),
    ("(fox:.)", [("fox:.", 1.1)]),
    ("(fox:1.2", [("fox:1.2", 1.1)]),
    ("(fox:high)", [("fox:high", 1.1)]),
    ("(fox:1,2)", [("fox:1,2", 1.1)]),
    ("(fox:--1)", [("fox:--1", 1.1)]),
    ("(fox:1e3)", [("fox:1e3", 1.1)]),
    ("(16:9:1.2)", [("16:9", 1.2)]),
    ("16:9", [("16:9", 1.0)]),
    ("fox:1.2)", [("fox:1.2)", 1.0)]),
    # what is not closed applies to the end, what was not opened is text
    ("a (fox", [("a ", 1.0), ("fox", 1.1)]),
    ("a ((fox", [("a ", 1.0), ("fox", 1.1 * 1.1)]),
    ("a [fox) b", [("a ", 1.0), ("fox) b", 1 / 1.1)]),
    ("fox)", [("fox)", 1.0)]),
    ("fox]", [("fox]", 1.0)]),
    (":) :] :(", [(":) :] :", 1.0)]),
    ("(a [b) c]", [("a ", 1.1), ("b", 1.0), (" c", 1 / 1.1)]),
    # escapes
    (r"fox \(animal\)", [("fox (animal)", 1.0)]),
    (r"\[x\]", [("[x]", 1.0)]),
    (r"(fox\):1.2)", [("fox)", 1.2)]),
    (r"(fox \(animal\):1.2)", [("fox (animal)", 1.2)]),
    (r"a\\b", [("a\\b", 1.0)]),
    (r"\\(fox)", [("\\", 1.0), ("fox", 1.1)]),
    (r"a\b", [("ab", 1.0)]),
    ("fox\\", [("fox", 1.0)]),
    # neighbours of one weight are one piece
    ("(a)(b)", [("ab", 1.1)]),
    ("(a:1.1)(b) c", [("ab", 1.1), (" c", 1.0)]),
    # BREAK
    ("a BREAK b", [("a", 1.0), "BREAK", ("b", 1.0)]),
    ("a\n BREAK \n(b)", [("a", 1.0), "BREAK", ("b", 1.1)]),
    ("a BREAK BREAK b", [("a", 1.0), "BREAK", "BREAK", ("b", 1.0)]),
    ("BREAK", ["BREAK"]),
    ("BREAK a", ["BREAK", ("a", 1.0)]),
    ("a,BREAK,b", [("a,", 1.0), "BREAK", (",b", 1.0)]),
    ("(a BREAK b:1.3)", [("a", 1.3), "BREAK", ("b", 1.3)]),
    ("BREAKFAST outBREAK break", [("BREAKFAST outBREAK break", 1.0)]),
    # not an extra network
    ("a <b> <3 <x:y>", [("a <b> <3 <x:y>", 1.0)]),
    ("<lora>", [("<lora>", 1.0)]),
]


@pytest.mark.parametrize(("prompt", "expected"), PROMPTS)
def test_a_prompt_has_the_weights_that_a1111_gives_it(prompt: str, expected: Expected) -> None:
    pieces = weighted(prompt)
    assert len(pieces) == len(expected), pieces
    for piece, wanted in zip(pieces, expected, strict=True):
        if isinstance(wanted, str):
            assert piece is BREAK
        else:
            assert isinstance(piece, Piece)
            assert (piece.text, piece.weight) == (wanted[0], pytest.approx(wanted[1], rel=1e-12))


@given(st.text())
def test_an_escaped_text_is_itself(text: str) -> None:
    assert weighted(escape(text)) == (Piece(text),)


@given(st.text(alphabet="ab()[]\\:BREAK <lora:>1.\n", max_size=200))
def test_an_escaped_text_of_syntax_is_itself(text: str) -> None:
    assert weighted(escape(text)) == (Piece(text),)


@given(st.text(alphabet="BREAK \\", max_size=40) | st.just("a BREAK b"))
def test_an_escaped_break_is_a_word(text: str) -> None:
    assert weighted(escape(text)) == (Piece(text),)


@given(st.text(alphabet="ab()[]\\:,-+.0123456789 BREAK\n²٣<>lora", max_size=300))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        pieces = weighted(text)
    except InvalidRequest as error:
        assert error.message.endswith(".")
        assert error.hint.endswith(".")
        assert error.field == "prompt"
        return
    assert pieces
    for piece in pieces:
        assert piece is BREAK or abs(piece.weight) <= MAX_WEIGHT


@given(st.text(alphabet="abc ", min_size=1), st.integers(0, MAX_DEPTH))
def test_nested_brackets_multiply(text: str, depth: int) -> None:
    found = weighted("(" * depth + text + ")" * depth)
    assert found == (Piece(text, pytest.approx(1.1**depth)),)
    found = weighted("[" * depth + text + "]" * depth)
    assert found == (Piece(text, pytest.approx(1.1**-depth)),)


@pytest.mark.parametrize("bracket", ["(", "[", "(["])
def test_too_many_open_brackets_are_refused(bracket: str) -> None:
    assert weighted((bracket * MAX_DEPTH)[:MAX_DEPTH] + "x")
    with pytest.raises(InvalidRequest, match="32 brackets"):
        weighted((bracket * MAX_DEPTH)[:MAX_DEPTH] + bracket[0])


def test_many_brackets_side_by_side_are_no_depth() -> None:
    assert weighted("(a)[b]" * 1000)


HOSTILE = [
    "(" * 50_000,
    "(" * 50_000 + "x" + ")" * 50_000,
    "[" * 50_000,
    ")" * 50_000,
    "(a)" * 17_000,
    "(" * 32 + "a:" * 25_000,
    "(" + ": " * 25_000,
    "(" + ":" + " " * 50_000,
    "(" + ":" + "1" * 50_000,
    "(" + (":" + "1" * 100) * 500,
    " " * 50_000,
    (" " * 5_000 + "BREAK") * 10,
    " BREAK" * 8_000,
    "\\" * 50_000,
    "<lora:" * 8_000,
    "<lora:" + "x" * 50_000,
    "<" * 50_000,
    "(x:" + "9" * 50_000 + ")",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_answered_at_once(text: str) -> None:
    started = time.process_time()
    try:
        weighted(text)
    except InvalidRequest as error:
        assert len(str(error)) < 300
    assert time.process_time() - started < 0.5
    # fifty thousand open brackets: refused, long before they were all read
    if text == HOSTILE[0]:
        assert time.process_time() - started < 0.1


@pytest.mark.parametrize("weight", ["101", "-101", "9" * 400])
def test_a_weight_without_measure_is_refused(weight: str) -> None:
    with pytest.raises(InvalidRequest, match="too strong"):
        weighted(f"(x:{weight})")
    assert weighted("(x:100)") == (Piece("x", 100.0),)


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("<lora:../../x:1>", "Unknown LoRA '../../x'."),
        ("a <LoRA: pixel art :0.8:1>, b", "Unknown LoRA 'pixel art'."),
        ("<lora:x>", "Unknown LoRA 'x'."),
        ("(<lyco:y:1>:1.2)", "Unknown LoRA 'y'."),
        ("<hypernet:z:1>", "Unknown hypernetwork 'z'."),
        ("<lora:" + "n" * 300 + ":1>", f"Unknown LoRA '{'n' * 60}'."),
        ("<lora:a\u202eb\0:1>", "Unknown LoRA 'ab'."),
    ],
)
def test_an_extra_network_is_refused_by_name(tag: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        weighted(tag)
    assert caught.value.message == words


def test_a_network_in_a_prompt_opens_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def touched(*args: object, **options: object) -> None:
        raise AssertionError(f"the disk was asked for {args}")

    for name in ("stat", "lstat", "open", "scandir", "listdir"):
        monkeypatch.setattr(os, name, touched)
    monkeypatch.setattr("builtins.open", touched)
    with pytest.raises(InvalidRequest, match="Unknown LoRA"):
        weighted("<lora:../../x:1>")


def test_hypernetworks_are_taken_out_by_name() -> None:
    text = "a<hypernet:a:1> x <HYPERNET: b c :0.5>, <hypernet:a:0.1> <x:y> <hypernet:open"
    assert without_hypernetworks(text) == ("a x ,  <x:y> <hypernet:open", ("a", "b c"))
    assert without_hypernetworks("a <b> c") == ("a <b> c", ())
