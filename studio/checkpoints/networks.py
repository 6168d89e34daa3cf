"""A checkpoint of either layout, seen in the other: tensors by the other's names, none of them read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np

from studio.checkpoints import layers, names, numbers
from studio.checkpoints.beside import Offer
from studio.checkpoints.catalog import Checkpoint, denoiser_file, families
from studio.checkpoints.folder import Part, read_parts, scheduler_config
from studio.checkpoints.gguf import ENDING, PACKED, Format, read_any
from studio.checkpoints.header import BadFile, Header, Tensor, read_header
from studio.checkpoints.layers import Tensors, unnamed
from studio.checkpoints.originals import (
    BESIDE_SCALES,
    ORIGINALS,
    SCALES,
    SINGLE_FILES,
    scale_of,
)
from studio.checkpoints.streams import Held, Source, Span, Unpacked, joined, rows, source
from studio.core.errors import InvalidRequest
from studio.families._family import Network

Unpack = Callable[[str, bytes], numbers.Floats]
"""From the name of a format of GGUF's and the bytes of blocks to the numbers in them."""

RESTORE = "pochade.file"
"""Entry of a converted folder's metadata: that of the file it was, to be given back."""
BARE = "pochade.bare"
"""Entry of a converted file's metadata: text encoders that were without `text_model.`."""
CONFIGS = "pochade.configs"
"""Entry of a converted file's metadata: configs that are not the usual ones of its family."""

STEPS = "global_step"
"""A tensor of some files: how long they were trained."""
STEPS_OF_SD2_BASE = 875_000
"""Stable Diffusion 2's model for 512 px predicts noise, all later ones velocities."""
READ_LAYERS = 23
"""Of the 24 of OpenCLIP's that Stable Diffusion 2's files have."""

_OLD_CLIP = "transformer.embeddings.position_embedding.weight"


@dataclass(frozen=True, kw_only=True, slots=True)
class AsFile:
    tensors: Tensors
    metadata: Mapping[str, str]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class AsFolder:
    parts: Mapping[str, Tensors]
    metadata: Mapping[str, str]
    """Of the file, or of the folder's denoiser."""
    left_out: tuple[str, ...] = ()
    """Tensors of the file that no network has."""
    markers: frozenset[str] = field(default_factory=frozenset[str])
    """Those of them that say how it was trained: v_pred, ztsnr, global_step."""
    stems: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a folder calls the file of a part, where it has one."""


def networks_of(checkpoint: Checkpoint) -> Mapping[str, Network]:
    """Where they lie in a single file; empty if it has only one layout here."""
    family = families().get(checkpoint.family)
    return family.single_file if family else {}


def tensors_of(file: Path, unpack: Unpack | None = None) -> Tensors:
    """Of a safetensors file, or of a GGUF one, with what they are packed in undone.

    Raises `InvalidRequest` where that takes an `unpack`, `BadFile` or `OSError`.
    """
    header = read_any(file)
    found: Tensors = {}
    for name in header.tensors:
        if not _is_beside(name, header.tensors):
            found[name] = _stored(file, header, name, unpack)
    return found


def _is_beside(name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a tensor only says how another one is scaled."""
    if name.endswith(BESIDE_SCALES):
        return True
    end = next((end for end in SCALES if name.endswith(end)), None)
    weight = tensors.get(f"{name.removesuffix(end)}.weight") if end else None
    return weight is not None and weight.dtype.startswith("F8")


def _stored(file: Path, header: Header, name: str, unpack: Unpack | None) -> Source:
    tensor = header.tensors[name]
    plain = source(file, header.data_begin, tensor)
    kind = tensor.dtype
    if kind in PACKED:
        if unpack is None:
            raise InvalidRequest(
                f"'{file.name}' is GGUF, whose numbers are packed.",
                "Convert it with --dtype bf16 first.",
                field="checkpoint",
            )
        form, undo = PACKED[kind], partial(unpack, kind)
    elif scale := scale_of(name, kind, header.tensors):
        one = source(file, header.data_begin, header.tensors[scale])
        [factor] = numbers.read(b"".join(one.blocks()), one.dtype).tolist()
        form, undo = Format(kind, 1, 1), partial(_scaled, kind, factor)
    else:
        return plain
    [span] = plain.runs
    run = Unpacked(cast(Span, span), form, undo, 0, 4 * prod(tensor.shape))
    return Source(dtype="F32", shape=tensor.shape, runs=(run,))


def _scaled(dtype: str, factor: float, data: bytes) -> numbers.Floats:
    return numbers.read(data, dtype) * np.float32(factor)


