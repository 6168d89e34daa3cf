"""Judge pictures: a small net that finds the things in a picture and says what, where and how they are.

It learns from what `compose` renders, where the plan knows the truth, and never from a generated
picture. Half of its pictures go through the autoencoder first, with some noise on their latents, so
that softness alone does not mislead it.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.training import autoencoder, compose, runs, scenes
from studio.training.colours import COLOUR_NAMES, COLOURS
from studio.training.compose import Item, Library, Plan
from studio.training.filters import FILTERS

log = logging.getLogger(__name__)

SIDE = 64
"""Width and height of the pictures it looks at."""

CELLS = 16
"""Rows and columns of the map that it draws of a picture."""

BATCH = 64

POOL = 12_288
"""Pictures it learns from; half of them softened."""

SEED = 50_000
"""Of its own pictures; the model's shards have small numbers."""

HELD_OUT_SEED = 60_000
"""Of the pictures that it is tested on."""

RESERVED = 5
"""One colouring of a sprite in so many is kept for testing the judges."""

NOISE = 0.35
"""At most so much of the latents' deviation is added before they are decoded."""

CHECKPOINT = "judges.pt"
LESSONS = "judges-lessons.pt"
"""What they learn from; it goes with the sprites and the autoencoder it was made with."""

STYLES: tuple[str, ...] = (*compose.DRAWN_STYLES, *FILTERS)
NOWHERE = "nowhere"
PLACES: tuple[str, ...] = (NOWHERE, *(p.name for p in scenes.PLACES))
HOURS: tuple[str, ...] = tuple(h.name for h in scenes.HOURS)

COLOURLESS_STYLES: frozenset[str] = frozenset({"pencil sketch"})

KIND_ODDS: tuple[tuple[str, float], ...] = (
    ("single", 0.42), ("count", 0.28), ("pair", 0.27), ("empty", 0.03),
)  # fmt: skip

SCENE_SHARE = 0.35
COLOURED_SHARE = 0.5
"""How often a thing that can be recoloured is."""

UNKNOWN = -1
"""A label that is not learnt from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """Something that a judge found, or that a plan sets, in a picture."""

    noun: str
    colour: str
    """Empty where a plan leaves a sprite its own colours."""
    x: float
    """Centre, 0.0 left to 1.0 right."""
    y: float
    """Centre, 0.0 top to 1.0 bottom."""
    certainty: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a picture shows."""

    things: tuple[Thing, ...]
    """The surest first."""
    main: Thing
    """The surest, even where it is not sure enough to be one of `things`."""
    style: str
    place: str
    """One of `PLACES`."""
    hour: str


class Labels(NamedTuple):
    """What a batch of plans is true of: indices, `UNKNOWN` where nothing is to be learnt."""

    centre: Tensor
    """[n, CELLS, CELLS]: 1.0 at the middle of a thing, falling off round it."""
    noun: Tensor
    """[n, CELLS, CELLS], known next to the middles."""
    colour: Tensor
    """As `noun`."""
    style: Tensor
    place: Tensor
    hour: Tensor


def draw_plan(rng: np.random.Generator, library: Library, *, reserved: bool = False) -> Plan:
    """A picture to judge: every style and noun as often as the others, mostly of several things.

    Colourings that are reserved for tests occur only if `reserved`.
    """
    while True:
        kind, style = compose.draw_odds(rng, KIND_ODDS), STYLES[int(rng.integers(len(STYLES)))]
        where = "empty" if kind == "empty" else kind
        if kind != "empty":
            where = "scene" if rng.random() < SCENE_SHARE else ("plain", "single")[rng.integers(2)]
        scene, plain, _ = compose.background(rng, where, style)
        items = tuple(_loosened(rng, item) for item in _items(rng, library, kind, style, scene))
        if reserved or not any(is_reserved(item) for item in items):
            return Plan(items=items, scene=scene, plain=plain, style=style, caption="")


def _items(
    rng: np.random.Generator, library: Library, kind: str, style: str, scene: Any
) -> tuple[Item, ...]:
    rows = [r for r, own in enumerate(library.style) if own == style or style in FILTERS]
    first, second = (int(r) for r in rng.choice(rows, 2))
    colours = tuple(
        COLOURS[int(rng.integers(len(COLOURS)))]
        if library.hue[row] is not None and rng.random() < COLOURED_SHARE
        else None
        for row in (first, second)
    )
    if kind == "empty":
        return ()
    if kind == "single":
        item = compose.alone(rng, first, colours[0], scene)
        return (replace(item, size=item.size * float(rng.uniform(0.6, 1.05))),)
    if kind == "count":
        return compose.arrange(rng, first, colours[0], int(rng.integers(2, 6)))
    relation = ("left", "right", "above", "below")[rng.integers(4)]
    return compose.related(rng, relation, (first, second), colours)


