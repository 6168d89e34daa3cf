"""A small CLIP vocabulary: every byte, every byte that ends a word, and some merges."""

import json
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel

MERGES = ("f o", "fo x</w>", "r e", "re d</w>", "t h", "th e</w>", "i n</w>", "! !</w>")


def save_vocabulary(folder: Path, **settings: object) -> Path:
    """Writes `vocab.json`, `merges.txt` and `tokenizer_config.json` into a new `folder`."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += [merge.replace(" ", "") for merge in MERGES]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]))
    config = {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
