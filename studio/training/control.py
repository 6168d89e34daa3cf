"""Train one ControlNet on edges, depth and poses of composed pictures; the UNet stays as it is."""

import copy
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from studio.training import autoencoder, compose, maps, runs, samples, shards, unet

log = logging.getLogger(__name__)

BATCH = 16

CHECKPOINT = "control.pt"

TRACED = "traced.pt"
"""Checkpoint of `tracing`; where there is one, its net is used."""

TRACED_STRENGTH = 1.3
"""As `STRENGTH`, of a net that was traced (1.0 and 1.15 measured too)."""

KIND_ODDS: tuple[tuple[str, float], ...] = (("edges", 0.45), ("depth", 0.15), ("pose", 0.4))
"""How often a batch is of each kind of map; depth is learnt soonest. One net learns all of them, since each looks like no
other: what it learns from one it knows for the next, and there is a third to store and to load."""

EMPTY_SHARE = 0.5
"""Share of captions left empty, so that the map alone must tell what is there."""

EMA = 0.998

COPIED_RATE, FRESH_RATE = 6e-4, 5e-3
"""Peaks of the learning rate: of layers copied from the UNet, and of those that start from nothing."""

STRENGTH = 2.0
"""What the trained net's answers are multiplied by for good. A short training ends before it dares as
much as is needed: so amplified, maps of every kind are kept to more closely (1.2, 1.5, 2.5 and 3.0 measured too)."""

SILU_GAIN = 1.7
"""What a layer before SiLU must amplify by for features to keep their strength."""

HINT_CHANNELS = (16, 32, 64, 96)
"""Of the layers that bring a map down to the size of latents, an eighth of its own."""

SAMPLE_SEED = 80_000
"""Of the pictures whose maps are watched and measured; no shard has it."""


def create(net: Any) -> Any:
    """A fresh ControlNet for a UNet: a copy of its first half that changes nothing yet."""
    from diffusers import ControlNetModel

    control = ControlNetModel.from_unet(net, conditioning_embedding_out_channels=HINT_CHANNELS)
    # Zeros at its very end suffice; if the map's way in began with zeros too, both would wait for
    # each other, and a short training would be over before it began.
    layers = control.controlnet_cond_embedding
    for layer in (layers.conv_in, *layers.blocks, layers.conv_out):
        torch.nn.init.normal_(layer.weight, std=SILU_GAIN / layer.weight[0].numel() ** 0.5)
    return control


@dataclass(frozen=True, slots=True)
class Steered:
    """A UNet under control, to be called as the UNet itself is."""

    net: Any
    control: Any
    hint: Tensor
    """[n, 3, 128, 128], 0.0–1.0."""

    def __call__(self, noisy: Tensor, steps: Tensor, context: Tensor, *, return_dict: bool) -> Any:
        down, middle = self.control(
            noisy, steps, context, controlnet_cond=self.hint, return_dict=False
        )
        return self.net(
            noisy, steps, context, down_block_additional_residuals=down,
            mid_block_additional_residual=middle, return_dict=return_dict,
        )  # fmt: skip


Batch = tuple[Tensor, Tensor, Tensor]
"""Latents of unit variance, contexts, hints."""


def batches(folder: Path, seed: int) -> Iterator[Batch]:
    """Endless batches, each of one kind. Raises `FileNotFoundError`."""
    rng = np.random.default_rng(seed)
    streams = {kind: of_kind(folder, kind, seed) for kind in maps.KINDS}
    while True:
        yield next(streams[compose.draw_odds(rng, KIND_ODDS)])


def of_kind(folder: Path, kind: str, seed: int) -> Iterator[Batch]:
    """Endless batches of one kind; those of poses show people only."""
    rng = np.random.default_rng(seed)
    empty = torch.from_numpy(np.load(folder / "empty.npy")).float()
    factor, names = unet.scaling(folder), shards.with_truth(folder)
    if not names:
        message = "Build the data with --truth first: ControlNets learn from depth and poses."
        raise FileNotFoundError(message)
    while True:
        for number in rng.permutation(names).tolist():
            pixels, near = shards.pixels(folder, number), shards.depth(folder, number)
            people = shards.people(folder, number)
            latents, contexts = (
                np.load(folder / "latents" / f"{number:04d}.{part}.npy", mmap_mode="r")
                for part in "zc"
            )
            fit = [k for k in range(len(pixels)) if kind != "pose" or people[k]]
            order = rng.permutation(fit)
            for start in range(0, len(order) - BATCH + 1, BATCH):
                rows = np.sort(order[start : start + BATCH])
                context = torch.from_numpy(contexts[rows]).float()
                context[torch.from_numpy(rng.random(BATCH) < EMPTY_SHARE)] = empty
                drawn = [
                    maps.VARIED[kind](rng, np.array(pixels[k]), near[k], people[k]) for k in rows
                ]
                yield (
                    torch.from_numpy(latents[rows]).float() * factor,
                    context,
                    autoencoder.to_unit(np.stack(drawn)),
                )