def as_file(checkpoint: Checkpoint, unpack: Unpack | None = None) -> AsFile:
    """Its tensors by the names that a single file has for them.

    Raises `InvalidRequest` where there are none, `BadFile` or `OSError`.
    """
    if checkpoint.layout == "file":
        tensors = tensors_of(checkpoint.path, unpack)
        return AsFile(tensors=tensors, metadata=_file_metadata(checkpoint.path))
    networks = _networks(checkpoint)
    found = _parts(checkpoint, networks)
    tensors: Tensors = {}
    for name, part in found.items():
        renamed = _TO_ORIGINAL[networks[name].kind](part)
        tensors |= {networks[name].prefixes[0] + key: tensor for key, tensor in renamed.items()}
    return AsFile(tensors=tensors, metadata=_metadata(checkpoint, found))


def placed(checkpoint: Checkpoint, tensors: Tensors) -> Tensors:
    """A single file's tensors with each network under the first of its prefixes, where files have
    the choice; what is of no network stays under its name."""
    rest, made = dict(tensors), Tensors()
    for network in networks_of(checkpoint).values():
        own = _taken(rest, network.prefixes)
        made |= {network.prefixes[0] + key: tensor for key, tensor in own.items()}
    return made | rest


def fits_a_file(checkpoint: Checkpoint) -> bool:
    """Whether a single file has names for all of its tensors. Raises `BadFile` or `OSError`."""
    try:
        as_file(checkpoint)
    except InvalidRequest:
        return False
    return True


def as_folder(checkpoint: Checkpoint, unpack: Unpack | None = None) -> AsFolder:
    """Its tensors by part and by the names that diffusers has for them, with those of networks that
    its file borrows. Raises as `as_file`."""
    if checkpoint.layout == "folder":
        found = [part for part in read_parts(checkpoint.path) if part.weights]
        parts = {part.name: _tensors_of(part) for part in found}
        stems = {part.name: _stem(part) for part in found}
        return AsFolder(parts=parts, metadata=_metadata(checkpoint, parts), stems=stems)
    networks = _networks(checkpoint)
    metadata = _file_metadata(checkpoint.path)
    bare = metadata.get(BARE, "").split()
    tensors, parts = tensors_of(checkpoint.path, unpack), dict[str, Tensors]()
    lent = {one.part: one.offer for one in checkpoint.lent}
    for name, network in networks.items():
        if name in lent and lent[name].part:
            parts[name] = _lent_part(lent[name])
            continue
        own = _lent(lent[name], unpack) if name in lent else _taken(tensors, network.prefixes)
        if not own:
            _require_optional(checkpoint, name)
            continue
        part = _TO_DIFFUSERS[network.kind](own)
        cut = "text_model." if name in bare else ""
        parts[name] = {key.removeprefix(cut): tensor for key, tensor in part.items()}
    markers = {"v_pred", "ztsnr"} & tensors.keys()
    if _steps(tensors.get(STEPS)) == STEPS_OF_SD2_BASE:
        markers |= {STEPS}
    return AsFolder(
        parts=parts, metadata=metadata, left_out=tuple(sorted(tensors)), markers=frozenset(markers)
    )


def _steps(found: Source | None) -> int:
    """How long it was trained, as far as its file says."""
    if found is None or found.dtype not in {"I32", "I64"} or prod(found.shape) != 1:
        return 0
    return int.from_bytes(b"".join(found.blocks()), "little", signed=True)


def _stem(part: Part) -> str:
    """The name of its file, or of its first one, without what tells several from each other."""
    return next(
        one for one in ("model", "diffusion_pytorch_model") if part.weights[0].name.startswith(one)
    )


def _tensors_of(part: Part) -> Tensors:
    return {key: tensor for file in part.weights for key, tensor in tensors_of(file).items()}


def _taken(tensors: Tensors, prefixes: tuple[str, ...]) -> Tensors:
    """Those of the first of these prefixes that there is, without it; they are gone from `tensors`."""
    for prefix in prefixes:
        if own := [key for key in tensors if key.startswith(prefix)]:
            return {key.removeprefix(prefix): tensors.pop(key) for key in own}
    return {}


def _lent(offer: Offer, unpack: Unpack | None) -> Tensors:
    """Those of a network in files of its own, by their names there."""
    every = (tensors_of(file, unpack) for file in offer.files)
    return _taken({key: one for part in every for key, one in part.items()}, (offer.prefix,))


def _lent_part(offer: Offer) -> Tensors:
    """Those of a part of a folder."""
    return _tensors_of(next(part for part in read_parts(offer.path) if part.name == offer.part))


def _require_optional(checkpoint: Checkpoint, name: str) -> None:
    if name not in families()[checkpoint.family].optional:
        raise BadFile(f"This checkpoint is incomplete: it has no {name}.")


