"""Where weights of each kind lie: in the data folder, and below the folders of other programs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """What weights are for; also the name of their folder in the data folder."""

    CHECKPOINTS = "checkpoints"
    LORAS = "loras"
    EMBEDDINGS = "embeddings"
    VAE = "vae"
    CONTROLNET = "controlnet"
    IPADAPTER = "ipadapter"
    """Image prompts, and the networks that look at the pictures."""
    UPSCALERS = "upscalers"
    TEXT_ENCODERS = "text_encoders"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a program sorts its weights."""

    program: str
    marks: tuple[str, ...]
    """Folders that no other layout has; one of them is enough."""
    folders: Mapping[Kind, tuple[str, ...]]
    """Below the folder that has the mark; `*` stands for any name."""


LAYOUTS = (
    Layout(
        "A1111",
        ("models/Stable-diffusion",),
        {
            Kind.CHECKPOINTS: ("models/Stable-diffusion", "models/Diffusers", "models/UNET"),
            Kind.LORAS: ("models/Lora", "models/LyCORIS"),
            Kind.EMBEDDINGS: ("embeddings", "models/embeddings"),
            Kind.VAE: ("models/VAE",),
            Kind.CONTROLNET: (
                "models/ControlNet",
                "models/control/controlnet",
                "extensions/sd-webui-controlnet/models",
            ),
            Kind.IPADAPTER: ("models/IPAdapter", "extensions/sd-webui-controlnet/models"),
            Kind.UPSCALERS: (
                "models/ESRGAN",
                "models/RealESRGAN",
                "models/SwinIR",
                "models/DAT",
                "models/HAT",
            ),
            Kind.TEXT_ENCODERS: ("models/text_encoder", "models/Text-encoder"),
        },
    ),
    Layout(
        "ComfyUI",
        ("models/checkpoints", "models/diffusion_models", "models/loras"),
        {
            Kind.CHECKPOINTS: (
                "models/checkpoints",
                "models/diffusers",
                "models/diffusion_models",
                "models/unet",
            ),
            Kind.LORAS: ("models/loras",),
            Kind.EMBEDDINGS: ("models/embeddings",),
            Kind.VAE: ("models/vae",),
            Kind.CONTROLNET: (
                "models/controlnet",
                "models/model_patches",
                "models/xlabs/controlnets",
            ),
            Kind.IPADAPTER: ("models/ipadapter", "models/style_models", "models/clip_vision"),
            Kind.UPSCALERS: ("models/upscale_models", "models/upscalers"),
            Kind.TEXT_ENCODERS: ("models/text_encoders", "models/clip"),
        },
    ),
    Layout(
        "InvokeAI",
        ("models/*/main", "autoimport/main", "databases/invokeai.db"),
        {
            Kind.CHECKPOINTS: ("models/*/main", "autoimport/main"),
            Kind.LORAS: ("models/*/lora", "autoimport/lora"),
            Kind.EMBEDDINGS: ("models/*/embedding", "autoimport/embedding"),
            Kind.VAE: ("models/*/vae",),
            Kind.CONTROLNET: ("models/*/controlnet", "autoimport/controlnet"),
            Kind.IPADAPTER: ("models/*/ip_adapter", "models/*/clip_vision"),
            Kind.UPSCALERS: ("models/*/spandrel_image_to_image",),
            Kind.TEXT_ENCODERS: ("models/*/t5_encoder", "models/*/clip_embed"),
        },
    ),
)

KEY = re.compile("-".join(f"[0-9a-f]{{{digits}}}" for digits in (8, 4, 4, 4, 12)))
"""What InvokeAI's keys look like."""
IN_THE_HUB = frozenset({Kind.CHECKPOINTS, Kind.LORAS, Kind.VAE, Kind.CONTROLNET, Kind.IPADAPTER})
"""Kinds that are told by their keys, so that they are found among everything else."""


def folders_below(root: Path, kind: Kind) -> tuple[Path, ...]:
    """Where `kind` lies below a folder of weights, told by its layout.

    The folder may be a program's own or the `models` in it. Hugging Face's cache has in one what is
    told by its keys, and so has what InvokeAI keeps by key: every kind, since somebody put it there to
    paint with. A folder of no known layout is taken for one of checkpoints. One that is missing or
    cannot be read has none.
    """
    try:
        if is_hub(root):
            return (root,) if kind in IN_THE_HUB else ()
        if is_hub(root / "hub"):
            return folders_below(root / "hub", kind)
        for place in (root, root / "models"):
            if place.is_dir() and is_keyed(place):
                return (place,)
        for marks, below in _as_given(LAYOUTS):
            if any(_matching(root, mark) for mark in marks):
                found = [path for name in below.get(kind, ()) for path in _matching(root, name)]
                return tuple(dict.fromkeys(found))
    except OSError:
        return ()
    return (root,) if kind is Kind.CHECKPOINTS else ()


def is_hub(folder: Path) -> bool:
    """Whether it is laid out as Hugging Face's cache: `models--owner--name/snapshots/…`."""
    return any(_matching(folder, "models--*/snapshots"))


def is_keyed(folder: Path) -> bool:
    """Whether it is laid out as InvokeAI's `models` of today: a folder for each of them, named by
    its key, and no others (invoke-ai/InvokeAI#8607). Raises `OSError`."""
    inside = [one for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".")]
    return bool(inside) and all(KEY.fullmatch(one.name) for one in inside)


def _as_given(
    layouts: tuple[Layout, ...],
) -> Iterator[tuple[tuple[str, ...], Mapping[Kind, tuple[str, ...]]]]:
    """Marks and folders of each, then the same as seen from inside `models`."""
    for layout in layouts:
        yield layout.marks, layout.folders
    for layout in layouts:
        inside = {kind: _inside(names) for kind, names in layout.folders.items()}
        if marks := _inside(layout.marks):
            yield marks, inside


def _inside(names: tuple[str, ...]) -> tuple[str, ...]:
    head = "models/"
    return tuple(name.removeprefix(head) for name in names if name.startswith(head))


def _matching(root: Path, name: str) -> list[Path]:
    if "*" not in name:
        path = root / name
        return [path] if path.exists() else []
    return sorted(root.glob(name))
