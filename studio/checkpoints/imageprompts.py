"""Image prompts (IP-Adapter, FLUX.1 Redux) on disk, and the networks that look at pictures for them."""

import re
import threading
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Literal

from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.header import BadFile, as_named, read_header
from studio.checkpoints.ids import free_id
from studio.checkpoints.scan import PICKLED, Found, Stamp, scan, sidecar_of
from studio.checkpoints.sidecar import read_sidecar
from studio.core.errors import InvalidRequest
from studio.core.layouts import Kind
from studio.families._keys import Shapes

FOLDER = Kind.IPADAPTER.value
"""The folder of the data folder for both."""
CONFIG = "config.json"
_REPOSITORY = "h94/IP-Adapter"
_SIGLIP = "Comfy-Org/sigclip_vision_384 sigclip_vision_patch14_384.safetensors"
"""Where what looks for Redux is handed out to everybody."""
_PUBLISHED = {
    768: ("h94/IP-Adapter models/ip-adapter_sd15.safetensors", "45 MB"),
    2048: ("h94/IP-Adapter sdxl_models/ip-adapter_sdxl_vit-h.safetensors", "0.7 GB"),
}
"""IP-Adapters that are handed out to everybody, by the width of the text states they speak to."""
_REDUX = ("black-forest-labs/FLUX.1-Redux-dev flux1-redux-dev.safetensors", "0.1 GB")
_BIGGER = {True: 1280, False: 1664}
"""What the larger of the two usual networks gives, in one row and for patches."""
_FACES = re.compile("perceiver_resampler|_lora\\.")
_FACES_WIDE = 512
"""What a network for faces says of one in a row."""
LEVEL = "vision_model."
"""In the names of a vision network's layers; transformers leaves it out where nothing lies beside
them."""
PARTS = (
    "embeddings.",
    "encoder.",
    "pre_layrnorm.",
    "post_layernorm.",
    "head.",
    "visual_projection.",
)
"""How the names of a vision network's tensors begin below that level."""
_CALLED = re.compile("ip.?adapter", re.IGNORECASE)
_CALLED_FACES = re.compile("face.?id", re.IGNORECASE)
NOT_FACES = "It is one of FaceID, which is told who somebody is; the studio recognises nobody."
NOT_PICKLED = "It is a pickled file, which can run code and is not loaded."


