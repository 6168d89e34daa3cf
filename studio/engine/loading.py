"""From a checkpoint on disk to networks in memory, without network access and without code of it."""

import inspect
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors.torch import load_file

from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.folder import Part, read_parts, scheduler_config
from studio.checkpoints.header import BadFile
from studio.core.errors import Unavailable
from studio.engine.device import Device, is_out_of_memory
from studio.families._family import Family

log = logging.getLogger("pochade.engine")


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """A checkpoint in memory. Shared by all jobs: nobody changes or hooks what is in here."""

    components: Mapping[str, Any]
    """Networks and tokenizers by the name that pipelines give them."""
    scheduler: Mapping[str, Any]
    """The checkpoint's scheduler config."""
    settings: Mapping[str, Any]
    """Entries of model_index.json that are arguments of the pipeline, as
    `force_zeros_for_empty_prompt`."""
    size_bytes: int


def load(checkpoint: Checkpoint, family: Family, device: Device, configs: Path) -> Weights:
    """Reads a checkpoint into memory of its own: later changes of the files do not reach it.

    `configs` holds a folder per family with what a single file does not say. Raises `StudioError`;
    memory running out is raised as torch does.
    """
    try:
        if checkpoint.layout == "folder":
            weights = _folder(checkpoint.path, family)
        else:
            weights = _file(checkpoint.path, family, configs)
        for name, component in weights.components.items():
            if isinstance(component, torch.nn.Module):
                _settle(component, _dtype_of(name, component, device), device)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        if isinstance(error, BadFile):
            raise Unavailable(str(error), "Copy or download it again.") from error
        log.exception("%s cannot be loaded", checkpoint.id)
        raise Unavailable(
            f"'{checkpoint.label}' cannot be loaded: its weights are not what they should be.",
            "Copy or download it again, or choose another checkpoint.",
        ) from error
    return _weighed(weights)


def settled(components: Mapping[str, Any], device: Device) -> Weights:
    """Networks that are no checkpoint, as a ControlNet, on the device and in its precision."""
    for name, module in components.items():
        _settle(module, _dtype_of(name, module, device), device)
    return _weighed(Weights(components=components, scheduler={}, settings={}, size_bytes=0))


def pipeline(kind: str, weights: Weights, scheduler: Any, extra: Mapping[str, Any]) -> Any:
    """A pipeline of the job's own over shared networks; makes no copy and changes none.

    `extra` adds networks that are not the checkpoint's, such as a ControlNet.
    """
    cls = getattr(diffusers, kind)
    given = {**weights.settings, **weights.components, "scheduler": scheduler, **extra, **_OFF}
    for name, component in given.items():
        if name != "scheduler" and isinstance(component, diffusers.SchedulerMixin):
            given[name] = type(component).from_config(component.config)  # they count steps
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name in given:
            arguments[name] = given[name]
        elif parameter.default is parameter.empty and name not in {"self", "kwargs"}:
            arguments[name] = None
    made = cls(**arguments)
    made.set_progress_bar_config(disable=True)
    return made


_OFF = {"requires_safety_checker": False, "add_watermarker": False}


def _folder(folder: Path, family: Family) -> Weights:
    index = json.loads((folder / "model_index.json").read_bytes())
    parts = {part.name: part for part in read_parts(folder)}
    return Weights(
        components={
            name: _part(folder, parts[name]) for name in family.components if name in parts
        },
        scheduler=scheduler_config(folder),
        settings={k: v for k, v in index.items() if isinstance(v, bool)},
        size_bytes=0,
    )


