"""What a checkpoint is made of, and whether all of it is as it should be."""

import hashlib
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from studio.checkpoints import numbers
from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.folder import read_parts
from studio.checkpoints.gguf import read_any
from studio.checkpoints.hashes import Hashes, Sums
from studio.checkpoints.header import BadFile, Header, Tensor
from studio.checkpoints.networks import networks_of
from studio.checkpoints.streams import Progress, source, unseen

_PREFIXES = {
    "model.diffusion_model.": "denoiser",
    "first_stage_model.": "vae",
    "cond_stage_model.": "text_encoder",
    "conditioner.embedders.0.": "text_encoder",
    "conditioner.embedders.1.": "text_encoder_2",
    "text_encoders.": "text_encoder",
    "text_encoders.clip_g.": "text_encoder_2",
    "text_encoders.t5xxl.": "t5",
    "vae.": "vae",
    "model_ema.": "averaged denoiser, not used",
}
"""Where the parts of a single file lie, whatever its family."""


@dataclass(frozen=True, slots=True)
class PartFacts:
    name: str
    kind: str
    """Class in diffusers or transformers; empty for a part of a single file."""
    parameters: int
    size_bytes: int
    dtypes: Mapping[str, int]
    """Parameters by number format, the most frequent first."""


@dataclass(frozen=True, slots=True)
class Facts:
    parts: tuple[PartFacts, ...]
    metadata: Mapping[str, str]
    sums: Mapping[str, Sums]
    """By file: its name, or `part/name` in a folder."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What reading every byte has shown."""

    problems: tuple[str, ...] = ()
    """A sentence each; none if all is well."""
    notes: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict[str, str])


def weights(checkpoint: Checkpoint) -> dict[str, Path]:
    """Its weight files by name. Raises `BadFile` or `OSError`."""
    if checkpoint.layout == "file":
        return {checkpoint.path.name: checkpoint.path}
    parts = read_parts(checkpoint.path)
    return {f"{part.name}/{file.name}": file for part in parts for file in part.weights}


def facts(checkpoint: Checkpoint, hashes: Hashes, progress: Progress = unseen) -> Facts:
    """Everything that can be told without loading it. Raises `BadFile` or `OSError`."""
    files = weights(checkpoint)
    headers = {name: read_any(file) for name, file in files.items()}
    metadata = {k: v for header in headers.values() for k, v in header.metadata.items()}
    if checkpoint.layout == "file":
        parts = _of_file(checkpoint, next(iter(headers.values())))
    else:
        parts = tuple(
            _part(part.name, part.kind, [headers[f"{part.name}/{f.name}"] for f in part.weights])
            for part in read_parts(checkpoint.path)
            if part.weights
        )
    sums = {name: hashes.sums(file, progress) for name, file in files.items()}
    return Facts(parts=parts, metadata=metadata, sums=sums)


def _of_file(checkpoint: Checkpoint, header: Header) -> tuple[PartFacts, ...]:
    networks = networks_of(checkpoint)
    prefixes = _PREFIXES | {
        prefix: name for name, network in networks.items() for prefix in network.prefixes if prefix
    }
    found: dict[str, list[str]] = {}
    for key in header.tensors:
        begin = next((p for p in sorted(prefixes, key=len, reverse=True) if key.startswith(p)), "")
        found.setdefault(prefixes.get(begin, "other tensors"), []).append(key)
    if set(found) == {"other tensors"}:
        found = {"denoiser" if checkpoint.family else "tensors": list(header.tensors)}
    return tuple(_tally(name, "", [(header, keys)]) for name, keys in found.items())


def _part(name: str, kind: str, headers: list[Header]) -> PartFacts:
    return _tally(name, kind, [(header, list(header.tensors)) for header in headers])


def _tally(name: str, kind: str, several: Iterable[tuple[Header, list[str]]]) -> PartFacts:
    dtypes: Count[str] = Count()
    size = 0
    for header, keys in several:
        for key in keys:
            tensor = header.tensors[key]
            dtypes[tensor.dtype] += prod(tensor.shape)
            size += tensor.end - tensor.begin
    return PartFacts(name, kind, dtypes.total(), size, dict(dtypes.most_common()))


def verify(
    checkpoint: Checkpoint,
    hashes: Hashes,
    known: Mapping[Path, str],
    progress: Progress = unseen,
) -> Verdict:
    """Reads every byte: headers, whether all numbers are finite, and the hashes.

    `known` are SHA-256 that the files must have, as where they were installed from told; others
    are compared with what they were when the studio read them before.
    """
    if checkpoint.problem:
        return Verdict(problems=(checkpoint.problem,))
    problems: list[str] = []
    notes: list[str] = []
    digests: dict[str, str] = {}
    try:
        files = weights(checkpoint)
        total = sum(file.stat().st_size for file in files.values())
        done = 0
        for name, file in files.items():
            digest, wrong = _read(file, lambda size, before=done: progress(before + size, total))
            done += file.stat().st_size
            digests[name] = digest
            problems += [f"{name}: {sentence}" for sentence in wrong]
            file = file.resolve()
            problems += _compared(name, file, digest, hashes, known)
            if known.get(file) is None and hashes.last(file) is None:
                notes.append(f"{name} was never read before, so there is no hash to compare with.")
            if not problems:
                hashes.remember(file, digest)
    except BadFile as problem:
        problems.append(str(problem))
    except OSError as error:
        problems.append(f"A file of it cannot be read ({error.strerror or error}).")
    return Verdict(problems=tuple(problems), notes=tuple(notes), sha256=digests)


def _compared(
    name: str, file: Path, digest: str, hashes: Hashes, known: Mapping[Path, str]
) -> list[str]:
    if (expected := known.get(file)) is not None and expected != digest:
        return [f"{name}: its SHA-256 is not that of the file that was installed."]
    if (before := hashes.last(file)) is not None and before != digest:
        return [f"{name}: its bytes are not what they were when the studio read it before."]
    return []


def _read(file: Path, told: Callable[[int], None]) -> tuple[str, list[str]]:
    """SHA-256, and what is wrong with the numbers. Raises `BadFile` or `OSError`."""
    header = read_any(file)
    with file.open("rb") as opened:
        digest = hashlib.sha256(opened.read(header.data_begin))
    done, broken = header.data_begin, list[str]()
    # in the order of their bytes, so that they make up the rest of the file
    for key, tensor in sorted(header.tensors.items(), key=lambda entry: entry[1].begin):
        finite = True
        for block in _between(file, done, header.data_begin + tensor.begin):
            digest.update(block)
            done += len(block)
        for block in source(file, header.data_begin, tensor).blocks():
            digest.update(block)
            done += len(block)
            told(done)
            if numbers.is_float(tensor.dtype):
                with np.errstate(invalid="ignore", over="ignore"):
                    finite = finite and bool(np.isfinite(numbers.read(block, tensor.dtype)).all())
        broken += [] if finite else [key]
    for block in _between(file, done, file.stat().st_size):
        digest.update(block)
    if not broken:
        return digest.hexdigest(), []
    some = f"{broken[0][:80]} for one"
    return digest.hexdigest(), [f"{len(broken)} of its tensors hold no finite numbers, {some}."]


def _between(file: Path, begin: int, end: int) -> Iterator[bytes]:
    """Bytes that are no tensor's, as GGUF has them to align the next one."""
    gap = Tensor("U8", (max(0, end - begin),), 0, max(0, end - begin))
    return source(file, begin, gap).blocks()
