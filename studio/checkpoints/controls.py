"""ControlNets on disk: which there are, what they listen to, and which checkpoints they fit."""

import re
import threading
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from studio.checkpoints.header import BadFile, Header, as_named, read_header
from studio.checkpoints.scan import PICKLED, SIDECAR, Found, Stamp, file_stamp, scan, sidecar_of
from studio.checkpoints.sidecar import read_sidecar
from studio.core.errors import InvalidRequest
from studio.families._keys import Shapes

WEIGHTS = "diffusion_pytorch_model"
"""What diffusers calls the file in a ControlNet's folder; the folder's name says more."""

_KINDS = {
    "edges": r"canny|edge|line|hed|scribble|mlsd|sketch|pidi|teed",
    "depth": r"depth|midas|zoe",
    "pose": r"pose",
    "normals": r"normal",
    "segments": r"seg",
    "tile": r"tile",
    "shuffle": r"shuffle",
}
_EVERY_KIND = r"union|promax"
"""One network that listens to all kinds of maps."""
SOFT_EDGES = "soft edges"
TOLD_APART = ("pose", "depth", SOFT_EDGES, "edges", "normals", "segments", "tile")
"""What the maps of a union (ControlNet++) show, by the number it knows them under; there is one for
inpainting after them."""


_ELSEWHERE = {
    "controlnet_x_embedder.weight": "FLUX.1 or Qwen-Image",
    "pos_embed_input.proj.weight": "Stable Diffusion 3",
}
"""Kinds of ControlNets that are known by their keys, and for what no denoiser listens here."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """The shape of a denoiser's first half, which a ControlNet is a copy of."""

    channels: int
    """After its first convolution."""
    context: int
    """Width of the text states it attends to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlNet:
    """Weights that steer a denoiser by a map."""

    id: str
    """Its path below the folder without its ending; a folder's name where diffusers made it."""
    label: str
    kinds: tuple[str, ...]
    """What its maps may show, as its `pochade.json` says or else its name tells; empty if neither
    does."""
    path: Path
    encoder: Encoder | None
    """Of the denoisers it was made for; None where the studio steers none of that kind."""
    size_bytes: int
    stamp: Stamp
    parameters: int = 0
    types: int = 0
    """How many kinds of maps it has to be told apart by number, see `TOLD_APART`; 0 if it is told
    nothing."""
    problem: str = ""
    """Why it cannot be used, as a sentence; empty if it can."""

    def fits(self, encoder: Encoder | None) -> bool:
        """Whether it was made for denoisers of that shape."""
        return self.encoder is not None and self.encoder == encoder

    def require_fits(self, checkpoint: str, encoder: Encoder | None) -> None:
        """Raises `InvalidRequest` if not; `checkpoint` is what the one with that denoiser is
        called."""
        if self.problem:
            raise InvalidRequest(
                f"The ControlNet '{self.label}' cannot be used. {self.problem}",
                "Choose another ControlNet, or another checkpoint with one that fits it.",
                field="units",
            )
        if not self.fits(encoder):
            raise InvalidRequest(
                f"The ControlNet '{self.label}' is not made for '{checkpoint}'.",
                "Choose another ControlNet or another checkpoint.",
                field="units",
            )