Eyes = Literal["clip", "siglip"]
"""Which kind of vision network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePrompt:
    """Weights that let a denoiser look at pictures as it looks at words."""

    id: str
    """Its path below the folder without its ending."""
    label: str
    path: Path
    context: int
    """Width of the text states of the denoisers it fits."""
    projected: bool
    """Whether it is told the whole picture in one row (plain), or patches of it (plus, full)."""
    sees: int
    """Width of what it must be told."""
    size_bytes: int
    parameters: int
    stamp: Stamp
    eyes: Eyes = "clip"
    """What it is told by. SigLIP tells one whose tokens follow those of the prompt (Redux), CLIP one
    that speaks to layers of the denoiser."""
    problem: str = ""
    """Why it cannot be used, as a sentence; empty if it can."""

    def fits(self, checkpoint: Checkpoint) -> bool:
        if self.problem:
            return False
        if self.eyes == "siglip":
            return checkpoint.words == self.context
        return checkpoint.encoder is not None and checkpoint.encoder.context == self.context


@dataclass(frozen=True, kw_only=True, slots=True)
class Looker:
    """A vision network."""

    id: str
    path: Path
    width: int
    """Of its layers."""
    projection: int
    """Of the one row that it makes of a whole picture; 0 where it makes none."""
    eyes: Eyes
    patches: int
    """That it sees of a picture."""
    parameters: int
    """Of the network, without what else its file holds."""
    stamp: Stamp


class ImagePrompts:
    """What of both lies below some folders, as it is at this moment. For any thread."""

    def __init__(self, folders: tuple[Path, ...] = ()) -> None:
        """`folders` need not exist. The first one that has an id keeps it; what has it too goes by its
        folder's name as well."""
        self._folders = folders
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, Stamp], ImagePrompt | Looker | None] = {}

    def all(self) -> tuple[ImagePrompt, ...]:
        return tuple(found for found in self._listed() if isinstance(found, ImagePrompt))

    def get(self, prompt_id: str | None, checkpoint: Checkpoint) -> ImagePrompt:
        """The one of that id, or the first one that fits. Raises `InvalidRequest`."""
        listed = self.all()
        eyes, called = _eyes(checkpoint), _called(checkpoint)
        if prompt_id is None:
            for prompt in listed:
                if prompt.fits(checkpoint):
                    return prompt
            problems = (
                f" '{one.label}': {one.problem}"
                for one in listed
                if one.problem and one.eyes == eyes
            )
            useless = next(problems, "")
            raise InvalidRequest(
                f"There is no {called} that fits '{checkpoint.label}'.{useless}",
                f"{_how(checkpoint)}{_instead(checkpoint)}.",
                field="references",
            )
        for prompt in listed:
            if prompt.id == prompt_id:
                if prompt.fits(checkpoint):
                    return prompt
                if prompt.problem and prompt.eyes == eyes:
                    raise InvalidRequest(
                        f"The IP-Adapter '{prompt.label}' cannot be used. {prompt.problem}",
                        "Take another one as .safetensors: plain, plus, or plus-face for faces.",
                        field="references",
                    )
                raise InvalidRequest(
                    f"'{prompt.label}' is not made for '{checkpoint.label}'.",
                    f"Choose another {called} or another checkpoint.",
                    field="references",
                )
        raise InvalidRequest(
            f"There is no {called} '{prompt_id[:60]}'.",
            f"Put it into the folder '{FOLDER}' of the data folder, or choose another one.",
            field="references",
        )

    def looker(self, prompt: ImagePrompt) -> Looker:
        """The network that sees what this image prompt must be told. Raises `InvalidRequest`."""
        for found in self._listed():
            if isinstance(found, Looker) and found.eyes == prompt.eyes:
                made = found.projection if prompt.projected else found.width
                if made == prompt.sees:
                    return found
        if prompt.eyes == "siglip":
            raise InvalidRequest(
                f"The image encoder of '{prompt.label}' is not here (SigLIP so400m, 0.9 GB): neither "
                f"in the folder {FOLDER} of the data folder nor in the cache of Hugging Face.",
                f"Run 'hf download {_SIGLIP} --local-dir {FOLDER}' in the data folder.",
                field="references",
            )
        big = prompt.sees == _BIGGER[prompt.projected]
        place, name, size = (
            ("sdxl_models", "ViT-bigG", "3.7 GB") if big else ("models", "ViT-H", "2.5 GB")
        )
        files = " ".join(f"{place}/image_encoder/{file}" for file in ("model.safetensors", CONFIG))
        raise InvalidRequest(
            f"The image encoder of '{prompt.label}' is not here (CLIP {name}, {size}): neither in "
            f"the folder {FOLDER} of the data folder nor in the cache of Hugging Face.",
            f"Run 'hf download {_REPOSITORY} {files} --local-dir {FOLDER}' in the data folder, or "
            "use shared attention, which needs none.",
            field="references",
        )

    def _listed(self) -> tuple[ImagePrompt | Looker, ...]:
        with self._lock:
            seen: dict[tuple[str, Stamp], ImagePrompt | Looker | None] = {}
            listed: dict[str, ImagePrompt | Looker] = {}
            taken, places = dict[str, Path](), set[Path]()
            for folder in self._folders:
                for found in scan(folder):
                    if found.path in places:
                        continue
                    key = (str(found.path), found.stamp)
                    seen[key] = self._seen[key] if key in self._seen else inspect(found)
                    if one := seen[key]:
                        own = free_id(found.path, folder, taken, one.id)
                        taken[own] = found.path
                        places.add(found.path)
                        listed[own] = one if own == one.id else _renamed(one, own)
            self._seen = seen
            return tuple(listed.values())


def _renamed(one: ImagePrompt | Looker, own: str) -> ImagePrompt | Looker:
    """The same, beside another one of its name."""
    return replace(one, id=own) if isinstance(one, Looker) else replace(one, id=own, label=own)


def _eyes(checkpoint: Checkpoint) -> Eyes:
    """What image prompts for it are told by."""
    return "siglip" if checkpoint.words else "clip"


def _called(checkpoint: Checkpoint) -> str:
    """What image prompts for it are called."""
    return "Redux" if checkpoint.words else "IP-Adapter"


