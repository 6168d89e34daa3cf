"""A checkpoint that is a folder in diffusers' layout: what is in it, and that it holds no code."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from studio.checkpoints.header import BadFile, Tensor, read_header

INDEX = "model_index.json"

MAX_CONFIG_BYTES = 1 << 20

_LIBRARIES = frozenset({"diffusers", "transformers"})
_INSIDE = frozenset(
    {
        "PaellaVQModel",
        "StableCascadeUNet",
        "GlmImageForConditionalGeneration",
        "GlmImageProcessor",
    }
)
"""Classes of the two libraries that folders name by the pipeline they live beside."""
_WITHOUT_WEIGHTS = ("Tokenizer", "Processor", "Scheduler", "FeatureExtractor")
"""Parts of a class with one of these in its name are settings alone."""
_LEFT_OUT = frozenset({"safety_checker", "feature_extractor", "image_encoder", "scheduler"})
"""Parts that are never loaded as the folder says: samplers bring their own scheduler class."""
_ATTENTIONS = frozenset({"eager", "sdpa", "flash_attention_2", "flex_attention"})
_CODE_KEYS = frozenset({"auto_map", "custom_pipelines", "custom_pipeline", "trust_remote_code"})
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5")
_CODE_FILES = (".py", ".pyc", ".so", ".dll", ".pyd")


class CustomCode(BadFile):
    """Loading it would run code that came with it."""


class UnsafeWeights(BadFile):
    """Its weights are stored in a format that can run code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One network of a folder: its class and its weights."""

    name: str
    kind: str
    """Class name in diffusers or transformers."""
    config: Mapping[str, Any]
    weights: tuple[Path, ...]
    """Shards in order; a tokenizer, a processor and a scheduler have none."""
    variant: str = ""
    """What stands in its file names before `.safetensors`, such as fp16."""


def read_parts(folder: Path) -> tuple[Part, ...]:
    """The parts that `model_index.json` names, without those that are never loaded.

    Raises `CustomCode`, `UnsafeWeights` or another `BadFile`; nothing was imported or executed.
    """
    index = _config(folder / INDEX)
    for file in _files(folder):
        if file.suffix.lower() in _CODE_FILES:
            raise CustomCode(f"This checkpoint contains custom code ({file.name}).")
    if re.fullmatch(r"[A-Za-z0-9]+Pipeline", str(index.get("_class_name"))) is None:
        raise CustomCode("This checkpoint contains custom code (its pipeline is not diffusers').")
    named = {
        name: cast(list[Any], entry)
        for name, entry in sorted(index.items())
        if isinstance(entry, list)
    }
    for name in _LEFT_OUT & named.keys():
        _refuse_foreign(named[name])
    return tuple(
        _part(folder, name, entry)
        for name, entry in named.items()
        if name not in _LEFT_OUT and any(entry)
    )


def saved_from(folder: Path) -> str:
    """The pipeline class that wrote the folder. Raises `BadFile`."""
    return str(_config(folder / INDEX).get("_class_name"))


def scheduler_config(folder: Path) -> dict[str, Any]:
    """What the checkpoint's scheduler was set to: betas, prediction type. Raises `BadFile`."""
    return _config(folder / "scheduler" / "scheduler_config.json")


def _refuse_foreign(entry: list[Any]) -> None:
    """Parts that are not loaded may not bring code either: nobody should trust such a folder."""
    library, kind = [*entry, None, None][:2]
    # The one class outside the two libraries' front doors that published folders name.
    if library not in _LIBRARIES | {None} and kind != "StableDiffusionSafetyChecker":
        raise CustomCode(f"This checkpoint contains custom code ({_brief(kind)}).")


def shapes_of(parts: tuple[Part, ...]) -> dict[str, tuple[int, ...]]:
    """Tensor shapes of all parts by key, the part's name in front. Raises `BadFile`."""
    return {key: tensor.shape for key, tensor in tensors_of(parts).items()}


def tensors_of(parts: tuple[Part, ...]) -> dict[str, Tensor]:
    """The tensors of all parts by key, the part's name in front. Raises `BadFile`."""
    return {
        f"{part.name}.{key}": tensor
        for part in parts
        for file in part.weights
        for key, tensor in read_header(file).tensors.items()
    }


