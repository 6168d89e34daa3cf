"""How many tokens a prompt takes, by the checkpoint's own vocabulary and without its encoder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from studio.core.errors import Unsupported
from studio.paths import CONFIGS
from studio.prompts.chunks import COMMA, chunk
from studio.prompts.embeddings import NO_WORDS, Embedded
from studio.prompts.tags import untagged

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
DEFAULT_LENGTH = 77
"""Tokens that CLIP reads at once, start and end among them."""

_SPECIAL = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}

_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
"""What CLIP takes for a word before it looks for pairs of bytes (openai/CLIP, simple_tokenizer)."""


@dataclass(frozen=True, slots=True)
class Count:
    """What a prompt takes up."""

    used: int
    """Tokens of the text itself, without start, end and padding."""
    window: int
    """Tokens that one chunk holds."""
    chunks: int


class Counter:
    """Tokenizer of one folder: `vocab.json` and `merges.txt`, or a `tokenizer.json`.

    A `tokenizer_config.json` of ours may name a `vocabulary` below assets/configs/ instead. Safe to
    share between threads. Raises `Unsupported` if the folder holds none or they are damaged.
    """

    def __init__(self, folder: Path) -> None:
        settings = _settings(folder)
        try:
            self._tokenizer = _tokenizer(folder, settings)
        except Exception as error:  # what `tokenizers` raises for damage
            raise Unsupported(
                "The checkpoint's vocabulary cannot be read.",
                "Fetch its tokenizer files again.",
            ) from error
        self.window = _length(settings) - 2
        self._comma = self._tokenizer.token_to_id(COMMA)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def count(self, text: str, words: Embedded = NO_WORDS) -> Count:
        """Counts after tags, weights and escapes are taken out, with the engine's own chunking.

        Raises `InvalidRequest` for a prompt that the engine would refuse.
        """
        text, _ = untagged(text)
        chunks = chunk(
            text,
            words.tokenizer(self.tokenize),
            window=self.window,
            comma=self._comma,
            together=words.together,
        )
        used = sum(len(part.ids) for part in chunks)
        return Count(used=used, window=self.window, chunks=len(chunks))


def count(folder: Path, text: str, words: Embedded = NO_WORDS) -> dict[str, int]:
    """`used`, `window` and `chunks` of a prompt with the tokenizer in `folder`; `words` are
    embeddings that there are.

    Keeps the last few tokenizers, each until its files change.
    """
    files = sorted(folder.glob("*.json")) + sorted(folder.glob("*.txt"))
    stamp = tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    return asdict(_counter(folder, stamp).count(text, words))


@lru_cache(maxsize=8)
def _counter(folder: Path, _stamp: tuple[tuple[str, int, int], ...]) -> Counter:
    return Counter(folder)


def _settings(folder: Path) -> Mapping[str, Any]:
    """Length and special tokens from the folder's JSON files; what cannot be read is left out."""
    found: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        try:
            data = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(data, dict):
            found |= data
    return found


def _length(settings: Mapping[str, Any]) -> int:
    length = settings.get("model_max_length")
    # transformers writes 1e30 where nobody set a length
    return length if isinstance(length, int) and 3 <= length <= 100_000 else DEFAULT_LENGTH


def _vocabulary(
    folder: Path, settings: Mapping[str, Any]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    serialized = folder / "tokenizer.json"
    if not serialized.is_file():
        from tokenizers.models import BPE

        shared = settings.get("vocabulary")
        home = CONFIGS / shared if isinstance(shared, str) and shared.isidentifier() else folder
        return BPE.read_file(str(home / "vocab.json"), str(home / "merges.txt"))
    model = json.loads(serialized.read_text(encoding="utf-8"))["model"]
    # written as "a b" until tokenizers 0.20, as ["a", "b"] since
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    return model["vocab"], [(left, right) for left, right in pairs]


def _tokenizer(folder: Path, settings: Mapping[str, Any]) -> "Tokenizer":
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    vocabulary, merges = _vocabulary(folder, settings)
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=merges,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            fuse_unk=False,
            unk_token=END,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    cast(Any, tokenizer).add_special_tokens(_special_tokens(settings))
    return tokenizer


def _special_tokens(settings: Mapping[str, Any]) -> "list[AddedToken]":
    """Start, end, unknown and padding: each is one token wherever it stands in a text.

    OpenCLIP pads with "!", so that every "!" in a prompt is a token by itself there.
    """
    from tokenizers import AddedToken

    added: Any = settings.get("added_tokens_decoder") or {}
    asked: list[Any] = [settings.get(name, default) for name, default in _SPECIAL.items()]
    rules: dict[str, Mapping[str, Any]] = {}
    for rule in (*asked, *added.values()):
        known = cast("dict[str, Any]", rule) if isinstance(rule, dict) else {"content": rule}
        content = known.get("content")
        if isinstance(content, str) and content:
            rules[content] = known
    flags = ("lstrip", "rstrip", "single_word", "normalized")
    return [
        AddedToken(content, special=True, **{flag: bool(rule.get(flag, False)) for flag in flags})
        for content, rule in rules.items()
    ]
