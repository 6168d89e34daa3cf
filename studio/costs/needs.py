"""Bytes that a job needs, predicted from its sizes; measured peaks correct the prediction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from studio.costs.anatomy import Anatomy
from studio.costs.machine import Machine
from studio.costs.plan import Plan, ways_on
from studio.costs.work import Pass, Work

LATENT_PX = 8
"""Pixels to a latent, along one side."""
STABLE_DIFFUSION_WIDTH = 320
DENOISING_BYTES = 0.01 * 2**20
"""A latent, a picture of the batch and a byte of the number format, at Stable Diffusion's width and
with attention that keeps no matrix; ComfyUI's figure."""
TRANSFORMER_WIDTH = 3072
TRANSFORMER_FACTOR = 2.8
"""The same for FLUX.1's transformer, beside Stable Diffusion's UNet."""
CONTROL_SHARE = 0.3
"""What a ControlNet's activations add to the denoiser's: half of it, most of it gone again."""
DECODING_VALUES = 2200 / 128
ENCODING_VALUES = 1100 / 128
"""Values that live at once, a pixel and a channel at full resolution; InvokeAI's 2200 and 1100 a
pixel for Stable Diffusion's autoencoder with 128 channels."""
TINY_VALUES = 6.0
TILED = 1.25
"""What blending tiles adds, and InvokeAI's figure."""
CONTROLNET = "controlnet:"
"""How the names of ControlNets begin among everything that is in memory."""
VAE = "vae:"
"""The same of autoencoders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """Bytes of a job under a plan."""

    weights: int
    """Of the checkpoint and its refiner, as far as they are there while it paints."""
    controls: int
    """Of ControlNets."""
    added: int
    """Of LoRAs, image prompts and other autoencoders."""
    picture: int
    """Of everything else at its largest: activations."""
    peak: int
    """At the job's most expensive moment. Not the sum: text encoders may be gone by then."""


def needs(
    work: Work,
    anatomy: Anatomy,
    beside: Mapping[str, int],
    *,
    machine: Machine,
    plan: Plan,
    factor: float = 1.0,
    refiner: Anatomy | None = None,
) -> Needs:
    """What a job needs under a plan.

    `beside` has parameters of what is read beside the checkpoint, as `controlnet:ID` and `vae:ID`;
    `factor` is what measured activations were of predicted ones before; `refiner` takes over for the
    last steps. On `machine` each of the two computes in numbers of its own.
    """
    bare, machine = machine, machine.painting(anatomy)
    value = machine.value
    heard = sum(size for name, size in beside.items() if name.startswith(CONTROLNET)) * value
    decodes = sum(size for name, size in beside.items() if name.startswith(VAE))
    added = sum(beside.values()) * value - heard + decodes * (machine.pixel_value - value)
    text = text_bytes(anatomy, value, plan)
    painting = denoiser_bytes(anatomy, value, plan) + rest_bytes(anatomy, machine)
    if refiner is not None:
        other = bare.painting(refiner)
        kept = plan if plan.kept in ways_on(bare, refiner) else replace(plan, kept="whole")
        painting += denoiser_bytes(refiner, other.value, kept) + rest_bytes(refiner, other)
        text += text_bytes(refiner, other.value, kept)
    picture = int(factor * activations(work, anatomy, machine=machine, plan=plan))
    weights = painting if plan.drop_text else painting + text
    return Needs(
        weights=weights,
        controls=heard,
        added=added,
        picture=picture,
        peak=heard + added + max(painting + text, weights + picture),
    )


def checkpoint_bytes(anatomy: Anatomy, machine: Machine, plan: Plan) -> int:
    """Bytes of everything that is read of it."""
    text = text_bytes(anatomy, machine.value, plan)
    denoiser = denoiser_bytes(anatomy, machine.value, plan)
    return text + denoiser + rest_bytes(anatomy, machine)


def denoiser_bytes(anatomy: Anatomy, value: int, plan: Plan) -> int:
    """Bytes of its weights while it paints; `value` is the size of a number in bytes."""
    if anatomy.exact and plan.kept in anatomy.exact.denoiser:
        return anatomy.exact.denoiser[plan.kept]
    if plan.kept == "packed" and anatomy.stored:
        return anatomy.stored
    if plan.kept == "fp8":
        return anatomy.denoiser
    if plan.kept == "blocks":
        return (anatomy.in_blocks or anatomy.denoiser) * value
    return anatomy.denoiser * value


def text_bytes(anatomy: Anatomy, value: int, plan: Plan) -> int:
    """Bytes of the weights of its text encoders while they read."""
    if anatomy.exact and plan.kept in anatomy.exact.text:
        return anatomy.exact.text[plan.kept]
    return anatomy.text * value if plan.kept == "whole" else anatomy.text_packed(value)


def rest_bytes(anatomy: Anatomy, machine: Machine) -> int:
    """Bytes of what is whole in every plan."""
    return anatomy.exact.rest if anatomy.exact else anatomy.vae * machine.pixel_value


def activations(work: Work, anatomy: Anatomy, *, machine: Machine, plan: Plan) -> int:
    """Bytes beside weights at the largest moment of a job's largest pass, before correction."""
    one = work.largest
    if one is None:
        return 0
    seen, nets = work.seen(one), len(work.controls)
    return max(
        denoising(one, seen, anatomy, machine.value, split=plan.split, nets=nets),
        coding(one, anatomy, machine.pixel_value, tile_px=plan.tile_px),
    )


def denoising(
    one: Pass, pixels: int, anatomy: Anatomy, value: int, *, split: bool, nets: int
) -> int:
    """Bytes of one call of the denoiser that sees so many pixels, with `nets` ControlNets before it."""
    latents = pixels / LATENT_PX**2
    if anatomy.convolves:
        wide = anatomy.width / STABLE_DIFFUSION_WIDTH
    else:
        wide = TRANSFORMER_FACTOR * anatomy.width / TRANSFORMER_WIDTH
    batch = 1 if split else one.batch
    return int(batch * latents * value * DENOISING_BYTES * wide * (1 + CONTROL_SHARE * nets))


def coding(one: Pass, anatomy: Anatomy, value: int, *, tile_px: int) -> int:
    """Bytes of decoding the picture, or of encoding the one before it where that takes more."""
    if anatomy.tiny_vae:
        values = TINY_VALUES
    else:
        values = max(DECODING_VALUES, ENCODING_VALUES if one.over else 0.0)
    tiled = 0 < tile_px < max(one.width, one.height)
    seen = min(one.width, tile_px) * min(one.height, tile_px) * TILED if tiled else one.pixels
    # the whole picture in colours, which tiles are put together into
    return int(seen * values * anatomy.vae_width * value) + (one.pixels * 3 * 4 if tiled else 0)
