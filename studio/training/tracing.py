"""Teach the ControlNet to keep to edges: it paints, and hears where Canny finds edges in its picture.

Square errors of latents say little of a line's exact place. So pictures are painted under control
from noise on, and what each step points to is decoded and compared with the map (as in ControlNet++,
Li et al., 2024). In between it goes on learning as in `control`, lest it forget the other maps.
"""

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from studio.preprocessors import canny
from studio.training import (
    autoencoder,
    compose,
    control,
    maps,
    runs,
    shards,
    unet,
    walks,
)

log = logging.getLogger(__name__)

BATCH = 8

UNWATCHED = 2
"""Steps at the start of a walk that are not looked at: what they point to is a blur."""

LESSONS = 4
"""Batches as in `control` after each walk."""

KIND_ODDS: tuple[tuple[str, float], ...] = (("edges", 0.2), ("depth", 0.15), ("pose", 0.65))

SHARE = 0.3
"""Weight of the edges' loss."""

COPIED_RATE, FRESH_RATE = 1e-4, 4e-4

EMA = 0.995

SHARPNESS, STEEPNESS = 12.0, 30.0
"""How much steeper than its neighbours, and than the threshold, a pixel must be to count as an edge
for three parts in four, in Canny's units."""


class Batch(NamedTuple):
    """What to trace."""

    context: Tensor
    hint: Tensor
    """[n, 3, SIDE, SIDE], 0.0–1.0."""
    threshold: Tensor
    """[n]: how steep an edge was to be, in Canny's units."""


def batches(folder: Path, seed: int) -> Iterator[Batch]:
    """Endless batches of edges as Canny draws them at several thresholds."""
    rng = np.random.default_rng(seed)
    while True:
        for number in rng.permutation(shards.with_truth(folder)).tolist():
            pixels = shards.pixels(folder, number)
            contexts = np.load(folder / "latents" / f"{number:04d}.c.npy", mmap_mode="r")
            order = rng.permutation(len(pixels))
            for start in range(0, len(order) - BATCH + 1, BATCH):
                rows = np.sort(order[start : start + BATCH])
                low = rng.integers(70, 130, BATCH)
                high = (low * rng.uniform(1.7, 2.2, BATCH)).astype(int)
                drawn = [
                    maps.edges(np.array(pixels[k]), canny.Canny(low=int(a), high=int(b)))
                    for k, a, b in zip(rows, low, high, strict=True)
                ]
                yield Batch(
                    context=torch.from_numpy(contexts[rows]).float(),
                    hint=autoencoder.to_unit(np.stack(drawn)),
                    threshold=torch.from_numpy((low + high) / 2).float(),
                )


SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])[None, None]


