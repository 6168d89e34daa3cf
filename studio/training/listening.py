"""Teach the text encoder to hear the same picture in other words; the UNet stays as it is.

The UNet follows what captions say closely, in the few ways captions say it. So the encoder learns
from the UNet itself: for a prompt as people write it, the UNet is to answer as it does for the
caption that means the same, all along the way from noise to a picture.
"""

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from studio.training import compose, heldout, runs, text, unet, walks, wordings
from studio.training.concepts import FIRST

log = logging.getLogger(__name__)

BATCH = 16

SAME_SHARE = 0.35
"""Share of texts that are to be heard as before: captions, other words, and the empty prompt."""

STEADY = 0.05
"""How much a context of these may not change at all, against what the UNet makes of it."""

NEAR, CLEAR = 0.66, 0.08
"""How alike a word and a thing's name must be to MiniLM for the word to mean the thing, and how much
more than the word and the next thing's name (cosines)."""

WATCHED = 5
"""Steps of a walk that are learnt from; after these it is decided what the picture shows."""

EMA = 0.998
RATE = 2e-4

Nearby = Mapping[str, Sequence[str]]


@torch.no_grad()
def nearby(library: compose.Library, words: Sequence[str], tokenizer: Any, net: Any) -> Nearby:
    """Those of `words` that mean, to MiniLM, one of the things that are learnt first; by its name.

    None of those by which the model is judged, and no plurals.
    """
    taken = {w for many in library.words for w in many} | {*library.names}
    kept = set(heldout.UNTAUGHT_WORDS.values())
    words = [w for w in words if not (w in kept or w in taken or w.endswith("s"))]
    names = [name for name in library.names if name in FIRST]

    def meanings(some: Sequence[str]) -> Tensor:
        found = []
        for start in range(0, len(some), 256):
            coded = tokenizer(
                [f"a picture of a {w}" for w in some[start : start + 256]], padding=True, return_tensors="pt"
            )  # fmt: skip
            with torch.autocast("cpu", dtype=torch.bfloat16):
                states = net(**coded).last_hidden_state.float()
            found.append(text.meaning(states, coded["attention_mask"]))
        return torch.cat(found)

    alike, which = (meanings(words) @ meanings(names).T).topk(2, 1)
    sure = (alike[:, 0] >= NEAR) & (alike[:, 0] - alike[:, 1] >= CLEAR)
    found: dict[str, list[str]] = {}
    for k in sure.nonzero()[:, 0].tolist():
        found.setdefault(names[int(which[k, 0])], []).append(words[k])
    return MappingProxyType({name: tuple(many) for name, many in found.items()})


def pairs(folder: Path, library: compose.Library, seed: int) -> Iterator[list[wordings.Pair]]:
    """Endless batches; some of their pairs are one text twice."""
    tokenizer, net = text.teacher()
    words = text.english(tokenizer)
    rng, more = np.random.default_rng(seed), nearby(library, words, tokenizer, net)
    said = text.planned_captions(folder, 11_000 + seed, 4_000)
    names = [n for k, name in enumerate(library.names) for n in (name, *library.words[k])]
    texts = text.Texts(said, names, words, seed)

    def pair() -> wordings.Pair:
        drawn, dice = wordings.draw(rng, library, more), rng.random()
        if dice >= SAME_SHARE:
            return drawn
        same = texts.draw() if dice < SAME_SHARE / 2 else drawn.caption
        return wordings.Pair(caption=same, prompt=same)

    while True:
        yield [wordings.Pair(caption="", prompt=""), *(pair() for _ in range(BATCH - 1))]


def encoded(texts: Sequence[str], tokenizer: Any, encoder: Any) -> Tensor:
    """As `text.encode`, to learn from: [n, 77, WIDTH]."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return text.states(list(texts), tokenizer, encoder).float()


class Lesson(NamedTuple):
    """A step of a walk to pictures of captions."""

    noisy: Tensor
    time: int
    """The training step, one of `walks.TIMES`."""
    empty: Tensor
    """The velocity that the UNet finds there without words."""
    asked: Tensor
    """And for the captions."""
    contexts: Tensor
    """Of the captions, as the encoder says them that the UNet was taught with."""
    pairs: list[wordings.Pair]


def lessons(
    net: Any, taught: Any, tokenizer: Any, stream: Iterator[list[wordings.Pair]], alphas: Tensor
) -> Iterator[Lesson]:
    """The watched steps of a walk for each batch of pairs, whose first is the empty prompt."""
    for batch in stream:
        with torch.no_grad():
            contexts = encoded([p.caption for p in batch], tokenizer, taught)
        both = torch.cat([contexts[:1].expand_as(contexts), contexts])
        noisy = walks.noise(len(batch))
        for step, time in enumerate(walks.TIMES[:WATCHED]):
            with torch.no_grad():
                empty, asked = unet.found_by(net, torch.cat([noisy, noisy]), time, both).chunk(2)
            yield Lesson(noisy, time, empty, asked, contexts, batch)
            noisy = walks.onward(noisy, walks.guided(empty, asked), alphas, step)


def loss_of(net: Any, heard: Tensor, lesson: Lesson, same: Tensor) -> Tensor:
    """How far the UNet's answers are from those for the captions, as a share of how far these are from
    those without words; and how far contexts of the `same` texts moved."""
    missed = (unet.found_by(net, lesson.noisy, lesson.time, heard) - lesson.asked).square().mean()
    said = (lesson.asked - lesson.empty).square().mean()
    moved = (heard - lesson.contexts)[same].square().mean() / lesson.contexts.square().mean()
    return missed / said + STEADY * moved


def train(folder: Path, minutes: float) -> None:
    """Train for `minutes` in all, going on from the checkpoint where there is one."""
    from diffusers.models.attention_processor import AttnProcessor

    library = compose.load(folder)
    net = unet.trained(folder)[0].to(memory_format=torch.channels_last).requires_grad_(False)
    net.set_attn_processor(AttnProcessor())
    tokenizer, taught = text.distilled(folder)
    encoder = copy.deepcopy(taught.requires_grad_(False)).requires_grad_(True)
    average = copy.deepcopy(taught)
    optimizer = torch.optim.AdamW(
        encoder.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    step, spent, mean, kept = 0, 0.0, None, 0.0
    if saved := runs.restore(folder / text.LISTENING):
        encoder.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent, kept = saved["step"], saved["minutes"], saved["minutes"]
    torch.manual_seed(step)
    alphas = unet.signal()
    stream = lessons(net, taught, tokenizer, pairs(folder, library, step), alphas)

    def keep(now: float) -> None:
        runs.save(folder / text.LISTENING, {
            "net": encoder.state_dict(), "average": average.state_dict(),
            "optimizer": optimizer.state_dict(), "step": step, "minutes": now,
        })  # fmt: skip

    for tick in runs.ticks(minutes, step, spent):
        runs.set_rate(optimizer, runs.rate(tick, RATE, warmup=100))
        lesson = next(stream)
        heard = encoded([p.prompt for p in lesson.pairs], tokenizer, encoder)
        same = torch.tensor([p.prompt == p.caption for p in lesson.pairs])
        loss = loss_of(net, heard, lesson, same)
        runs.descend(loss, encoder, optimizer)
        unet.follow(average, encoder, EMA, tick.step)
        mean, step, now = runs.running(mean, loss.item()), tick.step, tick.progress * minutes
        if step % 100 == 0:
            log.info("listening step %d, %.1f minutes, loss %.4f", step, now, mean)
        if now - kept > 2:
            keep(now)
            kept = now
    keep(minutes)
