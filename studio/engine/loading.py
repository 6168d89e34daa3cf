"""What a checkpoint on disk consists of, and how each network of it is read: without network access
and without code of it."""

import hashlib
import importlib
import inspect
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.loaders import single_file_utils
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.folder import Part, read_parts, scheduler_config
from studio.checkpoints.gguf import read_any
from studio.checkpoints.header import BadFile, Damaged
from studio.checkpoints.header import Tensor as Stored
from studio.checkpoints.networks import STEPS, STEPS_OF_SD2_BASE, embedded
from studio.checkpoints.originals import (
    ORIGINALS,
    POSITIONS,
    PREFIX,
    SINGLE_FILES,
    Original,
    bare,
)
from studio.core.errors import Unavailable
from studio.engine.device import Device, is_out_of_memory
from studio.engine.latent import DECODER
from studio.engine.layouts import Layout, Layouts, Ref, Tensors, Untraceable, trace
from studio.engine.packed import PackedFeed, Packing, packed
from studio.engine.reading import Feed, FileFeed, Sources, TensorFeed
from studio.engine.skeletons import BUILDING, Skeleton
from studio.engine.slabs import Place, arranged
from studio.families._family import Family

log = logging.getLogger("pochade.engine")

MOST_CONFIG_TENSORS = 64
"""Layers that a config may announce for each tensor there is; a bomb announces millions."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How one network is read. Making one reads nothing but headers and configs."""

    part: str
    """What pipelines call it, such as `unet`."""
    kind: str
    """Its class in diffusers or transformers."""
    group: str
    """The same for networks of the same class and config, which can stand in for each other."""
    dtype: torch.dtype
    key: str
    """Of exactly these files as they are now, in this number format."""
    build: Callable[[], torch.nn.Module]
    """Makes the network without weights; inside of `skeletons.building`."""
    sources: Sources
    convert: Callable[[torch.nn.Module, Tensors], Mapping[str, Tensor]]
    """The files' tensors by the network's names; only renames, cuts, joins and turns them."""
    whole: Callable[[], Mapping[str, Tensor]] | None = None
    """Reads all tensors with the library's own code, where `convert` does not find them all."""
    unpacked: str = ""
    """The group of the network that no weight of is packed; none where that is this one."""
    packings: Mapping[str, Packing] = field(default_factory=dict[str, Packing])
    """How weights lie in memory that are unpacked each time that they are computed with."""

    def packed(self, packings: Mapping[str, Packing]) -> "Recipe":
        """The same network with some weights packed; `layout` stays that of this one."""
        packings = {
            name: replace(packing, dtype=self._number(name, torch.float32))
            for name, packing in packings.items()
        }
        told = [[name, *_told(packing)] for name, packing in packings.items()]
        return replace(
            self,
            unpacked=self.group,
            packings=packings,
            group=_hash([self.group, told]),
            key=_hash([self.key, told]),
            build=lambda: packed(self.build(), packings),
        )

    def layout(self, layouts: Layouts, skeleton: Callable[[], Skeleton]) -> Layout | None:
        """Which bytes are which tensor; None if they cannot be had by reading alone. `skeleton` is
        only asked for the first time. Raises `ValueError` where tensors are missing."""
        return layouts.get(self._layout_key, lambda: self._find(skeleton()))

    def is_known(self, layouts: Layouts) -> bool:
        """Whether `layout` would not need a skeleton."""
        return layouts.known(self._layout_key)

    @property
    def _layout_key(self) -> str:
        stored = [[n, t.dtype, t.shape] for n, (_, t) in self.sources.tensors.items()]
        group = self.unpacked or self.group
        return _hash([diffusers.__version__, transformers.__version__, group, stored])

    def _find(self, skeleton: Skeleton) -> Layout:
        made = trace(partial(self.convert, skeleton.module), self.sources.shapes())
        found: dict[str, Any] = {}
        for name, shape in skeleton.shapes.items():
            ref = next((made[one] for one in skeleton.aliases[name] if one in made), None)
            if ref is None and self.whole is not None:
                raise Untraceable
            if ref is None or ref.shape != shape:
                raise ValueError(f"{self.part} lacks {name} of the shape {shape}")
            found[name] = ref
        return found

    def places(
        self, layout: Layout | None, skeleton: Callable[[], Skeleton]
    ) -> tuple[dict[str, Place], int]:
        """Where its tensors go in a slab, and how large that is."""
        if layout is None:
            numbers = skeleton().numbers
            shapes = skeleton().shapes
            return arranged((n, s, self._number(n, numbers[n])) for n, s in shapes.items())
        dtype = self.sources.dtype

        def wanted(name: str, ref: Ref) -> tuple[str, tuple[int, ...], torch.dtype]:
            if packing := self.packings.get(name):
                return name, (packing.size_bytes,), torch.uint8
            return name, ref.shape, self._number(name, dtype(ref.pieces[0].source))

        return arranged(wanted(name, ref) for name, ref in layout.items())

    def _number(self, name: str, stored: torch.dtype) -> torch.dtype:
        if not stored.is_floating_point:
            return stored
        exact: Any = getattr(_class(self.kind), "_keep_in_fp32_modules", None) or ()
        if self.dtype is torch.float16 and not set(exact).isdisjoint(name.split(".")):
            return torch.float32
        return self.dtype

    def feed(self, layout: Layout | None, skeleton: Callable[[], Skeleton]) -> Feed:
        if layout is not None:
            files = FileFeed(self.sources, layout)
            return PackedFeed(files, self.packings) if self.packings else files
        if self.whole is not None:
            return TensorFeed(self.whole)
        return TensorFeed(lambda: self._converted(skeleton()))

    def _converted(self, skeleton: Skeleton) -> Mapping[str, Tensor]:
        """With arithmetic of the converter's, over tensors as they are in the files."""
        state = _mapped(self.sources)
        made = self.convert(skeleton.module, state)
        return {
            name: next(made[one] for one in aliases if one in made)
            for name, aliases in skeleton.aliases.items()
        }


