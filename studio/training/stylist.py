"""Judge styles: a small net that sees whole pictures and says in which style they are drawn.

Who knows the things of every set knows the styles half: it starts from what the `judges` have learnt,
and gets an eye of its own for what is gone at the size that they look at, flat fills or shaded ones,
pixels or smooth rims. It learns as they do, from what `compose` renders and never from a generated
picture; most of it goes through the autoencoder first, since all that a model draws does.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.training import autoencoder, compose, judges, runs
from studio.training.compose import Library, Plan
from studio.training.judges import STYLES, layer

log = logging.getLogger(__name__)

BATCH = 64

POOL = 24_576
"""Pictures it learns from."""

SOFTENED_SHARE = 0.7
"""Of these pictures that go through the autoencoder."""

OUTLINED_SHARE = 0.08
"""How often what another set draws gets a sticker's rim, as it does in the model's own training."""

SEED = 110_000
"""Of its own pictures; nothing else that is drawn has it."""

CHECKPOINT = "stylist.pt"
LESSONS = "stylist-lessons.pt"
"""What it learns from; it goes with the sprites and the autoencoder it was made with."""


class Net(nn.Module):
    """Sees [n, 3, 128, 128] in 0.0–1.0 and answers with a logit for each of `STYLES`."""

    def __init__(self, judge: judges.Net) -> None:
        """It takes the judge's layers over, and changes them as it learns."""
        super().__init__()
        self.fine, self.middle, self.coarse = judge.fine, judge.middle, judge.coarse
        self.near = nn.Sequential(nn.Conv2d(3, 48, 4, 4), nn.SiLU(), layer(48, 64, 2))
        self.answer = nn.Linear(192 + 64, len(STYLES))

    def forward(self, pictures: Tensor) -> Tensor:
        whole = pictures * 2 - 1
        fine = self.fine(F.avg_pool2d(whole, 2)) + self.near(whole)
        coarse = self.coarse(self.middle(fine))
        return self.answer(torch.cat([coarse.mean((2, 3)), fine.mean((2, 3))], 1)).float()

    @torch.no_grad()
    def look(self, pixels: np.ndarray) -> list[str]:
        """The style of each picture of [n, 128, 128, 3] uint8, from it and its mirror image."""
        self.eval()
        found: list[str] = []
        for start in range(0, len(pixels), BATCH):
            x = autoencoder.to_unit(pixels[start : start + BATCH])
            found += [STYLES[k] for k in (self(x) + self(x.flip(-1))).argmax(1)]
        return found


def draw_plan(rng: np.random.Generator, library: Library) -> Plan:
    """A picture of something, in every style as often as in the others."""
    while not (plan := judges.draw_plan(rng, library)).items:
        pass
    if plan.style in compose.DRAWN_STYLES and rng.random() < OUTLINED_SHARE:
        return replace(plan, style="sticker")
    return plan


def lessons(folder: Path, target: Path, library: Library, count: int) -> tuple[Tensor, Tensor]:
    """The pictures to learn from, [count, 128, 128, 3] uint8, and their styles' numbers; kept in
    `folder`."""
    if saved := runs.restore(folder / LESSONS):
        return saved["pictures"], saved["styles"]
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    plans = [draw_plan(rng, library) for _ in range(count)]
    pixels = np.stack([compose.render(plan, library, rng) for plan in plans])
    log.info("stylist: %d pictures drawn", count)
    some = round(count * SOFTENED_SHARE)
    pixels[:some] = judges.softened(judges.autoencoder_of(target), pixels[:some], judges.NOISE)
    found = torch.from_numpy(pixels), torch.tensor([STYLES.index(plan.style) for plan in plans])
    runs.save(folder / LESSONS, {"pictures": found[0], "styles": found[1]})
    log.info("stylist: %d of them softened", some)
    return found


def batches(pictures: Tensor, styles: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches, half of them mirrored."""
    torch.manual_seed(seed)
    while True:
        for rows in torch.randperm(len(pictures)).split(BATCH):
            x = autoencoder.to_unit(pictures[rows].numpy())
            yield (x.flip(-1) if torch.rand(()) < 0.5 else x), styles[rows]


def train(folder: Path, target: Path, minutes: float, pool: int = POOL) -> None:
    """Train for `minutes` in all, going on from the checkpoint; `target` holds the autoencoder.

    Raises `FileNotFoundError` if the judges are not trained yet.
    """
    if (judge := judges.trained(folder)) is None:
        message = "Train the judges first."
        raise FileNotFoundError(message)
    known = lessons(folder, target, compose.load(folder), pool)
    net = Net(judge.net).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    step, spent, mean = 0, 0.0, None
    if saved := runs.restore(folder / CHECKPOINT):
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["minutes"]
    stream, kept = batches(*known, SEED + step), spent

    def keep(minutes: float) -> None:
        runs.save(folder / CHECKPOINT, {"net": net.state_dict(), "optimizer": optimizer.state_dict(),
                                        "step": step, "minutes": minutes})  # fmt: skip

    for tick in runs.ticks(minutes, step, spent):
        runs.set_rate(optimizer, runs.rate(tick, 1e-3, warmup=100))
        x, wanted = next(stream)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(net(x.contiguous(memory_format=torch.channels_last)), wanted)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean, step, now = runs.running(mean, loss.item()), tick.step, tick.progress * minutes
        if step % 50 == 0:
            log.info("stylist step %d, %.0f %%, loss %.3f", step, 100 * tick.progress, mean)
        if now - kept > 2:
            keep(now)
            kept = now
    keep(minutes)


def trained(folder: Path) -> Any:
    """The net as far as it is trained, or None."""
    saved = runs.restore(folder / CHECKPOINT)
    if saved is None:
        return None
    net = Net(judges.Net(0))
    net.load_state_dict(saved["net"])
    return net.eval().to(memory_format=torch.channels_last)
