"""The page counts tokens as the engine does, without the engine."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import InvalidRequest, Unsupported
from studio.paths import CONFIGS
from studio.prompts.tokens import Counter, count
from tests.prompts.vocabulary import save_vocabulary

STRINGS = [
    "",
    " ",
    "a red fox in the snow",
    "A RED Fox, In THE Snow!",
    "fox  \t\n fox",
    "it's the fox's, they're, I'll, we've, I'd, I'm",
    "1234 3.14 x2",
    "déjà vu, naïve Übung, ﬁne",
    "e\u0301 combining",
    "狐が雪の中に",
    "🦊🦊 👨‍👩‍👧",
    "a_b-c/d\\e",
    "!!! wow!",
    "<|startoftext|>fox<|endoftext|> <|endoftext|>",
    "<|STARTOFTEXT|> < | >",
    "'S 'T it'S",
    "\u00a0\u3000fox\u200b",
    "ﷺ İstanbul ǅ",
    "x" * 500,
    "masterpiece, best quality, " * 12,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vocabulary(tmp_path_factory.mktemp("vocabulary") / "tokenizer")


def reference(folder: Path, **options: str):
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, **options)


def ids(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False).input_ids


def test_a_small_vocabulary_gives_the_ids_of_transformers(folder: Path) -> None:
    theirs, ours = reference(folder), Counter(folder)
    for text in STRINGS:
        assert ours.tokenize([text]) == [ids(theirs, text)], text
    assert ours.window == theirs.model_max_length - 2 == 75


@settings(max_examples=200)
@given(text=st.text(max_size=60))
def test_any_text_gives_the_ids_of_transformers(folder: Path, text: str) -> None:
    theirs, ours = _pair(folder)
    assert ours.tokenize([text]) == [ids(theirs, text)]


@cache
def _pair(folder: Path) -> tuple[object, Counter]:
    return reference(folder), Counter(folder)


def test_a_padding_token_of_its_own_is_one_token_everywhere(tmp_path: Path) -> None:
    folder = save_vocabulary(tmp_path / "t", pad_token="!")
    theirs, ours = reference(folder), Counter(folder)
    for text in STRINGS:
        assert ours.tokenize([text]) == [ids(theirs, text)], text
    assert len(ours.tokenize(["!!!"])[0]) == 3


def test_a_tokenizer_that_transformers_saved_gives_the_same_ids(
    folder: Path, tmp_path: Path
) -> None:
    theirs = reference(folder)
    theirs.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "vocab.json").unlink(missing_ok=True)
    ours = Counter(tmp_path / "saved")
    for text in STRINGS:
        assert ours.tokenize([text]) == [ids(theirs, text)], text


@pytest.mark.parametrize("kind", ["sd15/tokenizer", "sdxl/tokenizer_2"])
def test_clips_own_vocabulary_gives_the_ids_of_transformers(kind: str, tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).symlink_to(CONFIGS / "clip" / name)
    (tmp_path / "tokenizer_config.json").symlink_to(CONFIGS / kind / "tokenizer_config.json")
    theirs, ours = reference(tmp_path), Counter(CONFIGS / kind)
    for text in STRINGS:
        assert ours.tokenize([text]) == [ids(theirs, text)], text
    assert ours.count("a photograph of an astronaut riding a horse").used == 8


@pytest.mark.parametrize(
    ("prompt", "used", "chunks"),
    [
        ("", 0, 1),
        ("the red fox", 3, 1),
        ("the (red:1.3) [fox]", 3, 1),
        (r"\(fox\)", 3, 1),
        ("fox BREAK fox", 2, 2),
        ("fox " * 75, 75, 1),
        ("fox " * 76, 76, 2),
        ("fox " * 60 + "," + "fox " * 30, 91, 2),
    ],
)
def test_weights_do_not_count(folder: Path, prompt: str, used: int, chunks: int) -> None:
    assert count(folder, prompt) == {"used": used, "window": 75, "chunks": chunks}


def test_a_prompt_that_cannot_run_is_not_counted(folder: Path) -> None:
    for prompt in ("<hypernet:x:1>", "<lora:x:much>", "(" * 40, "x " * 5000):
        with pytest.raises(InvalidRequest):
            count(folder, prompt)


def test_the_engine_and_the_page_count_the_same(folder: Path) -> None:
    from studio.prompts.chunks import COMMA, chunk

    theirs, ours = reference(folder), Counter(folder)
    prompt = "a (red fox:1.3), in the snow, " * 20 + "BREAK " + "sticker, fox " * 30

    def tokenize(texts: list[str]) -> list[list[int]]:
        return theirs(texts, add_special_tokens=False, verbose=False).input_ids

    expected = chunk(prompt, tokenize, window=75, comma=theirs.get_vocab()[COMMA])
    found = ours.count(prompt)
    assert (found.used, found.chunks) == (sum(len(part.ids) for part in expected), len(expected))


def test_a_changed_vocabulary_is_read_again(tmp_path: Path) -> None:
    folder = save_vocabulary(tmp_path / "t")
    assert count(folder, "fox")["used"] == 1
    (folder / "merges.txt").write_text("#version: 0.2\nf o\n")
    assert count(folder, "fox")["used"] == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.json", b"{"),
        ("vocab.json", b"\xff\xfe"),
        ("merges.txt", b"#version: 0.2\nthis is no merge\n"),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b'{"model": {"vocab": 1, "merges": [[1]]}}'),
    ],
)
def test_a_damaged_vocabulary_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    folder = save_vocabulary(tmp_path / "t")
    (folder / name).write_bytes(content)
    with pytest.raises(Unsupported):
        Counter(folder)


def test_a_folder_without_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        count(tmp_path, "fox")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"vocabulary": "../../clip"}))
    with pytest.raises(Unsupported):
        count(tmp_path, "fox")


def test_counting_loads_neither_torch_nor_transformers(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from studio.prompts import tokens, infotext, foreign\n"
        "assert 'tokenizers' not in sys.modules\n"
        f"tokens.count(Path({str(folder)!r}), 'fox')\n"
        "print([m for m in ('torch', 'transformers', 'diffusers', 'gradio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