def _told(packing: Packing) -> tuple[Any, ...]:
    return packing.form, packing.shape, packing.scale, bool(packing.pieces)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a checkpoint consists of."""

    recipes: tuple[Recipe, ...]
    objects: Mapping[str, Any]
    """What has no weights: tokenizers and the like."""
    scheduler: Mapping[str, Any]
    settings: Mapping[str, Any]


@contextmanager
def explained(label: str, name: str) -> Iterator[None]:
    """What goes wrong inside becomes a `StudioError` about that file; memory running out stays."""
    try:
        yield
    except (OSError, ValueError, LookupError, RuntimeError, AttributeError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        if isinstance(error, BadFile):
            raise Unavailable(str(error), "Copy or download it again.") from error
        if isinstance(error, FileNotFoundError):
            raise Unavailable(f"{label} is no longer there.", "Choose another one.") from error
        log.exception("%s cannot be loaded", name)
        raise Unavailable(
            f"{label} cannot be loaded: its weights are not what they should be.",
            "Copy or download it again, or choose another one.",
        ) from error


def manifest(
    checkpoint: Checkpoint, family: Family, device: Device, configs: Path, objects: "Objects"
) -> Manifest:
    """Reads headers and configs. `configs` holds a folder per family with what a single file does
    not say."""
    if checkpoint.layout == "folder":
        return _folder(checkpoint.path, family, device, objects)
    if family.needs is not None:
        return _denoiser(checkpoint, family, device, configs, objects)
    return _file(checkpoint.path, family, device, configs, objects)


def single(
    path: Path,
    part: str,
    kind: str,
    home: Path,
    device: Device,
    changes: Mapping[str, Any] = {},
) -> Recipe:
    """The recipe of one network that a file holds, alone or among others, in the original layout or
    in diffusers'. `home` is the folder whose subfolder `part` has its config."""
    return _single(_sources_of(path), part, kind, home, device, changes)