def _part(folder: Path, name: str, entry: Any) -> Part:
    if len(entry) != 2 or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise BadFile("This checkpoint's model_index.json is malformed.")
    library, kind = entry
    known = library in _LIBRARIES or kind in _INSIDE
    if not known or re.fullmatch(r"[A-Z][A-Za-z0-9_]*", str(kind)) is None:
        raise CustomCode(f"This checkpoint contains custom code ({_brief(kind)}).")
    place = folder / name
    for file in sorted(place.glob("*.json")):
        if not file.name.endswith(".index.json") and file.name not in {
            "vocab.json",
            "tokenizer.json",
        }:
            _refuse_code(_config(file))
    if any(word in kind for word in _WITHOUT_WEIGHTS):
        return Part(name=name, kind=kind, config={}, weights=())
    weights, variant = _weights(place)
    return Part(
        name=name,
        kind=kind,
        config=_config(place / "config.json"),
        weights=weights,
        variant=variant,
    )


def _weights(place: Path) -> tuple[tuple[Path, ...], str]:
    """The safetensors of a part, the plain ones rather than a variant (`….fp16.safetensors`)."""
    found: dict[str, list[Path]] = {}
    for file in sorted(place.glob("*.safetensors")):
        if _own(file) and file.is_file() and (name := _WEIGHTS.fullmatch(file.name)):
            found.setdefault(name["variant"] or "", []).append(file)
    if not found:
        pickled = next((f for f in sorted(place.glob("*")) if f.suffix in _PICKLES), None)
        if pickled:
            raise UnsafeWeights(
                f"Only .safetensors models can be used ({pickled.name} was not loaded)."
            )
        raise BadFile(f"This checkpoint is incomplete: its {place.name} has no weights.")
    variant = min(found, key=lambda name: (name != "", name != "fp16", name))
    files = found[variant]
    sharded = [file for file in files if "-of-" in file.name]
    whole = [file for file in files if "-of-" not in file.name]
    if whole:
        return (whole[0],), variant
    expected = int(sharded[0].name.split("-of-")[1][:5])
    if len(sharded) != expected:
        raise BadFile(
            f"This checkpoint is incomplete: {expected - len(sharded)} files are missing."
        )
    return tuple(sharded), variant


def _own(file: Path) -> bool:
    """Not a link, unless it is one into its own repository in Hugging Face's cache, where
    `models--…/snapshots/REVISION/PART/FILE` leads to `models--…/blobs/HASH`."""
    if not file.is_symlink():
        return True
    snapshots = file.parents[2]
    return snapshots.name == "snapshots" and file.resolve().parent == (
        snapshots.parent.resolve() / "blobs"
    )


_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)"
    r"(?:\.(?P<variant>[a-z0-9_]+))?(?:-\d{5}-of-\d{5})?\.safetensors"
)


def _refuse_code(config: Mapping[str, Any]) -> None:
    """No entry, at any depth, may name code to load (CVE-2026-4372 and its kin)."""
    for key, value in _entries(config):
        if key in _CODE_KEYS and value:
            raise CustomCode(f"This checkpoint contains custom code (its config sets {key}).")
        foreign = value is not None and value not in _ATTENTIONS and not isinstance(value, bool)
        if "attn_implementation" in key and foreign:
            raise CustomCode(f"This checkpoint contains custom code (its config sets {key}).")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in cast(dict[Any, Any], value).items():
            yield str(key), inner if isinstance(inner, str | bool | None) else str(inner)
            yield from _entries(inner)
    elif isinstance(value, list):
        for inner in cast(list[Any], value):
            yield from _entries(inner)


def _config(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise BadFile(f"This checkpoint's {path.name} is too large to be a config.")
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BadFile(f"This checkpoint is incomplete: {path.name} is missing.") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(f"This checkpoint's {path.name} is not readable.") from None
    if not isinstance(found, dict):
        raise BadFile(f"This checkpoint's {path.name} is not readable.")
    return cast(dict[str, Any], found)


def _files(folder: Path) -> Iterator[Path]:
    """Files of the folder and of its parts; deeper ones are never read."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield from (file for file in sorted(entry.iterdir()) if not file.is_dir())
        else:
            yield entry


def _brief(value: Any) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "", str(value))[:40] or "a class of its own"
