"""Train the AutoencoderTiny: 128 px pictures to 4 x 16 x 16 latents of unit variance and back."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from studio.training import runs, shards

log = logging.getLogger(__name__)

BATCH = 8

LATENT_NOISE = 0.07
"""Deviation of the noise on latents in training; it keeps neighbours in latent space alike."""

CHECKPOINT = "autoencoder.pt"

POLISHED = "decoder.pt"
"""Checkpoint of `polish`; where there is one, it is used."""


def create() -> Any:
    """A fresh autoencoder: most blocks sit where the picture is small and they are cheap."""
    from diffusers import AutoencoderTiny

    width = (48, 48, 48, 48)
    return AutoencoderTiny(
        encoder_block_out_channels=width,
        decoder_block_out_channels=width,
        num_encoder_blocks=(0, 1, 2, 4),
        num_decoder_blocks=(4, 3, 1, 0),
        latent_channels=4,
        scaling_factor=1.0,
    )


def to_unit(pixels: np.ndarray) -> Tensor:
    """[n, h, w, 3] uint8 to [n, 3, h, w] float in 0.0–1.0, channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(255)


def to_tensor(pixels: np.ndarray) -> Tensor:
    """[n, h, w, 3] uint8 to [n, 3, h, w] float in -1.0–1.0, channels last in memory."""
    return (
        torch.from_numpy(np.ascontiguousarray(pixels))
        .permute(0, 3, 1, 2)
        .float()
        .div_(127.5)
        .sub_(1)
    )


def slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def reconstruction_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean distance of pixels, of their slopes (sharp edges) and of 8 x 8 means (true colours)."""
    edge = sum(F.l1_loss(a, b) for a, b in zip(slopes(found), slopes(wanted), strict=True))
    tone = F.mse_loss(F.avg_pool2d(found, 8), F.avg_pool2d(wanted, 8))
    return F.l1_loss(found, wanted) + edge + 2 * tone


def whiteness_loss(latents: Tensor) -> Tensor:
    """How far the channels of [n, 4, h, w] are from zero mean, unit variance and no correlation."""
    flat = latents.float().transpose(0, 1).flatten(1)
    mean = flat.mean(1)
    centred = flat - mean[:, None]
    covariance = centred @ centred.T / flat.shape[1]
    return mean.square().sum() + (covariance - torch.eye(len(covariance))).square().sum()


def batches(folder: Path, seed: int) -> Any:
    """Endless batches [BATCH, 3, 128, 128], a few shards mixed at a time."""
    rng = np.random.default_rng(seed)
    while True:
        chosen = rng.permutation(shards.numbers(folder))[:3]
        pool = np.concatenate([shards.pixels(folder, int(n)) for n in chosen])
        order = rng.permutation(len(pool))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            yield to_tensor(pool[order[start : start + BATCH]])


def train(folder: Path, minutes: float) -> None:
    """Train for `minutes` in all, going on from the checkpoint where there is one."""
    net = create().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )
    step, spent, mean = 0, 0.0, None
    if saved := runs.restore(folder / CHECKPOINT):
        net.load_state_dict(saved["net"])
        if "optimizer" in saved:
            optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["minutes"]
    stream = batches(folder, step)
    for tick in runs.ticks(minutes, step, spent):
        runs.set_rate(optimizer, runs.rate(tick, 1.5e-3, warmup=100))
        wanted = next(stream).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            latents = net.encode(wanted).latents
            noisy = latents + LATENT_NOISE * torch.randn_like(latents)
            found = net.decode(noisy).sample
        loss = reconstruction_loss(found.float(), wanted)
        runs.descend(loss + 0.01 * whiteness_loss(latents), net, optimizer)
        mean = runs.running(mean, loss.item())
        if tick.step % 100 == 0:
            log.info("autoencoder step %d, %.0f %%, loss %.4f, deviation %.2f",
                     tick.step, 100 * tick.progress, mean, latents.float().std().item())  # fmt: skip
        if tick.step % 1000 == 0:
            keep(folder, net, optimizer, tick.step, tick.progress * minutes)
    keep(folder, net, optimizer, tick.step, minutes)


CRITIC_SHARE = 0.1
"""How strongly the decoder listens to the critic, against how strongly to the picture itself."""

CRITIC_FROM = 200
"""Step from which it does; before, the critic only learns."""


def critic() -> torch.nn.Module:
    """Tells overlapping patches of rendered pictures from decoded ones: [n, 3, h, w] to [n, 1, h / 8, w / 8],
    above 0 for rendered. A decoder that learns from distances alone gives the mean of all edges
    that there could be, which is a soft one; a critic sees that (Isola et al., 2017)."""
    from torch.nn import Conv2d, LeakyReLU, Sequential
    from torch.nn.utils.parametrizations import spectral_norm

    layers: list[torch.nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 96)):
        layers += [spectral_norm(Conv2d(before, after, 4, 2, 1)), LeakyReLU(0.2)]
    return Sequential(*layers, spectral_norm(Conv2d(96, 1, 3, 1, 1)))


def judged(critic: torch.nn.Module, optimizer: Any, wanted: Tensor, found: Tensor) -> None:
    """One step of the critic, on rendered pictures and on decoded ones."""
    real, made = critic(wanted), critic(found.detach())
    (F.relu(1 - real).mean() + F.relu(1 + made).mean()).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def balanced(decoder: Any, loss: Tensor, doubt: Tensor) -> Tensor:
    """Both losses, the second scaled so that it pulls `CRITIC_SHARE` times as hard at the last layer
    (Esser et al., 2021)."""
    last = list(decoder.parameters())[-2]
    mine, theirs = (
        torch.autograd.grad(part, last, retain_graph=True)[0].norm() for part in (loss, doubt)
    )
    return loss + doubt * (CRITIC_SHARE * mine / (theirs + 1e-6)).clamp(0, 100).detach()


def polish(folder: Path, minutes: float) -> None:
    """Train the decoder alone for `minutes` in all, against a critic that wants it sharp; latents keep
    their meaning, so the UNet fits still."""
    net = trained(folder).to(memory_format=torch.channels_last).train()
    net.encoder.requires_grad_(False)
    watching = critic().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        net.decoder.parameters(), lr=1e-3, betas=(0.5, 0.95), weight_decay=0.0, fused=True
    )
    theirs = torch.optim.AdamW(watching.parameters(), lr=4e-4, betas=(0.5, 0.95), fused=True)
    step, spent, mean = 0, 0.0, None
    if saved := runs.restore(folder / POLISHED):
        optimizer.load_state_dict(saved["optimizer"])
        watching.load_state_dict(saved["critic"])
        theirs.load_state_dict(saved["critic_optimizer"])
        step, spent = saved["step"], saved["minutes"]
    stream = batches(folder, step + 1)
    for tick in runs.ticks(minutes, step, spent):
        runs.set_rate(optimizer, runs.rate(tick, 5e-4, warmup=50))
        wanted = next(stream).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                latents = net.encode(wanted).latents
            found = net.decode(latents + LATENT_NOISE * torch.randn_like(latents)).sample.float()
            judged(watching, theirs, wanted, found)
            watching.requires_grad_(False)
            doubt = -watching(found).float().mean()
            watching.requires_grad_(True)
        loss = reconstruction_loss(found, wanted)
        whole = balanced(net.decoder, loss, doubt) if tick.step > CRITIC_FROM else loss
        runs.descend(whole, net.decoder, optimizer)
        mean = runs.running(mean, loss.item())
        if tick.step % 100 == 0:
            log.info("decoder step %d, %.0f %%, loss %.4f, critic %.3f",
                     tick.step, 100 * tick.progress, mean, doubt.item())  # fmt: skip
        if tick.step % 500 == 0:
            keep_polished(folder, net, optimizer, watching, theirs, tick.step, tick.progress * minutes)  # fmt: skip
    keep_polished(folder, net, optimizer, watching, theirs, tick.step, minutes)


def keep_polished(
    folder: Path, net: Any, optimizer: Any, critic: Any, theirs: Any, step: int, minutes: float
) -> None:
    both = {"critic": critic.state_dict(), "critic_optimizer": theirs.state_dict()}
    keep(folder, net, optimizer, step, minutes, POLISHED, both)


def keep(
    folder: Path,
    net: Any,
    optimizer: Any,
    step: int,
    minutes: float,
    name: str = CHECKPOINT,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write the checkpoint and a sheet of originals above what became of them."""
    from PIL import Image

    runs.save(folder / name, {"net": net.state_dict(), "optimizer": optimizer.state_dict(),
                                    "step": step, "minutes": minutes, **more})  # fmt: skip
    pixels = np.array(shards.pixels(folder, 0)[:24])
    again = reconstruct(net, pixels)
    log.info("autoencoder at %.1f minutes: %.2f dB", minutes, decibels(net, pixels))
    rows = [
        np.concatenate(list(row), 1)
        for k in (0, 12)
        for row in (pixels[k : k + 12], again[k : k + 12])
    ]
    Image.fromarray(np.concatenate(rows)).save(folder / "autoencoder.png")


@torch.no_grad()
def reconstruct(net: Any, pixels: np.ndarray) -> np.ndarray:
    """Encode and decode [n, h, w, 3] uint8."""
    found = net.decode(net.encode(to_tensor(pixels)).latents).sample
    return ((found.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def decibels(net: Any, pixels: np.ndarray) -> float:
    """Peak signal to noise of what comes back of [n, h, w, 3] uint8."""
    again = np.concatenate(
        [reconstruct(net, pixels[k : k + BATCH]) for k in range(0, len(pixels), BATCH)]
    )
    error = np.square(pixels.astype(np.float32) - again).mean()
    return float(10 * np.log10(255**2 / error))


def trained(folder: Path) -> Any:
    """The autoencoder as far as it is trained."""
    saved = runs.restore(folder / POLISHED) or runs.restore(folder / CHECKPOINT)
    if saved is None:
        message = "Train the autoencoder first."
        raise FileNotFoundError(message)
    net = create()
    net.load_state_dict(saved["net"])
    return net.eval()