def settled(components: Mapping[str, Any], device: Device) -> Weights:
    """Networks that are no checkpoint, as a ControlNet, on the device and in its precision."""
    for name, module in components.items():
        config: Any = getattr(module, "config", {})
        dtype = _dtype_of(name, type(module), dict(config) if name == "vae" else {}, device)
        _settle(module, dtype, device)
    return _weighed(Weights(components=components, scheduler={}, settings={}, size_bytes=0))


def pipeline(kind: str, weights: Weights, scheduler: Any, extra: Mapping[str, Any]) -> Any:
    """A pipeline of the job's own over shared networks; makes no copy and changes none.

    `extra` adds networks that are not the checkpoint's, such as a ControlNet.
    """
    cls = getattr(diffusers, kind)
    given = {**weights.settings, **weights.components, "scheduler": scheduler, **extra, **_OFF}
    for name, component in given.items():
        if name != "scheduler" and isinstance(component, SchedulerMixin):
            counting: Any = component
            given[name] = type(counting).from_config(counting.config)  # they count steps
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name in given:
            arguments[name] = given[name]
        elif parameter.default is parameter.empty and name not in {"self", "kwargs"}:
            arguments[name] = None
    made = cls(**arguments)
    made.set_progress_bar_config(disable=True)
    return made


def place(pipeline: Any, name: str, part: Any) -> None:
    """Exchanges a part of a job's own pipeline, also in the pipelines of the two stages of one."""
    setattr(pipeline, name, part)
    inner = "prior_pipe" if name.startswith("prior_") else "decoder_pipe"
    if (stage := getattr(pipeline, inner, None)) is not None:
        setattr(stage, name.removeprefix("prior_"), part)


_OFF = {"requires_safety_checker": False, "add_watermarker": False}


def single_network(
    path: Path,
    part: str,
    kind: str,
    config: Callable[[Mapping[str, tuple[int, ...]]], dict[str, Any]],
    device: Device,
    convert: Callable[[Any, Tensors], Mapping[str, Tensor]],
) -> Recipe:
    """The recipe of a file that is one network of diffusers', whose config follows from the shapes of
    its tensors."""
    sources = _sources((path,))
    shapes = {name: stored.shape for name, (_, stored) in sources.tensors.items()}
    return _recipe(part, kind, path, config(shapes), sources, device, convert=convert)


