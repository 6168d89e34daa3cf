"""Measure pictures: a small net that says how near each place is and where people's joints are.

Detectors made for photographs are lost on small illustrations: on the very pictures that depth maps
and skeletons were drawn from, they find half of what is there. This net knows our own pictures, whose
truth is known. It learns from what `compose` renders, half of it through the autoencoder and back
with some noise, and never from a generated picture.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.preprocessors._people import POINTS, Person
from studio.training import autoencoder, compose, judges, runs
from studio.training.sources import SIDE

log = logging.getLogger(__name__)

CELLS = 32
"""Rows and columns of the maps it answers with."""

BATCH = 32

POOL = 10_240
"""Pictures it learns from; half of them softened."""

PEOPLE_SHARE = 0.5
"""Of these pictures that show somebody."""

SEED = 90_000
"""Of its own pictures; neither the shards nor what is measured has it."""

SPREAD = 1.1
"""Cells by which a joint's place may be missed until it counts little."""

LEAST = 0.2
"""How sure it must be of a joint for it to be there, 0.0–1.0."""

CHECKPOINT = "surveyor.pt"
LESSONS = "surveyor-lessons.pt"


@dataclass(frozen=True, slots=True)
class Survey:
    """What a picture holds."""

    near: np.ndarray
    """[CELLS, CELLS] float, 0.0 far to 1.0 near."""
    joints: tuple[tuple[tuple[float, float], ...], ...]
    """For each of the 18 kinds of points the places (x, y) where one is, in pixels of SIDE."""


class Net(nn.Module):
    """Sees [n, 3, SIDE, SIDE] in 0.0–1.0; gives nearness [n, CELLS, CELLS] and the joints' logits
    [n, 18, CELLS, CELLS]."""

    def __init__(self) -> None:
        super().__init__()
        layer, block = judges.layer, judges.Block
        self.fine = nn.Sequential(layer(3, 24, 2), layer(24, 64, 2), block(64))
        self.middle = nn.Sequential(layer(64, 96, 2), block(96))
        self.coarse = nn.Sequential(layer(96, 160, 2), block(160), layer(160, 160, 2), block(160))
        self.to_middle, self.to_fine = nn.Conv2d(160, 96, 1), nn.Conv2d(96, 64, 1)
        self.mixed, self.mixed_fine = block(96), block(64)
        self.answers = nn.Conv2d(64, 1 + len(POINTS), 1)
        nn.init.constant_(self.answers.bias[1:], -4.0)  # few cells hold a joint

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(pictures * 2 - 1)
        middle = self.middle(fine)
        middle = self.mixed(
            middle + self.to_middle(F.interpolate(self.coarse(middle), scale_factor=4.0))
        )
        fine = self.mixed_fine(fine + F.interpolate(self.to_fine(middle), scale_factor=2.0))
        answers = self.answers(fine).float()
        return answers[:, 0], answers[:, 1:]

    @torch.no_grad()
    def survey(self, pixels: np.ndarray) -> list[Survey]:
        """What each picture of [n, SIDE, SIDE, 3] uint8 holds."""
        self.eval()
        found: list[Survey] = []
        for part in autoencoder.to_unit(pixels).split(64):
            near, logits = self(part.contiguous(memory_format=torch.channels_last))
            chances = logits.sigmoid()
            for plane, chance in zip(near, chances, strict=True):
                found.append(Survey(plane.clamp(0, 1).numpy(), tuple(map(peaks, chance))))
        return found


def peaks(chance: Tensor) -> tuple[tuple[float, float], ...]:
    """Where the map [CELLS, CELLS] of 0.0–1.0 has peaks of at least `LEAST`, in pixels of SIDE."""
    highest = F.max_pool2d(chance[None, None], 5, 1, 2)[0, 0]
    cell = SIDE / CELLS
    return tuple(
        ((column + 0.5) * cell, (row + 0.5) * cell)
        for row, column in ((chance == highest) & (chance >= LEAST)).nonzero().tolist()
    )


