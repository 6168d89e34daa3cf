"""From one layout to the other, and from one number format to another, a block at a time."""

import hashlib
import json
import struct
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from studio.checkpoints.catalog import DENOISERS, Checkpoint, families, family_of
from studio.checkpoints.folder import INDEX, MAX_CONFIG_BYTES
from studio.checkpoints.gguf import read_any
from studio.checkpoints.header import read_header
from studio.checkpoints.networks import (
    BARE,
    CONFIGS,
    RESTORE,
    STEPS,
    STEPS_OF_SD2_BASE,
    AsFile,
    AsFolder,
    Tensors,
    Unpack,
    as_file,
    as_folder,
    embedded,
    prediction,
)
from studio.checkpoints.originals import SINGLE_FILES, bare
from studio.checkpoints.scan import SIDECAR, sidecar_of
from studio.checkpoints.sidecar import read_sidecar
from studio.checkpoints.streams import (
    Counter,
    Progress,
    Wanted,
    own_format,
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
from studio.families._keys import Shapes

Layout = Literal["file", "folder"]

_STALE = ("modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash")
"""Entries of a file's metadata that are hashes of its tensors."""
_ONE, _BASE = struct.pack("<f", 1.0), struct.pack("<q", STEPS_OF_SD2_BASE)
_MARKERS: Mapping[str, Wanted] = {
    "v_pred": Wanted(dtype="F32", shape=(), blocks=lambda: (_ONE,)),
    "ztsnr": Wanted(dtype="F32", shape=(), blocks=lambda: (_ONE,)),
    STEPS: Wanted(dtype="I64", shape=(), blocks=lambda: (_BASE,)),
}
"""Tensors of a single file that say how it was trained."""
_SCHEDULER = "scheduler/scheduler_config.json"
_TEXTS = (".json", ".txt", ".model", ".jinja")
"""Endings of what tells a folder's parts how they are used, tokenizers' words among it."""
_Found = TypeVar("_Found", AsFile, AsFolder)


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
    unpack: Unpack | None = None,
    force: bool = False,
    progress: Progress = unseen,
) -> Made:
    """Writes `checkpoint` in layout `to`, in safetensors' `dtype` or as it is.

    `configs` holds a folder per family with what a single file does not say; GGUF takes an `unpack`.
    Raises `InvalidRequest`, `StorageFailed` or `BadFile`; then nothing of it is left. So it is when
    `progress` raises.
    """
    if to == checkpoint.layout and dtype is None:
        raise InvalidRequest(
            f"'{checkpoint.label}' is a {to} already.",
            "Choose the other layout, or another number format with --dtype.",
            field="to",
        )
    if to == "file":
        file = as_file(checkpoint, unpack)
        file = file if dtype is None else altered(file)
        tensors = _wanted(file.tensors, dtype)
        made = write_file(checkpoint, file, tensors, target, configs, force, progress)
    else:
        folder = as_folder(checkpoint, unpack)
        folder = folder if dtype is None else altered(folder)
        parts = {name: _wanted(tensors, dtype) for name, tensors in folder.parts.items()}
        size = write_folder(checkpoint, folder, parts, target, configs, force, progress)
        left = tuple(name for name in folder.left_out if name not in folder.markers)
        made = Made(path=target, size_bytes=size, left_out=left)
    carry_notes(checkpoint, target)
    return made


def altered(found: _Found) -> _Found:
    """With metadata that is true of other numbers."""
    said = found.metadata.items()
    return replace(found, metadata={key: value for key, value in said if key not in _STALE})


def carry_notes(checkpoint: Checkpoint, target: Path, *, label: bool = True) -> None:
    """Notes beside `target` what a person noted beside the checkpoint, its `label` too, and what only
    its folder or its notes say: how a distilled one wants to be used, and which of several families
    with the same keys it is of. Notes that are there already stay."""
    there = sidecar_of(target)
    if there.exists():
        return
    noted = asdict(read_sidecar(sidecar_of(checkpoint.path)))
    said = {entry: value for entry, value in noted.items() if value not in (None, ())}
    if not label:
        said.pop("label", None)
    if checkpoint.family:  # else it is a denoiser alone, of which nothing else is known
        said.pop("family", None)
        family = families()[checkpoint.family]
        if checkpoint.defaults != family.defaults:
            said |= asdict(checkpoint.defaults)
        if target.is_file() and checkpoint.native_px != family.native_px:
            said["native_px"] = checkpoint.native_px
        if target.is_file() and family_of(read_header(target).shapes) != family:
            said["family"] = family.id
    if said:
        put(there, _json(said))