class Objects:
    """Tokenizers and their like, each kept once however many checkpoints have it."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def get(self, kind: str, folder: Path, make: Callable[[], Any], *more: Path) -> Any:
        """The object that `make` makes of the files of these folders."""
        files = [f for place in (folder, *more) for f in sorted(place.iterdir()) if f.is_file()]
        digest = hashlib.sha256(kind.encode())
        for file in files:
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode() + file.read_bytes())
        key = digest.hexdigest()
        if key not in self._kept:
            with BUILDING:
                self._kept[key] = make()
        return self._kept[key]


def _folder(folder: Path, family: Family, device: Device, objects: Objects) -> Manifest:
    parts = {part.name: part for part in read_parts(folder)}
    wanted = [parts[name] for name in family.components if name in parts]
    return Manifest(
        recipes=tuple(_part(folder, part, device) for part in wanted if part.weights),
        objects={part.name: _object(folder, part, objects) for part in wanted if not part.weights},
        scheduler=scheduler_config(folder),
        settings=_settings(folder),
    )


def _settings(folder: Path) -> dict[str, bool]:
    return _flags(json.loads((folder / "model_index.json").read_bytes()))


def _flags(index: Mapping[str, Any]) -> dict[str, bool]:
    return {name: value for name, value in index.items() if isinstance(value, bool)}


def _object(folder: Path, part: Part, objects: Objects) -> Any:
    place = folder / part.name

    def make() -> Any:
        return _class(part.kind).from_pretrained(place, local_files_only=True)

    return objects.get(part.kind, place, make)


def _part(folder: Path, part: Part, device: Device) -> Recipe:
    sources = _sources(part.weights)
    return _recipe(
        part.name,
        part.kind,
        folder / part.name,
        {**part.config},
        sources,
        device,
        convert=_named,
        whole=partial(_whole, folder, part) if hasattr(transformers, part.kind) else None,
    )


def _named(module: Any, state: Tensors) -> Tensors:
    """By the names of today: diffusers renamed layers, transformers left out a level or added one."""
    if hasattr(module, "_fix_state_dict_keys_on_load"):
        return module._fix_state_dict_keys_on_load(dict(state))
    prefix = f"{getattr(module, 'base_model_prefix', '')}."
    shorter = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    longer = {prefix + key: tensor for key, tensor in state.items()}
    seeing = hasattr(getattr(module, "model", None), "language_model")
    deeper = {_deeper(key): tensor for key, tensor in state.items()} if seeing else {}
    return {**shorter, **longer, **deeper, **state}


def _deeper(key: str) -> str:
    """What a language model that sees calls a tensor today: what reads was once all of `model`, or held
    one."""
    head, _, rest = key.partition(".")
    if head == "model" and rest.partition(".")[0] in {"embed_tokens", "layers", "norm"}:
        return f"model.language_model.{rest}"
    if head == "language_model":
        return key.replace("language_model.model.", "model.language_model.").removeprefix(
            "language_model."
        )
    return key


def _whole(folder: Path, part: Part) -> Mapping[str, Tensor]:
    """As transformers reads it, which knows the names that all of its models ever had."""
    options: dict[str, Any] = {"variant": part.variant} if part.variant else {}
    with BUILDING:
        module, told = _class(part.kind).from_pretrained(
            folder / part.name,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    if missing := [key for key in told["missing_keys"] if not key.endswith("position_ids")]:
        raise ValueError(f"{part.name} lacks {len(missing)} tensors, {missing[0]} for one")
    return {
        **dict(module.named_buffers()),
        **dict(module.named_parameters(remove_duplicate=False)),
    }


def _file(path: Path, family: Family, device: Device, configs: Path, objects: Objects) -> Manifest:
    """A file that holds a whole checkpoint. One that was made of a folder has the configs of that
    where they are not the usual ones; words are always those of the family."""
    place = configs / family.configs
    sources = _sources_of(path)
    own = _configs_in(path)
    recipes: list[Recipe] = []
    others: dict[str, Any] = {}
    for name, kinds in family.components.items():
        changes = family.overrides.get(name, {})
        if "Tokenizer" in kinds[0]:
            others[name] = _tokenizer_of(kinds[0], place, name, objects)
        else:
            config = own.get(f"{name}/config.json")
            recipes.append(_single(sources, name, kinds[0], place, device, changes, config))
    scheduler = own.get("scheduler/scheduler_config.json") or scheduler_config(place)
    return Manifest(
        recipes=tuple(recipes),
        objects=others,
        scheduler={**scheduler, **_prediction(sources)},
        settings=_flags(own["model_index.json"]) if "model_index.json" in own else _settings(place),
    )


def _configs_in(path: Path) -> dict[str, dict[str, Any]]:
    """The configs that a converted file keeps of its folder, by path. Raises `ValueError`."""
    files = embedded(read_any(path).metadata).items()
    found = {name: json.loads(data) for name, data in files if name.endswith(_CONFIGS)}
    if not all(isinstance(config, dict) for config in found.values()):
        raise Damaged("The configs in this file are malformed.")
    return found


_CONFIGS = ("/config.json", "/scheduler_config.json", "model_index.json")


def _denoiser(
    checkpoint: Checkpoint, family: Family, device: Device, configs: Path, objects: Objects
) -> Manifest:
    """A file that holds a denoiser, and of what it paints with as much as its makers put in."""
    place = configs / family.configs
    sources = _sources((checkpoint.path,))
    shapes = bare({name: stored.shape for name, (_, stored) in sources.tensors.items()})
    needs = family.needs(shapes) if family.needs else {}
    lent = {one.part: one.offer for one in checkpoint.lent}
    recipes: list[Recipe] = []
    others: dict[str, Any] = {}
    for name, kinds in family.components.items():
        kind = kinds[0]
        if kind in SINGLE_FILES:
            own = _below(sources, (PREFIX,)) or sources
            config = json.loads((place / name / "config.json").read_bytes())
            config |= SINGLE_FILES[kind](shapes)
            convert = partial(renamed, ORIGINALS[kind])
            recipes.append(_recipe(name, kind, place / name, config, own, device, convert=convert))
        elif name in needs:
            if name in lent and lent[name].part:
                part = next(p for p in read_parts(lent[name].path) if p.name == lent[name].part)
                found = _part(lent[name].path, part, device)
                recipes.append(replace(found, part=name))
            elif name in lent:
                own = _sources(lent[name].files)
                own = _below(own, (lent[name].prefix,)) or own
                recipes.append(_beside(own, name, kind, place, device))
            elif own := _below(sources, family.single_file[name].prefixes):
                recipes.append(_beside(own, name, kind, place, device))
    there = {recipe.part for recipe in recipes}
    for name, kinds in family.components.items():
        if "Tokenizer" in kinds[0] and name.replace("tokenizer", "text_encoder") in there:
            others[name] = _tokenizer_of(kinds[0], place, name, objects)
    scheduler = {**scheduler_config(place), **family.overrides.get("scheduler", {})}
    return Manifest(recipes=tuple(recipes), objects=others, scheduler=scheduler, settings={})


def _below(sources: Sources, prefixes: tuple[str, ...]) -> Sources | None:
    """The tensors whose names begin so, by what comes after; None if there are none."""
    found = {
        name.removeprefix(prefix): tensor
        for prefix in prefixes
        for name, tensor in sources.tensors.items()
        if name.startswith(prefix)
    }
    return replace(sources, tensors=found) if found else None


def _beside(sources: Sources, part: str, kind: str, home: Path, device: Device) -> Recipe:
    """A network that is no denoiser, in a file of any layout."""
    config = json.loads((home / part / "config.json").read_bytes())
    convert = _text if hasattr(transformers, kind) else partial(_network, kind)
    return _recipe(part, kind, home / part, config, sources, device, convert=convert)


def _text(module: Any, state: Tensors) -> Tensors:
    """A text encoder's, as transformers names it; a projection that a file leaves out changes
    nothing, as in the files of Stable Diffusion 3."""
    level = "text_model."  # which transformers left out of late, where nothing lies beside it
    made = {**{key.removeprefix(level): t for key, t in state.items()}, **state}
    projection = getattr(module, "text_projection", None)
    if projection is not None and "text_projection.weight" not in made:
        made["text_projection.weight"] = torch.eye(projection.weight.shape[0])
    return made


def renamed(known: Original, module: Any, state: Tensors) -> Tensors:
    """From the names of its makers; the rows of layers that they joined are shared out."""
    sizes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    count = len(getattr(module, "transformer_blocks", ()))
    made: Tensors = {}
    for key, tensor in state.items():
        if key == POSITIONS[0]:
            made[POSITIONS[1]] = tensor
            continue
        layer, _, tail = key.rpartition(".")
        joined = known.joined(layer, count)
        if joined is None or tail not in {"weight", "bias", "scale"}:
            continue
        tail = "weight" if tail == "scale" else tail
        names = [f"{one}.{tail}" for one in joined.layers]
        if joined.swapped:
            shift, scale = tensor.chunk(2)
            made[names[0]] = torch.cat([scale, shift])
        elif len(names) == 1:
            made[names[0]] = tensor
        else:
            made |= zip(names, tensor.split([sizes[name][0] for name in names]), strict=True)
    return made


def _single(
    sources: Sources,
    part: str,
    kind: str,
    home: Path,
    device: Device,
    changes: Mapping[str, Any],
    own: Mapping[str, Any] | None = None,
) -> Recipe:
    """`own` is the config where it is not the one in `home` with `changes`."""
    if own is None:
        config = {**json.loads((home / part / "config.json").read_bytes()), **changes}
    else:
        config = {**own}
    convert = _text_encoder if hasattr(transformers, kind) else partial(_network, kind)
    made = _recipe(part, kind, home / part, config, sources, device, convert=convert)
    if own is None or not hasattr(transformers, kind):
        return made
    cls = _class(kind)
    return replace(made, build=lambda: cls(cls.config_class.from_dict(config)))


def _network(kind: str, module: Any, state: Tensors) -> Mapping[str, Tensor]:
    """By diffusers' names, whichever names they have."""
    if module.state_dict().keys() == state.keys():
        return state
    convert: Any = SINGLE_FILE_LOADABLE_CLASSES[kind]["checkpoint_mapping_fn"]
    return convert(checkpoint=dict(state), config=dict(module.config))