def _loosened(rng: np.random.Generator, item: Item) -> Item:
    """The item a little off: a generated picture does not keep to our layouts."""
    x, y = item.x + compose.jitter(rng, 0.05), item.y + compose.jitter(rng, 0.05)
    size = item.size * float(rng.uniform(0.85, 1.08))
    return replace(item, x=min(max(x, 0.1), 0.9), y=min(max(y, 0.1), 0.9), size=size)


def is_reserved(item: Item) -> bool:
    """Whether judges are tested on the sprite in this colour and must not learn from it."""
    return item.colour is not None and (
        (item.row * 7 + COLOUR_NAMES.index(item.colour.name)) % RESERVED == 0
    )


def truth(plan: Plan, library: Library) -> Seen:
    """What a perfect judge sees in the plan's picture."""
    things = tuple(
        Thing(
            noun=library.names[library.concept[item.row]],
            colour=item.colour.name if item.colour and plan.style not in COLOURLESS_STYLES else "",
            x=item.x,
            y=item.y,
        )
        for item in plan.items
    )
    nothing = Thing(noun="", colour="", x=0.5, y=0.5, certainty=0.0)
    return Seen(
        things=things,
        main=things[0] if things else nothing,
        style=plan.style,
        place=plan.scene.place.name if plan.scene else NOWHERE,
        # Space and the sea floor know no hour, and a sketch shows none.
        hour=plan.scene.hour.name
        if plan.scene and len(plan.scene.place.hours) == 3 and plan.style != "pencil sketch"
        else "",
    )


def draw(
    seed: int, count: int, library: Library, *, reserved: bool = False
) -> tuple[np.ndarray, list[Plan]]:
    """Pictures [count, 128, 128, 3] uint8 and their plans; the same for the same seed."""
    rng = np.random.default_rng(seed)
    plans = [draw_plan(rng, library, reserved=reserved) for _ in range(count)]
    return np.stack([compose.render(plan, library, rng) for plan in plans]), plans


@torch.no_grad()
def softened(vae: Any, pixels: np.ndarray, noise: float = 0.0) -> np.ndarray:
    """Pictures [n, 128, 128, 3] uint8 through the autoencoder and back.

    `noise`: each picture's latents get up to this share of their deviation as noise.
    """
    found = []
    for start in range(0, len(pixels), BATCH):
        batch = autoencoder.to_tensor(pixels[start : start + BATCH])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            latents = vae.encode(batch.to(memory_format=torch.channels_last)).latents
            share = torch.rand(len(latents), 1, 1, 1) * noise * latents.std()
            again = vae.decode(latents + share * torch.randn_like(latents)).sample
        found.append(((again.float().clamp(-1, 1) + 1) * 127.5).round().byte())
    return torch.cat(found).permute(0, 2, 3, 1).numpy()


