"""From one layout to the other, and from one number format to another, a block at a time."""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from studio.checkpoints.catalog import Checkpoint, families
from studio.checkpoints.folder import INDEX, MAX_CONFIG_BYTES
from studio.checkpoints.networks import (
    BARE,
    CONFIGS,
    RESTORE,
    AsFile,
    AsFolder,
    Tensors,
    as_file,
    as_folder,
    prediction,
)
from studio.checkpoints.scan import sidecar_of
from studio.checkpoints.streams import (
    Counter,
    Progress,
    Wanted,
    as_is,
    put,
    recast,
    replacing,
    require_free,
    size_of,
    unseen,
    write,
)
from studio.core.errors import InvalidRequest
from studio.families._family import Family

Layout = Literal["file", "folder"]

STALE = ("modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash")
"""Entries of a file's metadata that are hashes of its tensors."""
_MARKER = struct.pack("<f", 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What was written."""

    path: Path
    size_bytes: int
    sha256: str = ""
    """Of a single file."""
    left_out: tuple[str, ...] = ()
    """Tensors that the other layout has no place for."""
    notes: tuple[str, ...] = ()


def convert(
    checkpoint: Checkpoint,
    to: Layout,
    target: Path,
    *,
    configs: Path,
    dtype: str | None = None,
    force: bool = False,
    progress: Progress = unseen,
) -> Made:
    """Writes `checkpoint` in layout `to`, in safetensors' `dtype` or as it is.

    `configs` holds a folder per family with what a single file does not say. Raises
    `InvalidRequest`, `StorageFailed` or `BadFile`; then nothing of it is left. So it is when
    `progress` raises.
    """
    if to == checkpoint.layout and dtype is None:
        raise InvalidRequest(
            f"'{checkpoint.label}' is a {to} already.",
            "Choose the other layout, or another number format with --dtype.",
            field="to",
        )
    work = _to_file if to == "file" else _to_folder
    made = work(checkpoint, target, configs, dtype, force, progress)
    _carry_notes(checkpoint, target)
    return made


def _carry_notes(checkpoint: Checkpoint, target: Path) -> None:
    """What a person noted beside it, or else what only its folder said: how a distilled one wants
    to be used."""
    noted, there = sidecar_of(checkpoint.path), sidecar_of(target)
    if there.exists():
        return
    if noted.is_file():
        put(there, noted.read_bytes())
    elif checkpoint.defaults != families()[checkpoint.family].defaults:
        put(there, _json(asdict(checkpoint.defaults)))


def _to_file(
    checkpoint: Checkpoint,
    target: Path,
    configs: Path,
    dtype: str | None,
    force: bool,
    progress: Progress,
) -> Made:
    found: AsFile = as_file(checkpoint)
    metadata = dict(found.metadata)
    tensors = _wanted(found.tensors, dtype)
    notes: tuple[str, ...] = ()
    if checkpoint.layout == "folder":
        markers = prediction(checkpoint.path)
        tensors |= {
            name: Wanted(dtype="F32", shape=(), blocks=lambda: (_MARKER,)) for name in markers
        }
        own, notes = _own_configs(checkpoint.path, families()[checkpoint.family], configs)
        if own:
            metadata[CONFIGS] = json.dumps(own, sort_keys=True)
    if dtype is not None:
        metadata = without_hashes(metadata)
    require_free(target, size_of(tensors))
    counter = Counter(size_of(tensors), progress)
    with replacing(target, force=force) as fresh:
        digest = write(fresh, tensors, metadata, counter.step)
    return Made(path=target, size_bytes=target.stat().st_size, sha256=digest, notes=notes)


def _to_folder(
    checkpoint: Checkpoint,
    target: Path,
    configs: Path,
    dtype: str | None,
    force: bool,
    progress: Progress,
) -> Made:
    found = as_folder(checkpoint)
    parts = {name: _wanted(tensors, dtype) for name, tensors in found.parts.items()}
    total = write_folder(checkpoint, parts, target, configs, dtype, force, progress)
    left = tuple(name for name in found.left_out if name not in found.markers)
    return Made(path=target, size_bytes=total, left_out=left)


def write_folder(
    checkpoint: Checkpoint,
    parts: Mapping[str, Mapping[str, Wanted]],
    target: Path,
    configs: Path,
    dtype: str | None,
    force: bool,
    progress: Progress,
) -> int:
    """Writes a folder with these tensors and everything else that `checkpoint` has; the bytes of the
    tensors. Raises as `convert`."""
    found = as_folder(checkpoint)
    total = sum(size_of(tensors) for tensors in parts.values())
    files = _config_files(checkpoint, found, configs)
    require_free(target, total + sum(map(len, files.values())))
    if target.exists() and not (target / INDEX).is_file():
        raise InvalidRequest(
            f"'{target.name}' is there already, and no checkpoint.",
            "Choose another name.",
            field="out",
        )
    counter = Counter(total, progress)
    with replacing(target, force=force) as fresh:
        for name, data in files.items():
            put(fresh / name, data)
        for name, tensors in parts.items():
            stem = "model" if name.startswith("text") else "diffusion_pytorch_model"
            (fresh / name).mkdir(parents=True, exist_ok=True)
            metadata = {"format": "pt"}
            if name == "unet" and checkpoint.layout == "file":
                metadata[RESTORE] = json.dumps(_restored(found.metadata, dtype))
            write(fresh / name / f"{stem}.safetensors", tensors, metadata, counter.step)
    return total


def _restored(metadata: Mapping[str, str], dtype: str | None) -> dict[str, str]:
    kept = {key: value for key, value in metadata.items() if key not in {CONFIGS, BARE}}
    return kept if dtype is None else without_hashes(kept)


def without_hashes(metadata: Mapping[str, str]) -> dict[str, str]:
    """Without what is not true of other numbers."""
    return {key: value for key, value in metadata.items() if key not in STALE}


def _wanted(tensors: Tensors, dtype: str | None) -> dict[str, Wanted]:
    return {
        name: as_is(tensor) if dtype is None else recast(tensor, dtype)
        for name, tensor in tensors.items()
    }


def _own_configs(
    folder: Path, family: Family, configs: Path
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The folder's configs and vocabularies by path, if they are not those of its family."""
    if _is_usual(folder, family, configs):
        return {}, ()
    texts = {
        file.relative_to(folder).as_posix(): file.read_text("utf-8")
        for file in sorted((*folder.glob("*.json"), *folder.glob("*/*.json"), *folder.glob("*/*.txt")))
        if not file.name.endswith(".index.json") and file.name != "tokenizer.json"
    }  # fmt: skip
    if sum(map(len, texts.values())) > MAX_CONFIG_BYTES:
        return {}, (
            "Its configs are not the usual ones of its family, and too large for the file.",
        )
    return texts, ()


def _is_usual(folder: Path, family: Family, configs: Path) -> bool:
    usual = configs / family.configs
    for place in (path for path in usual.iterdir() if path.is_dir()):
        theirs, ours = folder / place.name, place
        if (ours / "config.json").is_file():
            own = _read(theirs / "config.json")
            known = {**_read(ours / "config.json"), **family.overrides.get(place.name, {})}
            if any(own[key] != known[key] for key in own.keys() & known.keys() - _SAID_OTHERWISE):
                return False
        elif place.name.startswith("tokenizer") and (theirs / "vocab.json").is_file():
            vocabulary = _read(ours / "tokenizer_config.json").get("vocabulary", "")
            if _sum(theirs / "vocab.json") != _sum(configs / vocabulary / "vocab.json"):
                return False
    return True


_SAID_OTHERWISE = frozenset(
    {"architectures", "sample_size", "dropout", "model_type", "scaling_factor"}
)
"""Entries that do not change which tensors a network has, or how they are computed with."""


def _config_files(checkpoint: Checkpoint, found: AsFolder, configs: Path) -> dict[str, bytes]:
    """Everything of a folder but its weights, by path."""
    if checkpoint.layout == "folder":
        folder = checkpoint.path
        texts = (*folder.glob("*.json"), *folder.glob("*/*.json"), *folder.glob("*/*.txt"))
        return {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in texts
            if not file.name.endswith(".index.json")
        }
    family = families()[checkpoint.family]
    files = _embedded(found.metadata) or _usual(family, configs)
    _require_fit(found.parts, files)
    if found.markers:
        name = "scheduler/scheduler_config.json"
        changes: dict[str, Any] = {"prediction_type": "v_prediction"}
        if "ztsnr" in found.markers:
            changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        files[name] = _json({**json.loads(files[name]), **changes})
    return files


def _embedded(metadata: Mapping[str, str]) -> dict[str, bytes]:
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


def _usual(family: Family, configs: Path) -> dict[str, bytes]:
    place = configs / family.configs
    files: dict[str, bytes] = {}
    for file in sorted(place.rglob("*.json")):
        name, content = file.relative_to(place).as_posix(), _read(file)
        part = name.partition("/")[0]
        if name == INDEX:
            content["_class_name"] = next(iter(family.pipelines.values()))
        if name.endswith("/config.json"):
            content |= family.overrides.get(part, {})
        if vocabulary := content.pop("vocabulary", None):
            for words in ("vocab.json", "merges.txt"):
                files[f"{part}/{words}"] = (configs / vocabulary / words).read_bytes()
        files[name] = _json(content)
    return files


def _require_fit(parts: Mapping[str, Tensors], files: Mapping[str, bytes]) -> None:
    """Raises `InvalidRequest` if the configs are for networks of another size."""
    for part, (key, entry) in _TELLTALE.items():
        name = f"{part}/config.json"
        tensor = parts.get(part, {}).get(key)
        if tensor is None or name not in files:
            continue
        said = json.loads(files[name]).get(entry)
        if (said[0] if isinstance(said, list) else said) != tensor.shape[0]:
            raise InvalidRequest(
                "The studio has no configs for networks of this size.",
                "Such a checkpoint stays a single file.",
                field="checkpoint",
            )


_TELLTALE = {
    "unet": ("conv_in.weight", "block_out_channels"),
    "vae": ("encoder.conv_in.weight", "block_out_channels"),
    "text_encoder": ("text_model.embeddings.token_embedding.weight", "vocab_size"),
    "text_encoder_2": ("text_model.embeddings.token_embedding.weight", "vocab_size"),
}
"""A tensor of each part whose first axis is an entry of its config."""


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_bytes())


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode() + b"\n"


def _sum(file: Path) -> str:
    """Of a vocabulary, however it is written down."""
    words = json.dumps(json.loads(file.read_bytes()), sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()