def _part(folder: Path, part: Part) -> Any:
    library = transformers if hasattr(transformers, part.kind) else diffusers
    cls = getattr(library, part.kind)
    if not part.weights:
        return cls.from_pretrained(folder / part.name, local_files_only=True)
    options: dict[str, Any] = {"variant": part.variant} if part.variant else {}
    module, told = cls.from_pretrained(
        folder / part.name,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    if missing := [key for key in told["missing_keys"] if not key.endswith("position_ids")]:
        raise ValueError(f"{part.name} lacks {len(missing)} tensors, {missing[0]} for one")
    return module


def _file(path: Path, family: Family, configs: Path) -> Weights:
    place = configs / family.configs
    read: Callable[[Path], dict[str, Any]] = load_file
    state = _renamed(read(path))
    components: dict[str, Any] = {}
    for name, kinds in family.components.items():
        changes = family.overrides.get(name, {})
        components[name] = _reader(kinds[0])(kinds[0], state, place, name, **changes)
    return Weights(
        components=components,
        scheduler={**scheduler_config(place), **_prediction(state)},
        settings={},
        size_bytes=0,
    )


_Reader = Callable[..., Any]
"""(class name, state dict, folder of configs, component, changes of its config) → component."""


def _reader(kind: str) -> _Reader:
    if "Tokenizer" in kind:
        return _tokenizer
    return _text_encoder if hasattr(transformers, kind) else _network


def _network(kind: str, state: dict[str, Any], place: Path, name: str, **changes: Any) -> Any:
    # A state dict and a local config: nothing is left for from_single_file to look for elsewhere.
    return getattr(diffusers, kind).from_single_file(
        state, config=str(place), subfolder=name, local_files_only=True, **changes
    )


def _text_encoder(kind: str, state: dict[str, Any], place: Path, name: str) -> Any:
    read: Callable[..., Any] = create_diffusers_clip_model_from_ldm
    return read(
        getattr(transformers, kind),
        state,
        config=str(place),
        subfolder=name,
        local_files_only=True,
    )


def _tokenizer(kind: str, state: dict[str, Any], place: Path, name: str) -> Any:
    """The tokenizer that `tokenizer_config.json` sets; its `vocabulary` names a folder beside the
    families' ones, since several share one."""
    settings = json.loads((place / name / "tokenizer_config.json").read_bytes())
    words = place.parent / settings.pop("vocabulary")
    settings.pop("tokenizer_class")
    return getattr(transformers, kind)(
        vocab=str(words / "vocab.json"), merges=str(words / "merges.txt"), **settings
    )


def _renamed(state: dict[str, Any]) -> dict[str, Any]:
    """Files of 2022 leave out a level in the names of the text encoder."""
    old, new = "cond_stage_model.transformer.", "cond_stage_model.transformer.text_model."
    if f"{old}embeddings.position_embedding.weight" not in state:
        return state
    return {
        new + key.removeprefix(old) if key.startswith(old) else key: tensor
        for key, tensor in state.items()
    }


STEPS_OF_SD2_BASE = 875_000
"""Stable Diffusion 2's model for 512 px predicts noise, all later ones velocities."""


def _prediction(state: Mapping[str, Any]) -> dict[str, Any]:
    """What marker tensors say about how a checkpoint was trained (NoobAI and its descendants)."""
    if "global_step" in state and int(state["global_step"]) == STEPS_OF_SD2_BASE:
        return {"prediction_type": "epsilon"}
    if "v_pred" not in state:
        return {}
    zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return {"prediction_type": "v_prediction", **(zero if "ztsnr" in state else {})}


def _settle(module: torch.nn.Module, dtype: torch.dtype, device: Device) -> None:
    """Gives the module tensors of its own on the device; as read they are windows into the file,
    and a file that shrinks takes the process with it."""
    module.eval().requires_grad_(False)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_meta:
            raise ValueError("a tensor is missing from the file")
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        tensor.data = tensor.data.to(device=device.name, dtype=kind, copy=True)


def _dtype_of(name: str, module: Any, device: Device) -> torch.dtype:
    """Half precision overflows in autoencoders that say so; these compute in float32."""
    upcast = name == "vae" and getattr(module.config, "force_upcast", False)
    return torch.float32 if upcast and device.dtype is torch.float16 else device.dtype


def _weighed(weights: Weights) -> Weights:
    modules = [m for m in weights.components.values() if isinstance(m, torch.nn.Module)]
    return Weights(
        components=weights.components,
        scheduler=weights.scheduler,
        settings=weights.settings,
        size_bytes=sum(map(size_of, modules)),
    )


def size_of(module: torch.nn.Module) -> int:
    """Bytes of a network's tensors."""
    return sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))