def write_file(
    checkpoint: Checkpoint,
    found: AsFile,
    tensors: Mapping[str, Wanted],
    target: Path,
    configs: Path,
    force: bool,
    progress: Progress,
) -> Made:
    """Writes a single file with these tensors and everything else that `checkpoint` says, which
    `found` is of. Raises as `convert`."""
    metadata, tensors = dict(found.metadata), dict(tensors)
    notes: tuple[str, ...] = ()
    if checkpoint.layout == "folder":
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        known = _known_configs(families()[checkpoint.family], shapes, configs)
        own, notes = _own_configs(checkpoint.path, known, configs)
        if own:
            metadata[CONFIGS] = json.dumps(own, sort_keys=True)
            # denoisers that lie alone in their files are told by their tensors
            if families()[checkpoint.family].needs or not _has_usual_words(
                checkpoint.path, known, configs
            ):
                notes = (
                    f"It is not the usual {checkpoint.family_label}, and a single file is painted with "
                    "as if it were: keep the folder, or make one of the file again.",
                )
        usual = known.get(_SCHEDULER, {}).get("prediction_type", "epsilon")
        tensors |= {name: _MARKERS[name] for name in prediction(checkpoint.path, usual)}
    require_free(target, size_of(tensors))
    counter = Counter(size_of(tensors), progress)
    with replacing(target, force=force) as fresh:
        digest = write(fresh, tensors, metadata, counter.step)
    return Made(path=target, size_bytes=target.stat().st_size, sha256=digest, notes=notes)


def write_folder(
    checkpoint: Checkpoint,
    found: AsFolder,
    parts: Mapping[str, Mapping[str, Wanted]],
    target: Path,
    configs: Path,
    force: bool,
    progress: Progress,
) -> int:
    """Writes a folder with these tensors and everything else that `checkpoint` has, which `found` is
    of; the bytes of the tensors. Raises as `convert`."""
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
            usual = "model" if name.startswith("text") else "diffusion_pytorch_model"
            stem = found.stems.get(name, usual)
            (fresh / name).mkdir(parents=True, exist_ok=True)
            metadata = {"format": "pt"}
            if name in DENOISERS and checkpoint.layout == "file":
                metadata[RESTORE] = json.dumps(_restored(found.metadata))
            write(fresh / name / f"{stem}.safetensors", tensors, metadata, counter.step)
    return total


def _restored(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in {CONFIGS, BARE}}


def _wanted(tensors: Tensors, dtype: str | None) -> dict[str, Wanted]:
    return {name: recast(tensor, dtype or own_format(tensor)) for name, tensor in tensors.items()}


