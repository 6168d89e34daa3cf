"""Train the UNet on latents and text contexts that were worked out beforehand."""

import copy
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.training import autoencoder, runs, shards, text

log = logging.getLogger(__name__)

BATCH = 32

EMPTY_SHARE = 0.1
"""Share of captions left empty, for classifier-free guidance."""

EMA = 0.999
"""Share of the averaged weights that a step keeps."""

SNR_LIMIT = 5.0
"""Steps with less noise than this signal-to-noise ratio count less."""

CHECKPOINT = "unet.pt"

SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    # The last step keeps 1.6 % of the signal: little enough that noise can become plain white.
    "beta_start": 0.00085,
    "beta_end": 0.02,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}
"""Arguments that every diffusers scheduler of this model gets."""


def create() -> Any:
    """A fresh UNet; it attends at 8 x 8 and 4 x 4 only, where that is cheap."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1,
        block_out_channels=(64, 160, 256), cross_attention_dim=text.WIDTH, attention_head_dim=(2, 5, 8),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def encode_shards(folder: Path) -> None:
    """Write each new shard's latents, and its captions' contexts, as float16."""
    (folder / "latents").mkdir(exist_ok=True)
    waiting = [
        n for n in shards.numbers(folder) if not (folder / "latents" / f"{n:04d}.c.npy").exists()
    ]
    if not waiting:
        return
    net = autoencoder.trained(folder).to(memory_format=torch.channels_last)
    tokenizer, encoder = text.trained(folder)
    for number in waiting:
        pixels, said = shards.pixels(folder, number), shards.captions(folder, number)
        latents, contexts = [], []
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            for start in range(0, len(said), 64):
                batch = autoencoder.to_tensor(pixels[start : start + 64])
                latents.append(
                    net.encode(batch.to(memory_format=torch.channels_last)).latents.half().numpy()
                )
                contexts.append(
                    text.encode(said[start : start + 64], tokenizer, encoder).half().numpy()
                )
        np.save(folder / "latents" / f"{number:04d}.z.npy", np.concatenate(latents))
        np.save(folder / "latents" / f"{number:04d}.c.npy", np.concatenate(contexts))
        log.info("latents of shard %d", number)
    write_statistics(folder, tokenizer, encoder)


def write_statistics(folder: Path, tokenizer: Any, encoder: Any) -> None:
    """Write the latents' deviation, the empty prompt's context and the count of shards."""
    some = np.load(folder / "latents" / "0000.z.npy").astype(np.float32)
    np.save(folder / "empty.npy", text.encode([""], tokenizer, encoder)[0].half().numpy())
    if not (folder / "latents.json").exists():  # a UNet is trained on one scale for good
        (folder / "latents.json").write_text(json.dumps({"deviation": float(some.std())}))
    log.info(
        "latents: deviation %.3f, by channel %s", some.std(), some.std((0, 2, 3)).round(2).tolist()
    )


def scaling(folder: Path) -> float:
    """What latents are multiplied by to have unit variance: the autoencoder's `scaling_factor`."""
    return 1 / json.loads((folder / "latents.json").read_text())["deviation"]


def stored(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Latents and contexts of all encoded shards, mapped from disk."""
    done = sorted(p.name[:4] for p in (folder / "latents").glob("*.c.npy"))
    return tuple(
        [np.load(folder / "latents" / f"{n}.{part}.npy", mmap_mode="r") for n in done]
        for part in "zc"
    )


def batches(folder: Path, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches: latents [BATCH, 4, 16, 16] of unit variance, contexts [BATCH, 77, width]."""
    rng = np.random.default_rng(seed)
    empty = torch.from_numpy(np.load(folder / "empty.npy")).float()
    factor = scaling(folder)
    while True:
        # Looked up anew for every pass, so that shards added meanwhile take part.
        latents, contexts = stored(folder)
        where = rng.permutation(
            [(s, i) for s, part in enumerate(latents) for i in range(len(part))]
        )
        for start in range(0, len(where) - BATCH + 1, BATCH):
            rows = where[start : start + BATCH]
            z = torch.from_numpy(np.stack([latents[s][i] for s, i in rows])).float() * factor
            c = torch.from_numpy(np.stack([contexts[s][i] for s, i in rows])).float()
            c[torch.from_numpy(rng.random(BATCH) < EMPTY_SHARE)] = empty
            yield z, c


def signal(steps: int = 1000) -> Tensor:
    """Share of the signal's variance left at each training step, from nearly 1.0 to nearly 0.0."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(**SCHEDULE).alphas_cumprod[:steps]


def draw_steps(count: int) -> Tensor:
    """Training steps 0–999: mostly those in the middle, where shapes are decided."""
    middle = torch.sigmoid(torch.randn(count) * 1.1 - 0.1)
    share = torch.where(torch.rand(count) < 0.25, torch.rand(count), middle)
    return (share * 1000).long().clamp(0, 999)


def found_by(net: Any, noisy: Tensor, steps: Any, context: Tensor) -> Tensor:
    """The velocity that a net finds at `steps`, one for all or one for each."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = net(noisy.to(memory_format=torch.channels_last), steps, context, return_dict=False)[
            0
        ]
    return found.float()