def _text_encoder(module: Any, state: Tensors) -> Mapping[str, Tensor]:
    """A CLIP's, of which SDXL has two that differ in width."""
    utils: Any = single_file_utils
    width = getattr(module, "text_model", module).embeddings.position_embedding.weight.shape[-1]

    def is_(name: str) -> bool:
        key = utils.CHECKPOINT_KEY_NAMES[name]
        return key in state and (name in _ALONE or state[key].shape[-1] == width)

    if is_("clip") or is_("clip_sdxl"):
        made = utils.convert_ldm_clip_checkpoint(dict(state))
    else:
        prefix = next((prefix for name, prefix in _OPEN_CLIPS.items() if is_(name)), None)
        if prefix is None:
            raise ValueError("there is no text encoder")
        made = utils.convert_open_clip_checkpoint(module, dict(state), prefix=prefix)
    if hasattr(module, "text_model"):
        return made
    return {key.removeprefix("text_model."): tensor for key, tensor in made.items()}


_OPEN_CLIPS = {
    "open_clip": "cond_stage_model.model.",
    "open_clip_sdxl": "conditioner.embedders.1.model.",
    "open_clip_sdxl_refiner": "conditioner.embedders.0.model.",
}
_ALONE = frozenset({"clip", "open_clip", "open_clip_sdxl_refiner"})
"""The only text encoders of their files, whatever their width."""