def _own_configs(
    folder: Path, known: Mapping[str, Mapping[str, Any]], configs: Path
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The folder's configs and vocabularies by path, if they are not the `known` ones of its family."""
    if _is_usual(folder, known) and _has_usual_words(folder, known, configs):
        return {}, ()
    texts = {
        file.relative_to(folder).as_posix(): file.read_text("utf-8")
        for file in sorted((*folder.glob("*.json"), *folder.glob("*/*.json"), *folder.glob("*/*.txt")))
        if not file.name.endswith((".index.json", SIDECAR)) and not _is_said_twice(file)
    }  # fmt: skip
    if sum(map(len, texts.values())) > MAX_CONFIG_BYTES:
        return {}, (
            "Its configs are not the usual ones of its family, and too large for the file.",
        )
    return texts, ()


def _is_said_twice(file: Path) -> bool:
    """Whether it is a tokenizer whose vocabulary lies beside it."""
    return file.name == "tokenizer.json" and file.with_name("vocab.json").is_file()


def _is_usual(folder: Path, known: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether its networks and its scheduler are those of its family."""
    for name, config in known.items():
        kind = name.rpartition("/")[2]
        if kind in {"config.json", "scheduler_config.json"}:
            own = _read(folder / name) if (folder / name).is_file() else {}
            said = {key for key in own.keys() & config.keys() if own[key] is not None}
            said = said & _SHIFTS if "scheduler" in kind else said - _SAID_OTHERWISE
            if any(own[key] != config[key] for key in said):
                return False
    return True


def _has_usual_words(folder: Path, known: Mapping[str, Mapping[str, Any]], configs: Path) -> bool:
    """Whether its tokenizers know the words of its family's."""
    for name, config in known.items():
        if words := config.get("vocabulary"):
            theirs = folder / name.partition("/")[0]
            file = next((f for f in _VOCABULARIES if (configs / words / f).is_file()), "")
            there = (theirs / file).is_file()
            if there and _words(theirs / file) != _words(configs / words / file):
                return False
    return True


_VOCABULARIES = ("vocab.json", "tokenizer.json")
"""The file with a tokenizer's words: of CLIP's, and of T5's."""


_SAID_OTHERWISE = frozenset(
    {"architectures", "sample_size", "dropout", "model_type", "scaling_factor"}
)
"""Entries that do not change which tensors a network has, or how they are computed with."""
_SHIFTS = frozenset({"shift", "use_dynamic_shifting", "base_shift", "max_shift"})
"""Entries of a scheduler's config that a single file cannot say otherwise."""


def _config_files(checkpoint: Checkpoint, found: AsFolder, configs: Path) -> dict[str, bytes]:
    """Everything of a folder but its weights, by path."""
    if checkpoint.layout == "folder":
        folder = checkpoint.path
        return {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in sorted((*folder.glob("*.json"), *folder.glob("*/*")))
            if file.suffix in _TEXTS and not file.name.endswith(".index.json")
        }
    family = families()[checkpoint.family]
    shapes = read_any(checkpoint.path).shapes
    files = embedded(found.metadata) or _usual(family, shapes, found.parts.keys(), configs)
    _require_fit(found.parts, files)
    if found.markers:
        predicts = "epsilon" if STEPS in found.markers else "v_prediction"
        changes: dict[str, Any] = {"prediction_type": predicts}
        if "ztsnr" in found.markers:
            changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        files[_SCHEDULER] = _json({**json.loads(files[_SCHEDULER]), **changes})
    return files


def _known_configs(family: Family, shapes: Shapes, configs: Path) -> dict[str, dict[str, Any]]:
    """The usual configs of a family by path, for a file with tensors of these shapes."""
    place = configs / family.configs
    changes = {part: dict(entries) for part, entries in family.overrides.items()}
    for part, kinds in family.components.items():
        if told := SINGLE_FILES.get(kinds[0]):
            changes[part] = {**changes.get(part, {}), **told(bare(shapes))}
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(place.rglob("*.json")):
        name, content = file.relative_to(place).as_posix(), _read(file)
        part = name.partition("/")[0]
        if name == INDEX:
            content["_class_name"] = next(iter(family.pipelines.values()))
        if name.endswith(("/config.json", "/scheduler_config.json")):
            content |= changes.get(part, {})
        found[name] = content
    return found


def _usual(
    family: Family, shapes: Shapes, parts: Collection[str], configs: Path
) -> dict[str, bytes]:
    """All files of a folder but its weights, where its networks are these."""
    absent = {part for part in family.optional - {*parts} if "tokenizer" not in part}
    absent |= {part.replace("text_encoder", "tokenizer") for part in absent}
    files: dict[str, bytes] = {}
    for name, content in _known_configs(family, shapes, configs).items():
        part = name.partition("/")[0]
        if part in absent:
            continue
        if name == INDEX:
            content |= {one: [None, None] for one in absent & content.keys()}
        if vocabulary := content.pop("vocabulary", None):
            for words in (*_VOCABULARIES, "merges.txt"):
                if (file := configs / vocabulary / words).is_file():
                    files[f"{part}/{words}"] = file.read_bytes()
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


_WORDS = "text_model.embeddings.token_embedding.weight"
_TELLTALE = {
    "unet": ("conv_in.weight", "block_out_channels"),
    "vae": ("encoder.conv_in.weight", "block_out_channels"),
    "text_encoder": (_WORDS, "vocab_size"),
    "text_encoder_2": (_WORDS, "vocab_size"),
    "text_encoder_3": ("shared.weight", "vocab_size"),
}
"""A tensor of each part whose first axis is an entry of its config."""


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_bytes())


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode() + b"\n"


def _words(file: Path) -> str:
    """A hash of a vocabulary, however it is written down."""
    told = _read(file)
    words = json.dumps(told["model"] if file.name == "tokenizer.json" else told, sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()