def soft_edges(pictures: Tensor, threshold: Tensor) -> Tensor:
    """How surely each pixel of [n, 3, h, w] in -1.0–1.0 is an edge to Canny, [n, h, w] in 0.0–1.0:
    steeper than `threshold` [n] and than both neighbours across the edge. Has gradients."""
    count, _, height, width = pictures.shape
    padded = F.pad(pictures * 127.5, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    across, down = (
        F.conv2d(padded, kernel).view(count, 3, height, width)
        for kernel in (SOBEL, SOBEL.transpose(2, 3))
    )
    steep, channel = (across.abs() + down.abs()).max(1, keepdim=True)
    steep, across, down = (
        steep[:, 0],
        across.gather(1, channel)[:, 0],
        down.gather(1, channel)[:, 0],
    )
    around = F.pad(steep, (1, 1, 1, 1))

    def beside(rows: int, columns: int) -> Tensor:
        return around[:, 1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    upright, level = down.abs() < 0.4142 * across.abs(), down.abs() > 2.4142 * across.abs()
    falling = across * down > 0

    def neighbour(sign: int) -> Tensor:
        slanted = torch.where(falling, beside(sign, sign), beside(sign, -sign))
        return torch.where(upright, beside(0, sign), torch.where(level, beside(sign, 0), slanted))

    ridge = torch.sigmoid((steep - torch.maximum(neighbour(-1), neighbour(1))) / SHARPNESS)
    plain = torch.sigmoid((steep - threshold.view(-1, 1, 1)) / STEEPNESS)
    return (2 * ridge * plain).clamp(max=1)


def missed(found: Tensor, wanted: Tensor) -> Tensor:
    """1 less the F1 of soft edges against those of a map, both [n, h, w]; the mean of all."""
    both = 2 * (found * wanted).sum((1, 2)) + 1
    return (1 - both / (found.sum((1, 2)) + wanted.sum((1, 2)) + 1)).mean()


def steered(
    net: Any, control_net: Any, batch: Batch, empty: Tensor, noisy: Tensor, step: int
) -> Tensor:
    """The velocity under guidance and control."""
    hint = torch.cat([batch.hint, batch.hint]).to(memory_format=torch.channels_last)
    context = torch.cat([empty.expand_as(batch.context), batch.context])
    both = control.Steered(net, control_net, hint)
    time = torch.tensor(walks.TIMES[step])
    return walks.guided(*unet.found_by(both, torch.cat([noisy, noisy]), time, context).chunk(2))


def losses(
    net: Any, control_net: Any, vae: Any, factor: float, batch: Batch, empty: Tensor, alphas: Tensor
) -> Iterator[Tensor]:
    """One walk; of each step that is watched, the loss, to be learnt from before the next."""
    noisy, wanted = walks.noise(len(batch.hint)), (batch.hint[:, 0] > 0.5).float()
    for step, time in enumerate(walks.TIMES):
        with torch.set_grad_enabled(step >= UNWATCHED):
            found = steered(net, control_net, batch, empty, noisy, step)
        if step >= UNWATCHED:
            latents = walks.clean(noisy, found, alphas[time]) / factor
            with torch.autocast("cpu", dtype=torch.bfloat16):
                picture = vae.decode(latents.to(memory_format=torch.channels_last)).sample
            yield missed(soft_edges(picture.float(), batch.threshold), wanted)
        noisy = walks.onward(noisy, found.detach(), alphas, step)


def train(folder: Path, minutes: float) -> None:
    """Train for `minutes` in all, going on from the checkpoint, or from that of `control`.

    Raises `FileNotFoundError` where there is no ControlNet yet.
    """
    from diffusers.models.attention_processor import AttnProcessor

    net = unet.trained(folder)[0].to(memory_format=torch.channels_last).requires_grad_(False)
    found = control.trained(folder, net)
    if found is None:
        message = "Train the ControlNet first."
        raise FileNotFoundError(message)
    average = found[0].to(memory_format=torch.channels_last).requires_grad_(False)
    taught = copy.deepcopy(average).requires_grad_(True).train()
    for part in (net, taught):
        part.set_attn_processor(AttnProcessor())
    vae = autoencoder.trained(folder).to(memory_format=torch.channels_last).requires_grad_(False)
    optimizer = control.optimizer_of(taught)
    step, spent, seen = 0, 0.0, 0
    if saved := runs.restore(folder / control.TRACED):
        taught.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent, seen = saved["step"], saved["minutes"], saved["pictures"]
    torch.manual_seed(step)
    rng, alphas = np.random.default_rng(step), unet.signal()
    empty = torch.from_numpy(np.load(folder / "empty.npy")).float()
    factor, walked = unet.scaling(folder), batches(folder, step)
    told = {kind: control.of_kind(folder, kind, step) for kind in maps.KINDS}
    means: dict[str, float] = {}

    def learn(name: str, loss: Tensor, progress: float) -> None:
        nonlocal step
        for group, peak in zip(optimizer.param_groups, (COPIED_RATE, FRESH_RATE), strict=True):
            tick = runs.Tick(step=step + 1, progress=progress)
            group["lr"] = runs.rate(tick, peak, warmup=30)
        runs.descend(loss, taught, optimizer)
        step += 1
        unet.follow(average, taught, EMA, step)
        means[name] = runs.running(means.get(name), loss.item())

    def keep(now: float) -> None:
        counts = {"step": step, "minutes": now, "pictures": seen}
        control.keep(folder, taught, average, optimizer, counts, control.TRACED)

    kept = now = spent
    for tick in runs.ticks(minutes, 0, spent):
        for loss in losses(net, taught, vae, factor, next(walked), empty, alphas):
            learn("traced", SHARE * loss, tick.progress)
        for _ in range(LESSONS):
            z, context, hint = next(told[kind := compose.draw_odds(rng, KIND_ODDS)])
            steer = control.Steered(net, taught, hint.to(memory_format=torch.channels_last))
            loss = unet.loss_of(steer, z, context, alphas, control.draw_steps(len(z)))
            learn(kind, loss, tick.progress)
        seen, now = seen + BATCH + LESSONS * control.BATCH, tick.progress * minutes
        if tick.step % 5 == 0:
            log.info("tracing step %d, %.1f minutes, %s", step, now,
                     {name: round(mean, 3) for name, mean in sorted(means.items())})  # fmt: skip
        if now - kept > 2:
            keep(now)
            kept = now
    keep(max(minutes, spent))
    control.sheet(folder, average, folder / "traced.png")
