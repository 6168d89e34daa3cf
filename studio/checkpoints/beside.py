"""Networks that a single file lacks and that lie elsewhere: in files of their own, or in folders.

What a file is, its keys say; only where those of two families are alike, as of the autoencoders of
FLUX.1 and Stable Diffusion 3, one is passed over whose name says the other (`Need.others`).
"""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.checkpoints.folder import Part
from studio.checkpoints.gguf import read_any
from studio.checkpoints.header import BadFile, Tensor, as_named
from studio.checkpoints.latents import latent_channels
from studio.checkpoints.originals import is_plain
from studio.checkpoints.scan import GENERIC, PICKLED, Found, Stamp, file_stamp, folder_stamp, scan
from studio.core.layouts import Kind as Place
from studio.families._family import Need
from studio.families._keys import Shapes

Kind = Literal["vae", "clip", "t5"]

_PREFIXES = (
    "",
    "text_encoders.clip_l.transformer.",
    "text_encoders.clip_g.transformer.",
    "text_encoders.t5xxl.transformer.",
)
_CLIP = "text_model.embeddings.token_embedding.weight"
_T5 = "encoder.block.0.layer.0.SelfAttention.q.weight"
_GATED = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"
_CLASSES: Mapping[str, Kind] = {
    "AutoencoderKL": "vae",
    "CLIPTextModel": "clip",
    "CLIPTextModelWithProjection": "clip",
    "T5EncoderModel": "t5",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """A network that checkpoints may borrow."""

    kind: Kind
    width: int
    """Of its text states, or channels of its latents."""
    path: Path
    """The first of its files, or the folder of a checkpoint in diffusers' layout."""
    stamp: Stamp
    files: tuple[Path, ...] = ()
    """Where it is not in a checkpoint's folder: one file, or all of those that it was cut into."""
    prefix: str = ""
    """In a file: what its tensors' names begin with."""
    part: str = ""
    """In a folder: which part it is."""
    family: str = ""
    """`configs` of the family that it is known to be of; empty where any may borrow it."""
    name: str = ""
    tensors: tuple[tuple[str, Tensor], ...] = ()
    """By name without the prefix."""


@dataclass(frozen=True, slots=True)
class Lent:
    """A network of a checkpoint that lies elsewhere."""

    part: str
    """What the checkpoint's pipelines call it."""
    offer: Offer


class Shelf:
    """Networks in files of their own, below some folders. For any thread."""

    def __init__(self, folders: tuple[Path, ...] = ()) -> None:
        """`folders` need not exist."""
        self._folders = folders
        self._lock = threading.Lock()
        self._seen: dict[tuple[Path, Stamp], Offer | None] = {}

    def all(self) -> tuple[Offer, ...]:
        """In the order of the folders and names. Contents are only read of what is new."""
        with self._lock:
            seen: dict[tuple[Path, Stamp], Offer | None] = {}
            for folder in self._folders:
                for found in scan(folder):
                    if found.layout != "file" or found.path.suffix.lower() in PICKLED:
                        continue
                    if (files := _pieces(found.path)) and (stamp := _stamp(files)):
                        key = (found.path, stamp)
                        name = _called(found)
                        known = key in self._seen
                        seen[key] = self._seen[key] if known else _offer(files, stamp, name)
            self._seen = seen
            return tuple(offer for offer in seen.values() if offer)


def beside_in(folders: Callable[[Place], tuple[Path, ...]]) -> tuple[Path, ...]:
    """Of the folders of each kind of weights those whose networks a checkpoint may borrow."""
    return (*folders(Place.TEXT_ENCODERS), *folders(Place.VAE))


_PIECE = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")
"""What transformers calls a file of a network that it cut into several."""
_MOST_PIECES = 64


def _pieces(path: Path) -> tuple[Path, ...]:
    """All files of the network that begins in this one; none where it begins in another."""
    cut = _PIECE.fullmatch(path.name)
    if cut is None:
        return (path,)
    name, number, count = cut[1], int(cut[2]), int(cut[3])
    if number != 1 or not 1 <= count <= _MOST_PIECES:
        return ()
    return tuple(path.with_name(f"{name}-{n + 1:05}-of-{cut[3]}.safetensors") for n in range(count))


def _stamp(files: Iterable[Path]) -> Stamp:
    """Of all of them; empty where one is not there."""
    try:
        return tuple(entry for file in files for entry in file_stamp(file))
    except OSError:
        return ()


def _called(found: Found) -> str:
    """Its file's name without the ending, or that of its folder where all files are called so."""
    folder, _, name = found.id.rpartition("/")
    plain = name.startswith((*GENERIC, "model-0")) or name == "model"
    return folder.removesuffix("/text_encoder_2").rpartition("/")[2] if folder and plain else name


def _offer(files: tuple[Path, ...], stamp: Stamp, name: str) -> Offer | None:
    try:
        with as_named(files[0]):
            return _offered(files, stamp, name)
    except (BadFile, OSError):
        return None


def _offered(files: tuple[Path, ...], stamp: Stamp, name: str) -> Offer | None:
    tensors = {key: one for file in files for key, one in read_any(file).tensors.items()}
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    if not is_plain(shapes):
        return None
    found = _found(shapes)
    if found is None:
        return None
    kind, prefix, own = found
    return Offer(
        kind=kind,
        width=_width(kind, own),
        path=files[0],
        files=files,
        stamp=stamp,
        prefix=prefix,
        name=name,
        tensors=tuple((key, tensors[prefix + key]) for key in own),
    )


def reads_prompts(shapes: Shapes) -> bool:
    """Whether a file with these tensors holds a text encoder that checkpoints may borrow."""
    found = _found(shapes)
    return found is not None and found[0] != "vae"


def _found(shapes: Shapes) -> tuple[Kind, str, Shapes] | None:
    """What network a file holds, what the names of its tensors begin with, and they without that."""
    for prefix in _PREFIXES:
        own = {k.removeprefix(prefix): v for k, v in shapes.items() if k.startswith(prefix)}
        if kind := _kind(own):
            return kind, prefix, own
    return None


def _kind(shapes: Shapes) -> Kind | None:
    if _CLIP in shapes:
        return "clip"
    if _T5 in shapes and _GATED in shapes:
        return "t5"
    if latent_channels(shapes) and any(key.startswith("encoder.") for key in shapes):
        return "vae"
    return None


def _width(kind: Kind, shapes: Shapes) -> int:
    if kind == "vae":
        return latent_channels(shapes)
    key = _CLIP if kind == "clip" else _T5
    return shapes[key if key in shapes else key.removeprefix("text_model.")][1]


def offers_of(folder: Path, parts: Iterable[Part], family: str) -> tuple[Offer, ...]:
    """What checkpoints of that family (its `configs`) may borrow from a folder; T5, which nobody
    trains further, those of every family. Raises `BadFile` or `OSError`."""
    found: list[Offer] = []
    stamp = folder_stamp(folder)
    for part in parts:
        kind = _CLASSES.get(part.kind)
        if kind is None or not part.weights or not (family or kind == "t5"):
            continue
        tensors = {k: t for file in part.weights for k, t in read_any(file).tensors.items()}
        try:
            width = _width(kind, {key: tensor.shape for key, tensor in tensors.items()})
        except KeyError:
            continue
        found.append(
            Offer(
                kind=kind,
                width=width,
                path=folder,
                stamp=stamp,
                part=part.name,
                family="" if kind == "t5" else family,
                name=folder.name,
                tensors=tuple(tensors.items()),
            )
        )
    return tuple(found)


def chosen(part: str, need: Need, offers: Iterable[Offer], family: str) -> Lent | None:
    """The offer that fits a need of a family (its `configs`): one known to be of it rather than one
    that only looks like it, and the first of several."""
    fit = [
        offer
        for offer in offers
        if (offer.kind, offer.width) == (need.kind, need.width)
        and offer.family in {"", family}
        # a folder's two CLIPs are told apart by width, or else by what they are called
        and (not offer.part or offer.kind == "t5" or offer.part == part)
        and not (offer.family == "" and need.says_another(offer.name))
    ]
    fit.sort(key=lambda offer: offer.family != family)
    return Lent(part, fit[0]) if fit else None


def stamp_of(offer: Offer) -> Stamp:
    """As it is now. Raises `OSError` where it is gone."""
    if offer.part:
        return folder_stamp(offer.path)
    return tuple(entry for file in offer.files for entry in file_stamp(file))
