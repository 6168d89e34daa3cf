"""A checkpoint of either layout, seen in the other: tensors by the other's names, none of them read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from studio.checkpoints import names
from studio.checkpoints.catalog import Checkpoint, families
from studio.checkpoints.folder import read_parts, scheduler_config
from studio.checkpoints.header import BadFile, read_header
from studio.checkpoints.streams import Source, joined, rows, source
from studio.core.errors import InvalidRequest
from studio.families._family import Network

Tensors = dict[str, Source]

RESTORE = "pochade.file"
"""Entry of a converted folder's metadata: that of the file it was, to be given back."""
BARE = "pochade.bare"
"""Entry of a converted file's metadata: text encoders that were without `text_model.`."""
CONFIGS = "pochade.configs"
"""Entry of a converted file's metadata: configs that are not the usual ones of its family."""

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
    """Those of them that say how it was trained: v_pred, ztsnr."""


def networks_of(checkpoint: Checkpoint) -> Mapping[str, Network]:
    """Where they lie in a single file; empty if it has only one layout here."""
    family = families().get(checkpoint.family)
    return family.single_file if family else {}


def tensors_of(file: Path) -> Tensors:
    """Of a safetensors file. Raises `BadFile` or `OSError`."""
    header = read_header(file)
    return {
        name: source(file, header.data_begin, tensor) for name, tensor in header.tensors.items()
    }


def as_file(checkpoint: Checkpoint) -> AsFile:
    """Its tensors by the names that a single file has for them.

    Raises `InvalidRequest` where there are none, `BadFile` or `OSError`.
    """
    if checkpoint.layout == "file":
        header = read_header(checkpoint.path)
        return AsFile(tensors=tensors_of(checkpoint.path), metadata=header.metadata)
    networks = _networks(checkpoint)
    found = _parts(checkpoint, networks)
    tensors: Tensors = {}
    for name, network in networks.items():
        part = _TO_ORIGINAL[network.kind](found[name])
        tensors |= {network.prefix + key: tensor for key, tensor in part.items()}
    return AsFile(tensors=tensors, metadata=_metadata(checkpoint, found))


def fits_a_file(checkpoint: Checkpoint) -> bool:
    """Whether a single file has names for all of its tensors. Raises `BadFile` or `OSError`."""
    try:
        as_file(checkpoint)
    except InvalidRequest:
        return False
    return True


def as_folder(checkpoint: Checkpoint) -> AsFolder:
    """Its tensors by part and by the names that diffusers has for them. Raises as `as_file`."""
    networks = _networks(checkpoint)
    if checkpoint.layout == "folder":
        parts = _parts(checkpoint, networks)
        return AsFolder(parts=parts, metadata=_metadata(checkpoint, parts))
    metadata = read_header(checkpoint.path).metadata
    bare = metadata.get(BARE, "").split()
    tensors, parts = tensors_of(checkpoint.path), dict[str, Tensors]()
    for name, network in networks.items():
        own = {
            key.removeprefix(network.prefix): tensors.pop(key)
            for key in [key for key in tensors if key.startswith(network.prefix)]
        }
        part = _TO_DIFFUSERS[network.kind](own)
        cut = "text_model." if name in bare else ""
        parts[name] = {key.removeprefix(cut): tensor for key, tensor in part.items()}
    markers = frozenset({"v_pred", "ztsnr"} & tensors.keys())
    return AsFolder(
        parts=parts, metadata=metadata, left_out=tuple(sorted(tensors)), markers=markers
    )


def prediction(folder: Path) -> frozenset[str]:
    """The markers that say in a single file what a folder's scheduler config says."""
    config = scheduler_config(folder)
    if config.get("prediction_type") != "v_prediction":
        return frozenset()
    return frozenset({"v_pred", *(["ztsnr"] if config.get("rescale_betas_zero_snr") else [])})


def _networks(checkpoint: Checkpoint) -> Mapping[str, Network]:
    if found := networks_of(checkpoint):
        return found
    family = families().get(checkpoint.family)
    able = ", ".join(known.label for known in families().values() if known.single_file)
    raise InvalidRequest(
        f"'{checkpoint.label}' cannot be converted: it is {family.label if family else 'unknown'}.",
        f"These can be: {able}.",
        field="checkpoint",
    )


def _parts(checkpoint: Checkpoint, networks: Mapping[str, Network]) -> dict[str, Tensors]:
    found = {part.name: part for part in read_parts(checkpoint.path)}
    if missing := networks.keys() - found.keys():
        raise BadFile(f"This checkpoint is incomplete: it has no {min(missing)}.")
    return {
        name: {k: t for file in found[name].weights for k, t in tensors_of(file).items()}
        for name in networks
    }


def _metadata(checkpoint: Checkpoint, parts: Mapping[str, Tensors]) -> dict[str, str]:
    """Of the file that this folder was, or is to become."""
    denoiser = next(iter(parts["unet"].values())).spans[0].file
    own = dict(read_header(denoiser).metadata)
    if (before := own.pop(RESTORE, None)) is not None:
        own = _strings(before)
    bare = [
        name for name, tensors in parts.items()
        if "embeddings.position_embedding.weight" in tensors
    ]  # fmt: skip
    return {**own, **({BARE: " ".join(bare)} if bare else {})}


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
            raise InvalidRequest(
                f"The other layout has no name for one of its tensors, {key[:80]}.",
                "It can be written in its own layout only, with --dtype in another number format.",
                field="checkpoint",
            )
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
            made[f"text_model.encoder.layers.{number}{part}{tail}"] = rows(whole, place, 3)
    return made | _renamed(rest, names.open_clip(rest, original=True).to_diffusers, 2)


def _turned(matrix: Source) -> Source:
    high, wide = matrix.shape
    return replace(matrix, shape=(wide, high), turned=not matrix.turned)


def _whole(tensors: Tensors) -> Tensors:
    """With the level that transformers leaves out of the names of a bare encoder."""
    return {
        key if key.startswith("text_") else f"text_model.{key}": tensor
        for key, tensor in tensors.items()
    }


_TO_ORIGINAL: Mapping[str, Callable[[Tensors], Tensors]] = {
    "unet": _unet_to_original,
    "vae": _vae_to_original,
    "clip": _clip_to_original,
    "open_clip": _open_clip_to_original,
}
_TO_DIFFUSERS: Mapping[str, Callable[[Tensors], Tensors]] = {
    "unet": _unet_to_diffusers,
    "vae": _vae_to_diffusers,
    "clip": _clip_to_diffusers,
    "open_clip": _open_clip_to_diffusers,
}