def prediction(folder: Path, usual: str) -> frozenset[str]:
    """The markers that say in a single file what a folder's scheduler config says, where files of its
    family are taken for the `usual` prediction."""
    config = scheduler_config(folder)
    predicts = config.get("prediction_type", "epsilon")
    if predicts == "epsilon" and usual == "v_prediction":
        return frozenset({STEPS})
    ztsnr = predicts == "v_prediction" and config.get("rescale_betas_zero_snr")
    if predicts != "v_prediction" or (usual == predicts and not ztsnr):
        return frozenset()
    return frozenset({"v_pred", *(["ztsnr"] if ztsnr else [])})


def _networks(checkpoint: Checkpoint) -> Mapping[str, Network]:
    if found := networks_of(checkpoint):
        return found
    family = families().get(checkpoint.family)
    able = ", ".join(known.label for known in families().values() if known.single_file)
    raise InvalidRequest(
        f"'{checkpoint.label}' has only this layout here: it is "
        f"{family.label if family else 'unknown'}.",
        f"Both have {able}; what a folder's numbers are can be changed with --to folder --dtype.",
        field="checkpoint",
    )


def _parts(checkpoint: Checkpoint, networks: Mapping[str, Network]) -> dict[str, Tensors]:
    found = {part.name: part for part in read_parts(checkpoint.path)}
    for missing in sorted(networks.keys() - found.keys()):
        _require_optional(checkpoint, missing)
    return {name: _tensors_of(found[name]) for name in networks if name in found}


def _metadata(checkpoint: Checkpoint, parts: Mapping[str, Tensors]) -> dict[str, str]:
    """Of the file that this folder was, or is to become."""
    own = dict(read_header(denoiser_file(checkpoint)).metadata)
    if (before := own.pop(RESTORE, None)) is not None:
        own = _strings(before)
    bare = [
        name for name, tensors in parts.items()
        if "embeddings.position_embedding.weight" in tensors
    ]  # fmt: skip
    return {**own, **({BARE: " ".join(bare)} if bare else {})}


def _file_metadata(file: Path) -> Mapping[str, str]:
    """That of GGUF is about GGUF."""
    return {} if file.suffix.lower() == ENDING else read_header(file).metadata