def _tokenizer_of(kind: str, place: Path, name: str, objects: Objects) -> Any:
    settings = json.loads((place / name / "tokenizer_config.json").read_bytes())
    words = place.parent / settings["vocabulary"]
    return objects.get(kind, place / name, lambda: _tokenizer(kind, place, name), words)


def _tokenizer(kind: str, place: Path, name: str) -> Any:
    """The tokenizer that `tokenizer_config.json` sets; its `vocabulary` names a folder beside the
    families' ones, since several share one."""
    settings = json.loads((place / name / "tokenizer_config.json").read_bytes())
    words = place.parent / settings.pop("vocabulary")
    settings.pop("tokenizer_class")
    if not (words / "vocab.json").is_file():
        return getattr(transformers, kind)(tokenizer_file=str(words / "tokenizer.json"), **settings)
    return getattr(transformers, kind)(
        vocab=str(words / "vocab.json"), merges=str(words / "merges.txt"), **settings
    )


def _recipe(
    part: str,
    kind: str,
    home: Path,
    config: dict[str, Any],
    sources: Sources,
    device: Device,
    **how: Any,
) -> Recipe:
    """`home` is the folder with the config, `config` what is in there and what differs."""
    _plausible(config, len(sources.tensors))
    cls = _class(kind)

    def build() -> torch.nn.Module:
        if hasattr(transformers, kind):
            made = cls(cls.config_class.from_pretrained(home, local_files_only=True))
            if (home / "generation_config.json").is_file():
                made.generation_config = transformers.GenerationConfig.from_pretrained(
                    home, local_files_only=True
                )
            return made
        return cls.from_config(config)

    dtype = _dtype_of(part, cls, config, device)
    group = _hash([kind, {k: v for k, v in config.items() if k not in _BY_THE_WAY}, str(dtype)])
    stamps = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in sources.files]
    return Recipe(
        part=part,
        kind=kind,
        group=group,
        dtype=dtype,
        key=_hash([group, stamps, sorted(sources.tensors)]),
        build=build,
        sources=sources,
        **how,
    )


