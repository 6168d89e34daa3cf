"""Checkpoints to begin with, as data. Sizes are of what is fetched; the network tells the exact ones.

Memory is what painting at the native size needs in half precision, as far as it is known.
"""

from dataclasses import dataclass

from studio.checkpoints.install import pipelines


@dataclass(frozen=True, kw_only=True, slots=True)
class Starter:
    source: str
    """Repository on Hugging Face."""
    label: str
    about: str
    kind: str
    """diffusers class of its pipeline; one that no family has is not offered."""
    size_gb: float
    licence: str
    needs: str
    gated: bool = False
    """Its page asks for a login and for consent first."""


STARTERS = (
    Starter(
        source="stabilityai/sd-turbo",
        label="SD-Turbo",
        about="A picture in one to four steps: the quickest to try things out with, on a CPU too.",
        kind="StableDiffusionPipeline",
        size_gb=2.6,
        licence="Stability AI Community",
        needs="4 GB of VRAM, or 6 GB of RAM",
    ),
    Starter(
        source="Lykon/dreamshaper-8",
        label="DreamShaper 8",
        about="Stable Diffusion 1.5 at its best: portraits, paintings, fantasy at 512 px.",
        kind="StableDiffusionPipeline",
        size_gb=2.1,
        licence="CreativeML OpenRAIL-M",
        needs="4 GB of VRAM, or 6 GB of RAM",
    ),
    Starter(
        source="stable-diffusion-v1-5/stable-diffusion-v1-5",
        label="Stable Diffusion 1.5",
        about="The one that LoRAs and ControlNets of that kind were made for.",
        kind="StableDiffusionPipeline",
        size_gb=2.1,
        licence="CreativeML OpenRAIL-M",
        needs="4 GB of VRAM, or 6 GB of RAM",
    ),
    Starter(
        source="stabilityai/stable-diffusion-xl-base-1.0",
        label="Stable Diffusion XL",
        about="1024 px, with more LoRAs and ControlNets made for it than for any other.",
        kind="StableDiffusionXLPipeline",
        size_gb=7.0,
        licence="CreativeML OpenRAIL++-M",
        needs="8 GB of VRAM, or 16 GB of RAM",
    ),
    Starter(
        source="stabilityai/sdxl-turbo",
        label="SDXL-Turbo",
        about="SDXL in one to four steps, at 512 px.",
        kind="StableDiffusionXLPipeline",
        size_gb=7.0,
        licence="Stability AI Non-Commercial Community",
        needs="8 GB of VRAM, or 16 GB of RAM",
    ),
    Starter(
        source="Tongyi-MAI/Z-Image-Turbo",
        label="Z-Image-Turbo",
        about="Reads whole sentences, writes words into pictures, paints in eight steps.",
        kind="ZImagePipeline",
        size_gb=33,
        licence="Apache-2.0",
        needs="16 GB of VRAM, or 32 GB of RAM",
    ),
    Starter(
        source="black-forest-labs/FLUX.2-klein-4B",
        label="FLUX.2 klein 4B",
        about="A small, quick FLUX.2: paints and edits in four steps.",
        kind="Flux2KleinPipeline",
        size_gb=16,
        licence="Apache-2.0",
        needs="13 GB of VRAM, or 24 GB of RAM",
    ),
    Starter(
        source="black-forest-labs/FLUX.1-schnell",
        label="FLUX.1 schnell",
        about="Reads whole sentences and paints in four steps.",
        kind="FluxPipeline",
        size_gb=34,
        licence="Apache-2.0",
        needs="24 GB of VRAM, or 40 GB of RAM",
        gated=True,
    ),
)


def offered() -> tuple[Starter, ...]:
    """Those that a family of the studio can paint with."""
    known = pipelines()
    return tuple(starter for starter in STARTERS if starter.kind in known)