def reduced(pixels: np.ndarray) -> Tensor:
    """[n, h, w, 3] uint8 to [n, 3, SIDE, SIDE] uint8, each pixel the mean of what it covers."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    return torch.cat(
        [F.interpolate(t.float(), (SIDE, SIDE), mode="area").round().byte() for t in tensor.split(256)]
    )  # fmt: skip


def label(plans: list[Plan], library: Library) -> Labels:
    """What the net is to answer for the plans."""
    shape = (len(plans), CELLS, CELLS)
    centre, noun, colour = (
        torch.zeros(shape),
        torch.full(shape, UNKNOWN),
        torch.full(shape, UNKNOWN),
    )
    y, x = torch.meshgrid(torch.arange(CELLS), torch.arange(CELLS), indexing="ij")
    for k, plan in enumerate(plans):
        for item, thing in zip(plan.items, truth(plan, library).things, strict=True):
            column, row = (min(int(v * CELLS), CELLS - 1) for v in (item.x, item.y))
            away = (x - column).square() + (y - row).square()
            spread = max(0.6, item.size * CELLS / 8)
            centre[k] = torch.maximum(centre[k], torch.exp(-away / (2 * spread**2)))
            near = away <= 2
            noun[k][near] = library.concept[item.row]
            colour[k][near] = COLOUR_NAMES.index(thing.colour) if thing.colour else UNKNOWN
    seen = [truth(plan, library) for plan in plans]
    return Labels(
        centre=centre, noun=noun, colour=colour,
        style=torch.tensor([STYLES.index(s.style) if s.things else UNKNOWN for s in seen]),
        place=torch.tensor([PLACES.index(s.place) for s in seen]),
        hour=torch.tensor([HOURS.index(s.hour) if s.hour else UNKNOWN for s in seen]),
    )  # fmt: skip


class Net(nn.Module):
    """Sees [n, 3, SIDE, SIDE] in 0.0–1.0 and answers with logits, in the order of `Labels`."""

    def __init__(self, nouns: int) -> None:
        super().__init__()
        self.sizes = (1, nouns, len(COLOURS), len(STYLES), len(PLACES), len(HOURS))
        self.fine = nn.Sequential(layer(3, 24, 2), layer(24, 64, 2), Block(64), Block(64))
        self.middle = nn.Sequential(layer(64, 128, 2), Block(128), Block(128))
        self.coarse = nn.Sequential(layer(128, 192, 2), Block(192), Block(192))
        self.to_middle, self.to_fine = nn.Conv2d(192, 128, 1), nn.Conv2d(128, 64, 1)
        self.mixed = Block(128)
        self.cells = nn.Sequential(layer(64, 128, 1), nn.Conv2d(128, sum(self.sizes[:3]), 1))
        nn.init.constant_(self.cells[-1].bias[:1], -2.2)  # few cells are a middle
        self.whole = nn.Linear(192 + 64, sum(self.sizes[3:]))

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        fine = self.fine(pictures * 2 - 1)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = self.mixed(middle + F.interpolate(self.to_middle(coarse), scale_factor=2.0))
        both = fine + F.interpolate(self.to_fine(middle), scale_factor=2.0)
        centre, noun, colour = self.cells(both).float().split(self.sizes[:3], 1)
        pooled = torch.cat([coarse.mean((2, 3)), fine.mean((2, 3))], 1)
        return centre[:, 0], noun, colour, *self.whole(pooled).float().split(self.sizes[3:], 1)


def layer(into: int, out: int, stride: int) -> nn.Sequential:
    """A convolution of 3 x 3 with what follows it."""
    return nn.Sequential(
        nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.SiLU()
    )


class Block(nn.Module):
    """Two convolutions round which the input passes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(layer(width, width, 1), layer(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def loss_of(answers: tuple[Tensor, ...], labels: Labels) -> Tensor:
    """Focal loss of the middles (CenterNet's), cross entropy of the rest."""
    centre, *others = answers
    chance = centre.sigmoid().clamp(1e-4, 1 - 1e-4)
    peak = labels.centre == 1
    hit = (1 - chance).square() * chance.log() * peak
    miss = (1 - labels.centre) ** 4 * chance.square() * (1 - chance).log() * ~peak
    loss = -(hit + miss).sum() / peak.sum().clamp(min=1)
    for logits, wanted in zip(others, labels[1:], strict=True):
        if (wanted != UNKNOWN).any():
            loss = loss + F.cross_entropy(logits, wanted, ignore_index=UNKNOWN)
    return loss


def roughened(pictures: Tensor) -> Tensor:
    """[n, 3, SIDE, SIDE] in 0.0–1.0: some blurred, some noisy, all a little off in their colours."""
    count = len(pictures)
    gain = 1 + 0.06 * torch.randn(count, 3, 1, 1)
    blur = torch.rand(count, 1, 1, 1) * (torch.rand(count, 1, 1, 1) < 0.4)
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    noise = torch.rand(count, 1, 1, 1) * 0.05 * (torch.rand(count, 1, 1, 1) < 0.4)
    mixed = pictures.lerp(soft, blur) * gain + noise * torch.randn_like(pictures)
    return mixed.clamp(0, 1)


def batches(pictures: Tensor, labels: Labels, seed: int) -> Iterator[tuple[Tensor, Labels]]:
    """Endless batches, half of them mirrored."""
    torch.manual_seed(seed)
    while True:
        for rows in torch.randperm(len(pictures)).split(BATCH):
            x, wanted = pictures[rows].float() / 255, Labels(*(part[rows] for part in labels))
            if torch.rand(()) < 0.5:
                x, cells = x.flip(-1), [part.flip(-1) for part in wanted[:3]]
                wanted = Labels(*cells, *wanted[3:])
            yield roughened(x), wanted


@dataclass(frozen=True, kw_only=True, slots=True)
class Judges:
    """A trained net and what its answers mean."""

    net: Net
    nouns: tuple[str, ...]
    threshold: float
    """How sure the net must be of a middle for it to count as a thing, 0.0–1.0."""

    @torch.no_grad()
    def look(self, pixels: np.ndarray) -> list[Seen]:
        """What each picture of [n, h, w, 3] uint8 shows."""
        self.net.eval()
        found: list[Seen] = []
        for part in (reduced(pixels).float() / 255).split(256):
            centre, noun, colour, style, place, hour = self.net(
                part.contiguous(memory_format=torch.channels_last)
            )
            chance = centre.sigmoid()
            for k in range(len(part)):
                things = self._things(chance[k], noun[k].argmax(0), colour[k].argmax(0))
                found.append(Seen(
                    things=tuple(t for t in things if t.certainty >= self.threshold), main=things[0],
                    style=STYLES[style[k].argmax()], place=PLACES[place[k].argmax()], hour=HOURS[hour[k].argmax()],
                ))  # fmt: skip
        return found

    def _things(self, chance: Tensor, noun: Tensor, colour: Tensor) -> list[Thing]:
        """Every peak of the middles' map, the surest first."""
        highest = F.max_pool2d(chance[None, None], 5, 1, 2)[0, 0]
        return sorted(
            (
                Thing(noun=self.nouns[noun[row, column]], colour=COLOUR_NAMES[colour[row, column]],
                      x=(column + 0.5) / CELLS, y=(row + 0.5) / CELLS, certainty=chance[row, column].item())
                for row, column in (chance == highest).nonzero().tolist()
            ),
            key=lambda thing: -thing.certainty,
        )  # fmt: skip


def lessons(folder: Path, target: Path, library: Library, count: int) -> tuple[Tensor, Labels]:
    """The pictures to learn from, [count, 3, SIDE, SIDE] uint8, and their labels; kept in `folder`."""
    if saved := runs.restore(folder / LESSONS):
        return saved["pictures"], Labels(*saved["labels"])
    torch.manual_seed(SEED)
    pixels, plans = draw(SEED, count, library)
    log.info("judges: %d pictures drawn", count)
    half, vae = count // 2, autoencoder_of(target)
    pictures = torch.cat([reduced(pixels[:half]), reduced(softened(vae, pixels[half:], NOISE))])
    labels = label(plans, library)
    runs.save(folder / LESSONS, {"pictures": pictures, "labels": list(labels)})
    log.info("judges: half of them softened")
    return pictures, labels


def train(folder: Path, target: Path, minutes: float, pool: int = POOL) -> None:
    """Train for `minutes` in all, going on from the checkpoint; `target` holds the autoencoder."""
    library = compose.load(folder)
    pictures, labels = lessons(folder, target, library, pool)
    net = Net(len(library.names)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    step, spent, mean = 0, 0.0, None
    if saved := runs.restore(folder / CHECKPOINT):
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["minutes"]
    stream, kept = batches(pictures, labels, SEED + step), spent

    def keep(found: Judges, minutes: float) -> None:
        runs.save(folder / CHECKPOINT, {
            "net": found.net.state_dict(), "threshold": found.threshold, "nouns": json.dumps(found.nouns),
            "optimizer": optimizer.state_dict(), "step": step, "minutes": minutes,
        })  # fmt: skip

    found = Judges(net=net.train(), nouns=library.names, threshold=0.3)
    for tick in runs.ticks(minutes, step, spent):
        runs.set_rate(optimizer, runs.rate(tick, 2e-3, warmup=100))
        x, wanted = next(stream)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            answers = net(x.contiguous(memory_format=torch.channels_last))
        loss = loss_of(answers, wanted)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean, step, now = runs.running(mean, loss.item()), tick.step, tick.progress * minutes
        if step % 50 == 0:
            log.info("judges step %d, %.0f %%, loss %.3f", step, 100 * tick.progress, mean)
        if now - kept > 2:
            keep(found, now)
            kept = now
    keep(calibrated(found, library, autoencoder_of(target), pool // 32), minutes)


def calibrated(judges: Judges, library: Library, vae: Any, count: int) -> Judges:
    """The judges with the threshold at which they count best, on pictures they did not learn from."""
    pixels, plans = draw(SEED + 1, count, library)
    seen = replace(judges, threshold=0.0).look(softened(vae, pixels))

    def right(threshold: float) -> int:
        return sum(
            len(plan.items) == sum(t.certainty >= threshold for t in s.things)
            for plan, s in zip(plans, seen, strict=True)
        )

    return replace(judges, threshold=max((k / 40 for k in range(4, 32)), key=right))


def autoencoder_of(target: Path) -> Any:
    """The autoencoder of an exported folder."""
    from diffusers import AutoencoderTiny

    return AutoencoderTiny.from_pretrained(target / "vae", local_files_only=True).float().eval()


def trained(folder: Path) -> Judges | None:
    """The judges as far as they are trained."""
    saved = runs.restore(folder / CHECKPOINT)
    if saved is None:
        return None
    nouns = tuple(json.loads(saved["nouns"]))
    net = Net(len(nouns))
    net.load_state_dict(saved["net"])
    return Judges(
        net=net.eval().to(memory_format=torch.channels_last),
        nouns=nouns,
        threshold=saved["threshold"],
    )