def draw_steps(count: int) -> Tensor:
    """Training steps 0–999, most of them noisy: there it is decided what goes where (Mou et al.,
    T2I-Adapter, 2023); the exact place of an edge is decided later."""
    return ((1 - torch.rand(count) ** 1.5) * 1000).long().clamp(0, 999)


def optimizer_of(control: Any) -> Any:
    """For the copied layers and for those that start from nothing, each at its own rate."""
    named = list(control.named_parameters())
    copied = [p for name, p in named if not name.startswith("controlnet_")]
    fresh = [p for name, p in named if name.startswith("controlnet_")]
    return torch.optim.AdamW(
        [{"params": copied}, {"params": fresh}], betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )


def learn(net: Any, control: Any, optimizer: Any, batch: Batch, alphas: Tensor) -> float:
    """One step of the ControlNet; gives the loss."""
    z, context, hint = batch
    steered = Steered(net, control, hint.to(memory_format=torch.channels_last))
    loss = unet.loss_of(steered, z, context, alphas, draw_steps(len(z)))
    runs.descend(loss, control, optimizer)
    return loss.item()


def train(
    folder: Path, minutes: float, sheet_every: float = 15.0, *, compiled: bool = False
) -> None:
    """As `unet.train`."""
    from diffusers.models.attention_processor import AttnProcessor

    unet.encode_shards(folder)
    net = unet.trained(folder)[0].to(memory_format=torch.channels_last).requires_grad_(False)
    control = create(net).to(memory_format=torch.channels_last).train()
    for part in (net, control):
        part.set_attn_processor(AttnProcessor())
    average = copy.deepcopy(control).requires_grad_(False)
    optimizer = optimizer_of(control)
    step, spent, seen, mean = 0, 0.0, 0, None
    if saved := runs.restore(folder / CHECKPOINT):
        control.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        if "optimizer" in saved:
            optimizer.load_state_dict(saved["optimizer"])
        step, spent, seen = saved["step"], saved["minutes"], saved["pictures"]
    if compiled:
        net.compile()
        control.compile()
    alphas, stream = unet.signal(), batches(folder, step)
    now = kept = shown = spent
    for tick in runs.ticks(minutes, step, spent):
        for group, peak in zip(optimizer.param_groups, (COPIED_RATE, FRESH_RATE), strict=True):
            group["lr"] = runs.rate(tick, peak, warmup=20)
        mean = runs.running(mean, learn(net, control, optimizer, next(stream), alphas))
        unet.follow(average, control, EMA, tick.step)
        step, now, seen = tick.step, tick.progress * minutes, seen + BATCH
        counts = {"step": step, "minutes": now, "pictures": seen}
        if step % 20 == 0:
            log.info("control step %d, %.1f minutes, loss %.4f", step, now, mean)
        if now - kept > 2:
            keep(folder, control, average, optimizer, counts)
            kept = now
        if now - shown > sheet_every:
            sheet(folder, average, folder / f"control-{round(now):03d}.png")
            shown = now
    counts = {"step": step, "minutes": max(minutes, spent), "pictures": seen}
    keep(folder, control, average, optimizer, counts)
    sheet(folder, average, folder / "control.png")