_BY_THE_WAY = frozenset(
    {"_name_or_path", "_diffusers_version", "transformers_version", "torch_dtype", "dtype"}
)
"""Entries of configs that change nothing."""


def _plausible(config: Mapping[str, Any], tensors: int) -> None:
    """A config may not announce more layers than the file has tensors for: they would be built."""
    for name, value in config.items():
        counted = "layers" in name or "blocks" in name
        numbers = value if isinstance(value, list | tuple) else [value]
        if counted and any(
            isinstance(n, int) and n > MOST_CONFIG_TENSORS + tensors for n in numbers
        ):
            raise Damaged(f"This checkpoint's config does not fit its weights ({name[:40]}).")


def _sources(files: tuple[Path, ...]) -> Sources:
    tensors: dict[str, tuple[int, Stored]] = {}
    begins: list[int] = []
    for number, file in enumerate(files):
        header = read_any(file)
        begins.append(header.data_begin)
        tensors |= {name: (number, stored) for name, stored in header.tensors.items()}
    return Sources(files, tuple(begins), tensors)


def _sources_of(path: Path) -> Sources:
    """Of a single file. Those of 2022 leave out a level in the names of the text encoder."""
    sources = _sources((path,))
    old, new = "cond_stage_model.transformer.", "cond_stage_model.transformer.text_model."
    if f"{old}embeddings.position_embedding.weight" not in sources.tensors:
        return sources
    return replace(
        sources,
        tensors={
            new + key.removeprefix(old) if key.startswith(old) else key: tensor
            for key, tensor in sources.tensors.items()
        },
    )


def _mapped(sources: Sources) -> Tensors:
    """All tensors of the files, by the names they go under here."""
    made = {
        name: torch.empty(stored.shape, dtype=sources.dtype(name))
        for name, (_, stored) in sources.tensors.items()
    }
    layout = trace(lambda state: state, sources.shapes())
    FileFeed(sources, layout).pour(made, lambda: None)
    return made


def _prediction(sources: Sources) -> dict[str, Any]:
    """What marker tensors say about how a checkpoint was trained (NoobAI and its descendants)."""
    if STEPS in sources.tensors and _number(sources, STEPS) == STEPS_OF_SD2_BASE:
        return {"prediction_type": "epsilon"}
    if "v_pred" not in sources.tensors:
        return {}
    zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return {"prediction_type": "v_prediction", **(zero if "ztsnr" in sources.tensors else {})}


def _number(sources: Sources, name: str) -> int:
    only = replace(sources, tensors={name: sources.tensors[name]})
    return int(_mapped(only)[name])


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _class(kind: str) -> Any:
    if kind in _ASIDE:
        return getattr(importlib.import_module(_ASIDE[kind]), kind)
    return getattr(transformers if hasattr(transformers, kind) else diffusers, kind)


_ASIDE = {"PaellaVQModel": "diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model"}
"""Where classes lie that diffusers does not hand out at its front door."""


def _settle(module: torch.nn.Module, dtype: torch.dtype, device: Device) -> None:
    """Gives the module tensors of its own on the device; as read they are windows into the file,
    and a file that shrinks takes the process with it."""
    module.eval().requires_grad_(False)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_meta:
            raise ValueError("a tensor is missing from the file")
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        tensor.data = tensor.data.to(device=device.name, dtype=kind, copy=True)


def _dtype_of(part: str, cls: Any, config: Mapping[str, Any], device: Device) -> torch.dtype:
    """A VAE makes pixels, in which rounding would show; and half precision overflows in those that
    say so, which compute in float32."""
    if part not in _MAKE_PIXELS:
        return device.dtype
    if device.exact is not None or device.dtype is not torch.float16:
        return device.exact or device.dtype
    known = inspect.signature(cls.__init__).parameters.get("force_upcast")
    upcast = config.get("force_upcast", known.default if known else part == DECODER)
    return torch.float32 if upcast else device.dtype


_MAKE_PIXELS = frozenset({"vae", DECODER})
"""What pipelines call the autoencoders that may compute in other numbers than the rest."""


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