def _how(checkpoint: Checkpoint) -> str:
    """How to get one that fits it."""
    context = checkpoint.encoder.context if checkpoint.encoder else 0
    published = _REDUX if checkpoint.words else _PUBLISHED.get(context)
    if published is None:
        return f"Put one into the folder '{FOLDER}' of the data folder"
    files, size = published
    return f"Run 'hf download {files} --local-dir {FOLDER}' in the data folder ({size})"


def _instead(checkpoint: Checkpoint) -> str:
    return "" if checkpoint.words else ", or use shared attention, which needs none"


def inspect(found: Found) -> ImagePrompt | Looker | None:
    """What a file is by its keys, and for a pickled one by its name; None if it is neither, or
    cannot be read."""
    if found.layout != "file":
        return None
    if found.path.suffix.lower() in PICKLED:
        name = found.path.name
        faces = NOT_FACES if _CALLED_FACES.search(name) else NOT_PICKLED
        return _useless(found, faces) if _CALLED.search(name) else None
    try:
        with as_named(found.path):
            return _known(found)
    except (BadFile, OSError):
        return None


def _known(found: Found) -> ImagePrompt | Looker | None:
    header = read_header(found.path)
    shapes = header.shapes
    if looker := _looker(found, shapes):
        return looker
    if _wants_faces(shapes):
        return _useless(found, NOT_FACES)
    noted = read_sidecar(sidecar_of(found.path))
    label = noted.label or found.id.rpartition("/")[2]
    parameters = sum(map(prod, shapes.values()))
    if {"redux_up.weight", "redux_down.weight"} <= shapes.keys():
        return ImagePrompt(
            id=found.id,
            label=label,
            path=found.path,
            context=shapes["redux_down.weight"][0],
            projected=False,
            sees=shapes["redux_up.weight"][-1],
            size_bytes=header.size_bytes,
            parameters=parameters,
            eyes="siglip",
            stamp=found.stamp,
        )
    told = _told(shapes)
    first = shapes.get("ip_adapter.1.to_k_ip.weight")
    if told is None or first is None or len(first) != 2:
        return None
    projected, sees = told
    return ImagePrompt(
        id=found.id,
        label=label,
        path=found.path,
        context=first[1],
        projected=projected,
        sees=sees,
        size_bytes=header.size_bytes,
        parameters=parameters,
        stamp=found.stamp,
    )


def _looker(found: Found, shapes: Shapes) -> Looker | None:
    own = {key.removeprefix(LEVEL): shape for key, shape in shapes.items()}
    if "embeddings.patch_embedding.weight" not in own:
        return None
    eyes: Eyes = "clip"
    projection, width = own.get("visual_projection.weight", (0, 0))
    if probe := own.get("head.probe"):  # SigLIP's alone
        eyes, width = "siglip", probe[-1]
    places = own.get("embeddings.position_embedding.weight", (0,))[0]
    if not width:
        return None
    return Looker(
        id=found.id,
        path=found.path,
        width=width,
        projection=projection,
        eyes=eyes,
        # CLIP has a place for the whole picture beside those of its patches
        patches=places - (eyes == "clip"),
        parameters=sum(prod(shape) for key, shape in own.items() if key.startswith(PARTS)),
        stamp=found.stamp,
    )


def _useless(found: Found, problem: str) -> ImagePrompt:
    return ImagePrompt(
        id=found.id,
        label=found.id.rpartition("/")[2],
        path=found.path,
        context=0,
        projected=False,
        sees=0,
        size_bytes=0,
        parameters=0,
        stamp=found.stamp,
        problem=problem,
    )


def _wants_faces(shapes: Shapes) -> bool:
    if not any(key.startswith("image_proj.") for key in shapes):
        return False
    first = shapes.get("image_proj.proj.0.weight", (0, 0))[-1]
    portrait = first == _FACES_WIDE and "image_proj.proj.3.weight" not in shapes
    return portrait or any(_FACES.search(key) for key in shapes)


def _told(shapes: Shapes) -> tuple[bool, int] | None:
    """Whether in one row, and how wide that or a patch is."""
    if "image_proj.proj.weight" in shapes:
        return True, shapes["image_proj.proj.weight"][-1]
    if "image_proj.proj.3.weight" in shapes:
        return False, shapes["image_proj.proj.0.weight"][0]
    if "image_proj.latents" in shapes and "image_proj.proj_in.weight" in shapes:
        return False, shapes["image_proj.proj_in.weight"][1]
    return None