def _strings(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    entries = cast(dict[str, Any], found).items() if isinstance(found, dict) else ()
    return {key: value for key, value in entries if isinstance(value, str)}


def _renamed(tensors: Tensors, name_of: Callable[[str], names.Name | None], rank: int) -> Tensors:
    """`rank` is that of matrices that one layout has as convolutions: 4 or 2."""
    found: Tensors = {}
    for key, tensor in tensors.items():
        name = name_of(key)
        if name is None:
            raise unnamed(key)
        shape = tensor.shape
        if name.flat and len(shape) in {2, 4}:
            shape = (*shape[:2], *(1,) * (rank - 2))
        found[name.key] = replace(tensor, shape=shape)
    return found


def _unet_to_original(tensors: Tensors) -> Tensors:
    return _renamed(tensors, names.unet(tensors, original=False).to_original, 4)


def _unet_to_diffusers(tensors: Tensors) -> Tensors:
    return _renamed(tensors, names.unet(tensors, original=True).to_diffusers, 2)


def _vae_to_original(tensors: Tensors) -> Tensors:
    renewed = {names.renewed(key): tensor for key, tensor in tensors.items()}
    return _renamed(renewed, names.vae(renewed, original=False).to_original, 4)


def _vae_to_diffusers(tensors: Tensors) -> Tensors:
    if any(key.startswith("encoder.down_blocks.") for key in tensors):
        return {names.renewed(key): tensor for key, tensor in tensors.items()}
    return _renamed(tensors, names.vae(tensors, original=True).to_diffusers, 2)


def _clip_to_original(tensors: Tensors) -> Tensors:
    return _renamed(_whole(tensors), names.CLIP.to_original, 4)


def _clip_to_diffusers(tensors: Tensors) -> Tensors:
    if _OLD_CLIP in tensors:  # files of 2022 leave out a level
        tensors = {
            key.replace("transformer.", "transformer.text_model.", 1): tensor
            for key, tensor in tensors.items()
        }
    kept = {key: tensor for key, tensor in tensors.items() if key != "logit_scale"}
    return _renamed(kept, names.CLIP.to_diffusers, 2)


def _open_clip_to_original(tensors: Tensors) -> Tensors:
    rest = _whole(tensors)
    made: Tensors = {}
    new, old = names.TEXT_PROJECTION
    if projection := rest.pop(new, None):
        made[old] = _turned(projection)
    for key in [key for key in rest if names.QKV[0] in key]:
        head, _, tail = key.partition(names.QKV[0])
        number = head.removeprefix("text_model.encoder.layers.")
        three = [rest.pop(f"{head}{part}{tail}") for part in names.QKV]
        made[f"transformer.resblocks.{number}{names.IN_PROJ}{tail}"] = joined(three)
    return made | _renamed(rest, names.open_clip(rest, original=False).to_original, 4)


def _open_clip_to_diffusers(tensors: Tensors) -> Tensors:
    rest, made = dict(tensors), Tensors()
    rest.pop("logit_scale", None)  # it compares texts with pictures; nothing paints with it
    new, old = names.TEXT_PROJECTION
    if projection := rest.pop(old, None):
        made[new] = _turned(projection)
    for key in [key for key in rest if names.IN_PROJ in key]:
        head, _, tail = key.partition(names.IN_PROJ)
        number, whole = head.removeprefix("transformer.resblocks."), rest.pop(key)
        for place, part in enumerate(names.QKV):
            high = whole.shape[0] // 3
            new = f"text_model.encoder.layers.{number}{part}{tail}"
            made[new] = rows(whole, place * high, high)
    return made | _renamed(rest, names.open_clip(rest, original=True).to_diffusers, 2)


def _read_layers_to_diffusers(tensors: Tensors) -> Tensors:
    """Of an encoder whose last but one layer is what is read: nothing after that one is."""
    made = _open_clip_to_diffusers(tensors)
    unread = f"text_model.encoder.layers.{READ_LAYERS}."
    return {
        key: tensor
        for key, tensor in made.items()
        if key != names.PROJECTION and not key.startswith(unread)
    }


def _turned(matrix: Source) -> Source:
    high, wide = matrix.shape
    return replace(matrix, shape=(wide, high), turned=not matrix.turned)


def _whole(tensors: Tensors) -> Tensors:
    """With the level that transformers leaves out of the names of a bare encoder."""
    return {
        key if key.startswith("text_") else f"text_model.{key}": tensor
        for key, tensor in tensors.items()
    }


def _text_to_original(tensors: Tensors) -> Tensors:
    return _whole(tensors)


def _text_to_diffusers(tensors: Tensors) -> Tensors:
    unused = {"logit_scale", names.PROJECTION}
    return {key: tensor for key, tensor in tensors.items() if key not in unused}


def _projected_to_diffusers(tensors: Tensors) -> Tensors:
    """A projection that a file leaves out changes nothing, as in those of Stable Diffusion 3."""
    made = {key: tensor for key, tensor in tensors.items() if key != "logit_scale"}
    if names.PROJECTION not in made:
        words = _whole(tensors)["text_model.embeddings.token_embedding.weight"]
        wide = words.shape[1]
        dtype = words.dtype if words.dtype in numbers.FORMATS.values() else "F32"
        data = numbers.write(np.eye(wide, dtype=np.float32), dtype)
        made[names.PROJECTION] = Source(dtype=dtype, shape=(wide, wide), runs=(Held(data),))
    return made


_TO_ORIGINAL: Mapping[str, Callable[[Tensors], Tensors]] = {
    "unet": _unet_to_original,
    **{kind: partial(layers.to_original, ORIGINALS[kind]) for kind in SINGLE_FILES},
    "vae": _vae_to_original,
    "clip": _clip_to_original,
    "open_clip": _open_clip_to_original,
    "open_clip_read": _open_clip_to_original,
    "text": _text_to_original,
    "projected": _text_to_original,
    "t5": dict,
}
_TO_DIFFUSERS: Mapping[str, Callable[[Tensors], Tensors]] = {
    "unet": _unet_to_diffusers,
    **{kind: partial(layers.to_diffusers, ORIGINALS[kind]) for kind in SINGLE_FILES},
    "vae": _vae_to_diffusers,
    "clip": _clip_to_diffusers,
    "open_clip": _open_clip_to_diffusers,
    "open_clip_read": _read_layers_to_diffusers,
    "text": _text_to_diffusers,
    "projected": _projected_to_diffusers,
    "t5": dict,
}


def embedded(metadata: Mapping[str, str]) -> dict[str, bytes]:
    """The configs and vocabularies, by path, that a converted file keeps of its folder."""
    try:
        found = json.loads(metadata.get(CONFIGS, "{}"))
        texts = cast(dict[str, str], found).items()
        files = {name: text.encode() for name, text in texts}
    except (ValueError, AttributeError):
        return {}
    # a name from a file is a name: a part and a file in it, never a way out
    return {name: data for name, data in files.items() if _is_plain(name)}


def _is_plain(name: str) -> bool:
    pieces = name.split("/")
    return len(pieces) <= 2 and all(
        piece.replace("_", "").replace(".", "", 1).isalnum() and piece[0] != "." for piece in pieces
    )