def loss_of(
    net: Any, z: Tensor, context: Tensor, alphas: Tensor, steps: Tensor | None = None
) -> Tensor:
    """Weighted square error of the velocity that the net finds at `steps`, or at random ones."""
    steps = draw_steps(len(z)) if steps is None else steps
    noise = torch.randn_like(z)
    alpha = alphas[steps].view(-1, 1, 1, 1)
    noisy = alpha.sqrt() * z + (1 - alpha).sqrt() * noise
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * z
    found = found_by(net, noisy, steps, context)
    ratio = alphas[steps] / (1 - alphas[steps])
    weight = (SNR_LIMIT + 1) / (torch.maximum(ratio, torch.tensor(SNR_LIMIT)) + 1)
    return ((found - velocity).square().mean((1, 2, 3)) * weight).mean()


def train(
    folder: Path, minutes: float, sheet_every: float = 12.0, *, compiled: bool = False
) -> None:
    """Train for `minutes` in all, going on from the checkpoint, with a sheet of samples now and then.

    `compiled` has torch compile the net: minutes at the start, then steps take a fifth less time.
    """
    from diffusers.models.attention_processor import AttnProcessor

    from studio.training import samples

    encode_shards(folder)
    net = create().to(memory_format=torch.channels_last)
    # On a CPU, plain products beat torch's fused attention at this size: a fifth of a step's time.
    net.set_attn_processor(AttnProcessor())
    average = copy.deepcopy(net).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    step, spent, seen, mean = 0, 0.0, 0, None
    if saved := runs.restore(folder / CHECKPOINT):
        net.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        if "optimizer" in saved:
            optimizer.load_state_dict(saved["optimizer"])
        step, spent, seen = saved["step"], saved["minutes"], saved["pictures"]
    if compiled:
        net.compile()
    alphas, stream = signal(), batches(folder, step)
    kept, shown = spent, spent
    for tick in runs.ticks(minutes, step, spent):
        runs.set_rate(optimizer, runs.rate(tick, 6e-4, warmup=200))
        z, context = next(stream)
        loss = loss_of(net, z, context, alphas)
        runs.descend(loss, net, optimizer)
        follow(average, net, EMA, tick.step)
        seen += BATCH
        mean, now = runs.running(mean, loss.item()), tick.progress * minutes
        if tick.step % 100 == 0:
            log.info("unet step %d, %.1f minutes, %.0f pictures a second, loss %.4f", tick.step, now,
                     (tick.step - step) * BATCH / 60 / max(now - spent, 1e-6), mean)  # fmt: skip
        if now - kept > 2:
            keep(
                folder,
                net,
                average,
                optimizer,
                {"step": tick.step, "minutes": now, "pictures": seen},
            )
            kept = now
        if now - shown > sheet_every:
            samples.sheet_of(folder, average, folder / f"samples-{round(now):03d}.png")
            shown = now
    keep(folder, net, average, optimizer, {"step": tick.step, "minutes": minutes, "pictures": seen})
    samples.sheet_of(folder, average, folder / "samples.png")


@torch.no_grad()
def follow(average: Any, net: Any, keep_share: float, step: int) -> None:
    """Move the averaged weights towards the net's; faster in the first steps, counted from 1."""
    keep_share = min(keep_share, step / (step + 20))
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - keep_share)


def keep(folder: Path, net: Any, average: Any, optimizer: Any, counts: dict[str, float]) -> None:
    """Write the checkpoint; `counts` are the steps, minutes and pictures so far."""
    state = {
        "net": net.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    runs.save(folder / CHECKPOINT, {**state, **counts})


def trained(folder: Path) -> tuple[Any, dict[str, float]]:
    """The averaged UNet, and the steps, minutes and pictures of its training."""
    saved = runs.restore(folder / CHECKPOINT)
    if saved is None:
        message = "Train the UNet first."
        raise FileNotFoundError(message)
    net = create()
    net.load_state_dict(saved["average"])
    return net.eval(), {name: saved[name] for name in ("step", "minutes", "pictures")}