def nearness(depth: np.ndarray) -> Tensor:
    """Depth maps [n, SIDE, SIDE] uint8 as the net is to answer, [n, CELLS, CELLS] in 0.0–1.0."""
    planes = torch.from_numpy(np.ascontiguousarray(depth))[:, None].float() / 255
    return F.interpolate(planes, (CELLS, CELLS), mode="area")[:, 0]


def heat(people: Sequence[Sequence[Person]]) -> Tensor:
    """[n, 18, CELLS, CELLS]: 1.0 where a joint that is plain to see lies, falling off round it.

    Joints that something covers count half as much.
    """
    y, x = torch.meshgrid(torch.arange(CELLS) + 0.5, torch.arange(CELLS) + 0.5, indexing="ij")
    found = torch.zeros(len(people), len(POINTS), CELLS, CELLS)
    for plane, persons in zip(found, people, strict=True):
        for person in persons:
            for kind, point in enumerate(person.points):
                if point.confidence > 0:
                    away = (x - point.x * CELLS / SIDE) ** 2 + (y - point.y * CELLS / SIDE) ** 2
                    bump = point.confidence * torch.exp(-away / (2 * SPREAD**2))
                    plane[kind] = torch.maximum(plane[kind], bump)
    return found


def lessons(folder: Path, vae: Any, count: int) -> dict[str, Tensor]:
    """Pictures [count, SIDE, SIDE, 3] uint8, half of them through `vae`, and their maps; kept in
    `folder`."""
    if saved := runs.restore(folder / LESSONS):
        return saved
    torch.manual_seed(SEED)
    made = compose.draw(SEED, count, compose.load(folder), PEOPLE_SHARE)
    half = count // 2
    soft = judges.softened(vae, made.pixels[half:], judges.NOISE)
    found = {
        "pixels": torch.from_numpy(np.concatenate([made.pixels[:half], soft])),
        "near": nearness(made.depth).half(),
        "heat": heat(made.people).half(),
    }
    runs.save(folder / LESSONS, found)
    log.info("surveyor: %d pictures drawn, half of them softened", count)
    return found


def batches(known: dict[str, Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless batches. None is mirrored: a person's left hand would become the right one."""
    torch.manual_seed(seed)
    while True:
        for rows in torch.randperm(len(known["pixels"])).split(BATCH):
            pictures = judges.roughened(autoencoder.to_unit(known["pixels"][rows].numpy()))
            yield pictures, known["near"][rows].float(), known["heat"][rows].float()


def loss_of(net: Net, pictures: Tensor, near: Tensor, wanted: Tensor) -> Tensor:
    """Square error of the nearness; of the joints cross entropy, whose few peaks weigh more."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plane, logits = net(pictures.contiguous(memory_format=torch.channels_last))
    joints = F.binary_cross_entropy_with_logits(logits, wanted, weight=1 + 20 * wanted)
    return 10 * F.mse_loss(plane, near) + 10 * joints


def train(folder: Path, vae: Any, minutes: float, pool: int = POOL) -> Net:
    """Train for `minutes` in all, going on from the checkpoint; `vae` is the model's autoencoder."""
    known = lessons(folder, vae, pool)
    net = Net().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    step, spent, mean = 0, 0.0, None
    if saved := runs.restore(folder / CHECKPOINT):
        net.load_state_dict(saved["net"])
        step, spent = saved["step"], saved["minutes"]
    stream = batches(known, SEED + step)
    net.train()
    for tick in runs.ticks(minutes, step, spent):
        runs.set_rate(optimizer, runs.rate(tick, 2e-3, warmup=100))
        loss = loss_of(net, *next(stream))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean, step = runs.running(mean, loss.item()), tick.step
        if step % 50 == 0:
            log.info("surveyor step %d, %.0f %%, loss %.3f", step, 100 * tick.progress, mean)
    runs.save(folder / CHECKPOINT, {"net": net.state_dict(), "step": step, "minutes": minutes})
    return net.eval()


def trained(folder: Path) -> Any:
    """The net as far as it is trained, or None."""
    saved = runs.restore(folder / CHECKPOINT)
    if saved is None:
        return None
    net = Net()
    net.load_state_dict(saved["net"])
    return net.eval().to(memory_format=torch.channels_last)