def keep(
    folder: Path,
    control: Any,
    average: Any,
    optimizer: Any,
    counts: dict[str, float],
    name: str = CHECKPOINT,
) -> None:
    """Write a checkpoint; `counts` are the steps, minutes and pictures so far."""
    state = {
        "net": control.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    runs.save(folder / name, {**state, **counts})


def trained(folder: Path, net: Any) -> tuple[Any, dict[str, float]] | None:
    """The averaged ControlNet, and the steps, minutes and pictures of all its training, if there is one."""
    saved = runs.restore(folder / CHECKPOINT)
    if saved is None:
        return None
    control = create(net)
    control.load_state_dict(saved["average"])
    amplify(control, STRENGTH)
    traced = runs.restore(folder / TRACED)
    if traced is not None:
        control.load_state_dict(traced["average"])
        amplify(control, TRACED_STRENGTH)
    counts = {
        name: saved[name] + (traced[name] if traced else 0)
        for name in ("step", "minutes", "pictures")
    }
    return control.eval(), counts


@torch.no_grad()
def amplify(control: Any, strength: float) -> None:
    """Multiply everything that the net says to a UNet by `strength`."""
    for layer in (*control.controlnet_down_blocks, control.controlnet_mid_block):
        for parameter in layer.parameters():
            parameter.mul_(strength)


def pipeline(folder: Path, control: Any) -> Any:
    """The stock pipeline of the model as trained so far, with a ControlNet."""
    return under_control(samples.pipeline(folder, unet.trained(folder)[0]), control)


def under_control(pipe: Any, control: Any) -> Any:
    """The stock pipeline of another one's parts, with a ControlNet."""
    from diffusers import StableDiffusionControlNetPipeline

    steered = StableDiffusionControlNetPipeline(
        **pipe.components, controlnet=control, requires_safety_checker=False
    )
    steered.set_progress_bar_config(disable=True)
    return steered


@torch.no_grad()
def draw(
    pipe: Any, prompts: list[str], drawn: list[np.ndarray], *, scale: float, seed: int = 7
) -> list[Image.Image]:
    """A picture for each prompt and map; the seeds do not depend on `scale`, 0.0 is no control."""
    found: list[Image.Image] = []
    for start in range(0, len(prompts), BATCH):
        part = slice(start, start + BATCH)
        count = len(prompts[part])
        generators = [torch.Generator().manual_seed(seed + start + k) for k in range(count)]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found += pipe(
                prompts[part], image=[Image.fromarray(m) for m in drawn[part]], height=128, width=128,
                num_inference_steps=samples.STEPS, guidance_scale=samples.GUIDANCE, generator=generators,
                controlnet_conditioning_scale=scale,
            ).images  # fmt: skip
    return found


def sheet(folder: Path, control: Any, target: Path, count: int = 6) -> None:
    """Rows of map, picture under control, the same seed without it, and the picture of the map."""
    library, pipe = compose.load(folder), pipeline(folder, control)
    pictures: list[Image.Image] = []
    for kind in maps.KINDS:
        share = 1.0 if kind == "pose" else compose.PEOPLE_SHARE
        made = compose.draw(SAMPLE_SEED, count, library, share)
        drawn = exact_maps(kind, made)
        columns = [draw(pipe, list(made.captions), drawn, scale=scale) for scale in (1.0, 0.0)]
        rows = zip(
            map(Image.fromarray, drawn), *columns, map(Image.fromarray, made.pixels), strict=True
        )
        pictures += [picture for row in rows for picture in row]
    samples.tile(pictures, 8).save(target)


def exact_maps(kind: str, made: compose.Pictures) -> list[np.ndarray]:
    return [
        maps.exact(kind, *row) for row in zip(made.pixels, made.depth, made.people, strict=True)
    ]


# --- Export -----------------------------------------------------------------------------------

LABEL = "Pochade control"

HISTORY = "training.json"

CARD = """---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
---

# The ControlNet of Pochade's built-in model

It makes the model in `../builtin` follow a map of 128 x 128 pixels, of any of three kinds:

- edges, white on black (Canny, line art, soft edges, scribble),
- depth, near is bright,
- people, drawn as OpenPose's 18 points.

A plain `ControlNetModel` of diffusers in half precision, {size:.0f} MB, which fits that UNet only:

    control = ControlNetModel.from_pretrained("assets/builtin-control")
    pipe = StableDiffusionControlNetPipeline.from_pretrained("assets/builtin", controlnet=control)

## How well it is followed
{adherence}
## How it was trained

By `python -m studio.training control` and, to keep to edges more closely, `tracing`: {step:,.0f} steps in {minutes:.0f} minutes of shared CPU cores, {pictures:,.0f}
pictures composed by rule, whose depth and whose people's joints are known exactly. Maps are drawn as the studio's
preprocessors draw them and varied: several ways to find edges, blurred and estimated depth, missing joints.
{empty:.0%} empty captions. At the end it painted under maps of edges, and learnt from where Canny finds edges in what
it painted. The UNet stayed as it was.

## What it cannot do

It knows the model's own world: illustrated things, simple scenes, people of one drawn kind. Maps of photographs
are followed in their large shapes at best. A part of a map that is finer than eight pixels is seen only roughly.

The pictures are made of the sets that `../builtin/README.md` lists with their licences; people, scenes, depth and
poses are drawn by code of this repository.
"""


def export(folder: Path, target: Path, pipe: Any) -> bool:
    """Write the ControlNet to `target` if there is a checkpoint; `pipe` is the exported model, with
    which it is measured. Tells whether there was one."""
    from studio.training import adherence

    found = trained(folder, unet.trained(folder)[0])
    if found is None:
        return False
    control, counts = found
    write(control, target)
    library, steered = compose.load(folder), under_control(pipe, control)
    measurer = adherence.surveyor_for(folder, pipe.vae)
    measured = [
        found
        for kind in maps.KINDS
        for found in adherence.measure(steered, kind, library, measurer)
    ]
    size = sum(path.stat().st_size for path in target.glob("*.safetensors")) / 1e6
    (target / HISTORY).write_text(json.dumps(counts, indent=2) + "\n")
    (target / "README.md").write_text(
        CARD.format(size=size, empty=EMPTY_SHARE, adherence=adherence.table(measured), **counts)
    )
    return True


def write(control: Any, target: Path) -> None:
    """Save a ControlNet in half precision, as the studio and plain diffusers read it."""
    copy.deepcopy(control).to(torch.float16).save_pretrained(target, safe_serialization=True)
    noted = {"kinds": list(maps.KINDS), "label": LABEL}
    (target / "pochade.json").write_text(json.dumps(noted, indent=2) + "\n")