class Controls:
    """The ControlNets in and below some folders, as they are at this moment. For any thread."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        """`folders` need not exist; each may be a ControlNet itself. The first one that has an id
        keeps it."""
        self._folders = folders
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, Stamp], ControlNet | None] = {}

    def all(self) -> tuple[ControlNet, ...]:
        """Only what is one by its keys; everything else in the folders is passed over."""
        with self._lock:
            seen: dict[tuple[str, Stamp], ControlNet | None] = {}
            listed: dict[str, ControlNet] = {}
            for folder in self._folders:
                for found in map(_with_note, scan(folder)):
                    key = (str(found.path), found.stamp)
                    seen[key] = self._seen[key] if key in self._seen else inspect(found)
                    if control := seen[key]:
                        listed.setdefault(control.id, control)
            self._seen = seen
            return tuple(listed.values())

    def fitting(self, encoder: Encoder | None) -> tuple[ControlNet, ...]:
        """Those made for denoisers of that shape."""
        return tuple(control for control in self.all() if control.fits(encoder))

    def get(self, control_id: str) -> ControlNet:
        """Raises `InvalidRequest`."""
        for control in self.all():
            if control.id == control_id:
                return control
        raise InvalidRequest(
            f"There is no ControlNet '{control_id[:60]}'.",
            "Put it into the folder 'controlnet' of the data folder, or choose another one.",
            field="units",
        )


def inspect(found: Found) -> ControlNet | None:
    """What a file is by its keys; None if it is no ControlNet, or cannot be read."""
    if found.layout != "file" or found.path.suffix.lower() in PICKLED:
        return None
    try:
        with as_named():
            return _known(found)
    except (BadFile, OSError):
        return None


def _known(found: Found) -> ControlNet | None:
    header = read_header(found.path)
    encoder = _encoder_of_control(header.shapes)
    other = next((label for key, label in _ELSEWHERE.items() if key in header.shapes), "")
    if encoder is None and not other:
        return None
    control = _named(found, header, encoder)
    if not other:
        return control
    return replace(control, problem=f"It was made for {other}, which the studio cannot steer yet.")


def types_of(shapes: Shapes) -> int:
    """How many kinds of maps a union tells apart; 0 if it is none."""
    return shapes.get("task_embedding", (0,))[0]


def encoder_of(shapes: Shapes) -> Encoder | None:
    """Of a checkpoint's denoiser; None if it is of a kind that no ControlNet here is for."""
    for prefix, first in (
        ("unet.", "unet.conv_in.weight"),
        ("model.diffusion_model.", "model.diffusion_model.input_blocks.0.0.weight"),
    ):
        if first in shapes:
            return _encoder(shapes, prefix, first)
    return None


def _encoder_of_control(shapes: Shapes) -> Encoder | None:
    if "controlnet_cond_embedding.conv_in.weight" in shapes:
        return _encoder(shapes, "", "conv_in.weight")
    if "control_model.input_hint_block.0.weight" in shapes:
        return _encoder(shapes, "control_model.", "control_model.input_blocks.0.0.weight")
    return None


def _encoder(shapes: Shapes, prefix: str, first: str) -> Encoder | None:
    ending = "attn2.to_k.weight"
    attends = next((k for k in sorted(shapes) if k.startswith(prefix) and k.endswith(ending)), "")
    if first not in shapes or not attends:
        return None
    return Encoder(channels=shapes[first][0], context=shapes[attends][1])


def _with_note(found: Found) -> Found:
    """So that a changed note is a changed ControlNet, also where it lies in a folder of its own."""
    if not _is_folder(found):
        return found
    try:
        return replace(found, stamp=found.stamp + file_stamp(found.path.parent / SIDECAR))
    except OSError:
        return found


def _is_folder(found: Found) -> bool:
    return found.path.name.startswith(WEIGHTS)


def _of_folder(found: Found) -> str:
    """The name of a folder, and what tells one of its files from the others: `_promax`."""
    own = found.id.rpartition("/")[0] or found.path.parent.name
    return own + found.path.name.removeprefix(WEIGHTS).partition(".")[0]


def _named(found: Found, header: Header, encoder: Encoder | None) -> ControlNet:
    own = found.id
    if _is_folder(found):
        own = _of_folder(found)
    types = types_of(header.shapes)
    noted = read_sidecar(sidecar_of(found.path.parent if _is_folder(found) else found.path))
    return ControlNet(
        id=own,
        label=noted.label or own.rpartition("/")[2],
        kinds=noted.kinds or ((noted.kind,) if noted.kind else _kinds(own, types)),
        path=found.path,
        encoder=encoder,
        size_bytes=header.size_bytes,
        parameters=sum(prod(shape) for shape in header.shapes.values()),
        stamp=found.stamp,
        types=types,
    )


def _kinds(name: str, types: int) -> tuple[str, ...]:
    if types:
        known = TOLD_APART[:types]
        return tuple(kind for kind in _KINDS if kind in known)
    said = name.rpartition("/")[2].lower()
    if re.search(_EVERY_KIND, said):
        return tuple(_KINDS)
    return tuple(kind for kind, words in _KINDS.items() if re.search(words, said))[:1]
