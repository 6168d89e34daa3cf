"""LoRA and its kin: read from disk, and added to the layers of a checkpoint for as long as one
picture takes.

Weights are shared and never change. While a picture is painted, the parents of the layers that are
added to hold another layer in their place: one that calls the shared one and adds to its output.
"""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from torch.utils.weak import WeakIdKeyDictionary

from studio.checkpoints.adapters import DENOISER, kind_of, layers_of
from studio.checkpoints.originals import ORIGINALS
from studio.core.errors import InvalidRequest
from studio.tasks._task import Added

log = logging.getLogger("pochade.engine")


Rows = tuple[slice, ...]
"""Of a matrix, one after the other."""


class Addition(torch.nn.Module, ABC):
    """What one adapter adds to one layer, at strength 1."""

    @abstractmethod
    def fits(self, layer: torch.nn.Module) -> bool:
        """Whether it was made for a layer of that shape."""

    @abstractmethod
    def forward(self, layer: Any, x: Tensor) -> Tensor:
        """What is added to `layer(x)`."""

    @abstractmethod
    def rows(self, rows: Rows, of: int) -> "Addition":
        """The part of it that goes to a layer with these of the `of` rows that it was made for.

        Raises `ValueError` if it was made for another number, or cannot be shared out.
        """


class _Change(Addition):
    """One that stands for another weight of the layer."""

    @abstractmethod
    def change(self, layer: Any) -> Tensor:
        """What it adds to the layer's weight, in the weight's shape."""


class _LowRank(_Change):
    """LoRA: down to a few channels and up again; LoCon for convolutions."""

    down: Tensor
    up: Tensor
    mid: Tensor | None

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.register_buffer("down", tensors["down"])
        self.register_buffer("up", tensors["up"])
        self.register_buffer("mid", tensors.get("mid"))
        self.scale = _scale(tensors, tensors["down"].shape[0])

    def fits(self, layer: torch.nn.Module) -> bool:
        wide, tall = _shape(layer)[1], _shape(layer)[0]
        return (self.down.shape[1], self.up.shape[0]) == (wide, tall)

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        down, up = self.down, self.up
        x = x.to(down.dtype)
        if not isinstance(layer, torch.nn.Conv2d):
            return (
                functional.linear(functional.linear(x, down.flatten(1)), up.flatten(1)) * self.scale
            )
        down, up = _four(down), _four(up)
        if self.mid is None:
            narrow = _convolved(layer, x, down)
        else:
            narrow = _convolved(layer, functional.conv2d(x, down), self.mid)
        return functional.conv2d(narrow, up) * self.scale

    def rows(self, rows: Rows, of: int) -> "_LowRank":
        if self.up.shape[0] != of:
            raise ValueError("it has another number of rows")
        part = copy(self)
        part._buffers = {**self._buffers, "up": _picked(self.up, rows)}
        return part

    def change(self, layer: Any) -> Tensor:
        down, up = self.down.float(), self.up.float().flatten(1)
        if self.mid is None:
            made = up @ down.flatten(1)
        else:
            made = torch.einsum("or,rmhw,mi->oihw", up, self.mid.float(), down.flatten(1))
        return made.reshape(_shape(layer)) * self.scale


class _Product(_Change):
    """LoHa and LoKr, whose change of the weights is made of small factors each time, and the
    difference of a layer as it is."""

    def __init__(self, kind: str, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.kind = kind
        names = [name for name in tensors if name.startswith(("hada_", "lokr_", "diff"))]
        for name in names:
            self.register_buffer(name, tensors[name])
        small = {"LoHa": ("hada_w1_b",), "LoKr": ("lokr_w2_b", "lokr_w1_b")}.get(kind, ())
        ranks = [tensors[name].shape[0] for name in small if name in tensors]
        self.scale = _scale(tensors, ranks[0]) if ranks else 1.0
        self.own: Rows = ()
        """Rows that are added, where it was made for more than the layer has."""
        self.of = 0

    def fits(self, layer: torch.nn.Module) -> bool:
        bias = self._buffers.get("diff_b")
        tall = _shape(layer)[0]
        whole = (self.of if self.own else tall) * _shape(layer)[1:].numel()
        return self._weight().numel() == whole and (bias is None or bias.numel() == tall)

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        weight = self.change(layer)
        x, bias = x.to(weight.dtype), self._buffers.get("diff_b")
        if isinstance(layer, torch.nn.Conv2d):
            return _convolved(layer, x, weight, bias)
        return functional.linear(x, weight, bias)

    def rows(self, rows: Rows, of: int) -> "_Product":
        """Its factors cannot be shared out, so that each part multiplies them for itself."""
        part = copy(self)
        part.own, part.of = rows, of
        bias = self._buffers.get("diff_b")
        if bias is not None:
            part._buffers = {**self._buffers, "diff_b": _picked(bias, rows)}
        return part

    def change(self, layer: Any) -> Tensor:
        weight = self._weight() * self.scale
        if not self.own:
            return weight.reshape(_shape(layer))
        return _picked(weight.reshape(self.of, *_shape(layer)[1:]), self.own)

    def _weight(self) -> Tensor:
        match self.kind:
            case "LoHa":
                return self._factor("hada_w1", "hada_t1") * self._factor("hada_w2", "hada_t2")
            case "LoKr":
                one, two = self._factor("lokr_w1", ""), self._factor("lokr_w2", "lokr_t2")
                return torch.kron(one.reshape(*one.shape, *[1] * (two.ndim - one.ndim)), two)
            case _:
                return self._buffers["diff"]  # type: ignore[return-value]

    def _factor(self, name: str, core: str) -> Tensor:
        held: dict[str, Any] = self._buffers
        if name in held:
            return held[name]
        outer, inner = held[f"{name}_a"], held[f"{name}_b"]
        if core not in held:
            return outer @ inner.flatten(1)
        return torch.einsum("ijkl,jr,ip->prkl", held[core], inner, outer)


class _Scaled(Addition):
    """(IA)³: inputs or outputs of a layer, each scaled by a number of its own."""

    by: Tensor

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.register_buffer("by", tensors["scale"].flatten())
        self.on_input = bool(tensors["on_input"])

    def fits(self, layer: torch.nn.Module) -> bool:
        return self.by.numel() == _shape(layer)[1 if self.on_input else 0]

    def rows(self, rows: Rows, of: int) -> "_Scaled":
        if self.on_input:
            return self
        if self.by.numel() != of:
            raise ValueError("it has another number of rows")
        part = copy(self)
        part._buffers = {"by": _picked(self.by, rows)}
        return part

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        if isinstance(layer, torch.nn.Conv2d):
            by, bias = self.by.view(-1, 1, 1), None
            bias = None if layer.bias is None else layer.bias.view(-1, 1, 1)
        else:
            by, bias = self.by, layer.bias
        made = layer(x * by) if self.on_input else layer(x)
        if bias is not None:
            made = made - bias
        return made if self.on_input else made * by


class _Decomposed(Addition):
    """DoRA: the changed weight, each row or column of it brought to a length of its own.

    The weight itself is never made: a row's length scales an output, a column's an input. Only the
    lengths ask for it, once as long as the layer's weights stay in memory.
    """

    lengths: Tensor

    def __init__(self, inner: _Change, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.inner = inner
        lengths = tensors["magnitude" if "magnitude" in tensors else "dora_scale"]
        self.register_buffer("lengths", lengths.flatten())
        # PEFT has lengths of rows however they are shaped, LyCORIS [rows, 1, …] or [1, columns, …]
        self.by_row = "magnitude" in tensors or lengths.ndim < 2 or lengths.shape[1] == 1
        self._known = WeakIdKeyDictionary()

    def fits(self, layer: torch.nn.Module) -> bool:
        wanted = _shape(layer)[0 if self.by_row else 1]
        return self.inner.fits(layer) and self.lengths.numel() == wanted

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        by = self._factors(layer).to(x.dtype)
        if isinstance(layer, torch.nn.Conv2d):
            by = by.view(-1, 1, 1)
        if self.by_row:
            return _unbiased(layer, x) * (by - 1) + self.inner(layer, x) * by
        return _unbiased(layer, x * (by - 1)) + self.inner(layer, x * by)

    def rows(self, rows: Rows, of: int) -> "_Decomposed":
        if not self.by_row or self.lengths.numel() != of:
            # a column's length is that of all rows together, which no single layer has
            raise ValueError("its columns cannot be shared out")
        part = copy(self)
        part._buffers = {"lengths": _picked(self.lengths, rows)}
        part._modules = {"inner": self.inner.rows(rows, of)}
        part._known = WeakIdKeyDictionary()
        return part

    def _factors(self, layer: Any) -> Tensor:
        """By what each row or column of the changed weight is multiplied."""
        held = layer._parameters.get("weight", layer._buffers.get("weight"))  # packed, a buffer
        if held not in self._known:
            whole = layer.weight.detach().float() + self.inner.change(layer).float()
            rows = whole if self.by_row else whole.transpose(0, 1)
            lengths = rows.flatten(1).norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
            self._known[held] = self.lengths.float() / lengths
        return self._known[held]


class Adapter(torch.nn.Module):
    """An adapter in memory: what it adds, by network and layer."""

    def __init__(self, additions: Mapping[tuple[str, str], Addition]) -> None:
        super().__init__()
        self.held = torch.nn.ModuleList(additions.values())
        self.by_network: dict[str, dict[str, Addition]] = {}
        for (network, layer), addition in additions.items():
            self.by_network.setdefault(network, {})[layer] = addition
        self.placed: WeakKeyDictionary[_Table, _Placed] = WeakKeyDictionary()
        """Where it goes in networks that it was compared with."""


def load_adapter(path: Path) -> Adapter:
    """The adapter in a file. Raises `ValueError`, `KeyError` or `RuntimeError` for tensors that do
    not go together."""
    state: dict[str, Tensor] = load_file(path)
    return Adapter(
        {
            place: _addition({piece: state[key] for piece, key in pieces.items()})
            for place, pieces in layers_of(state).items()
        }
    )


def _addition(tensors: Mapping[str, Tensor]) -> Addition:
    kind = kind_of(dict.fromkeys(tensors, ""))
    if kind == "IA3":
        return _Scaled(tensors)
    change = _LowRank(tensors) if kind == "LoRA" else _Product(kind, tensors)
    return _Decomposed(change, tensors) if {"magnitude", "dora_scale"} & set(tensors) else change


def _scale(tensors: Mapping[str, Tensor], rank: int) -> float:
    """An adapter of rank r is trained at alpha / r, so that r can change without the rest."""
    return float(tensors["alpha"]) / rank if "alpha" in tensors else 1.0


def _shape(layer: Any) -> torch.Size:
    """Of its weights as they were before anybody packed them."""
    if isinstance(layer, torch.nn.Conv2d):
        return torch.Size(
            (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
        )
    return torch.Size((layer.out_features, layer.in_features))


def _unbiased(layer: Any, x: Tensor) -> Tensor:
    """What a layer makes of an input by its weight alone."""
    made: Tensor = layer(x)
    if layer.bias is None:
        return made
    bias: Tensor = layer.bias.to(made.dtype)
    return made - (bias.view(-1, 1, 1) if isinstance(layer, torch.nn.Conv2d) else bias)


def _picked(tensor: Tensor, rows: Rows) -> Tensor:
    """Rows of a tensor; a view of it where they lie together."""
    return tensor[rows[0]] if len(rows) == 1 else torch.cat([tensor[one] for one in rows])


def _four(weight: Tensor) -> Tensor:
    return weight if weight.ndim == 4 else weight[:, :, None, None]


def _convolved(
    layer: torch.nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """As the layer goes over its input."""
    padding: Any = layer.padding
    return functional.conv2d(x, weight, bias, layer.stride, padding, layer.dilation)


class _WithAdditions(torch.nn.Module):
    """Stands where a layer stood, and adds to what it gives."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.parts: Parts = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        made: Tensor = self.layer(x, *args, **options)
        for addition, weight in self.parts:
            made = made + (addition(self.layer, x) * weight).to(made.dtype)
        return made


Parts = Sequence[tuple[Addition, float]]


class _Site:
    """Where a layer is. What stands in for it is made once, and adds nothing between pictures."""

    __slots__ = ("_stand_in", "layer", "name", "parent")

    def __init__(self, parent: torch.nn.Module, name: str, layer: torch.nn.Module) -> None:
        self.parent = parent
        self.name = name
        self.layer = layer
        self._stand_in: _WithAdditions | None = None

    def put(self, parts: Parts) -> None:
        if self._stand_in is None:
            self._stand_in = _WithAdditions(self.layer)
        # not by way of the class, which would look whether it is a network
        self._stand_in.__dict__["parts"] = parts
        self.parent._modules[self.name] = self._stand_in

    def take_away(self) -> None:
        self.parent._modules[self.name] = self.layer
        if self._stand_in is not None:
            self._stand_in.__dict__["parts"] = ()


@dataclass(frozen=True, slots=True)
class _Spot:
    """A layer, or the part of one that its makers joined with others."""

    site: _Site
    rows: tuple[slice, ...] = ()
    """Which rows of the joined layer are its own, in order; empty for all of them."""
    of: int = 0
    """Rows that the joined layer has."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """What an adapter adds to each layer of a network."""

    parts: tuple[tuple[_Site, Addition], ...]
    missed: int
    """Layers of the adapter that the network does not have."""


class _Table:
    """The layers of a network by all names that adapters have for them."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network
        self.spots = _named_spots(network)

    def placed(self, additions: Mapping[str, Addition]) -> _Placed:
        """Where these go. Raises `ValueError` where one was made for a layer of another shape.

        Some trainers write a joined layer and its parts alike, which are the same change: the parts
        are taken, and the joined one where it is alone.
        """
        parts: list[tuple[_Site, Addition]] = []
        missed = 0
        named = {
            spot.site for name in additions for spot in self.spots.get(name, ()) if not spot.rows
        }
        for name, whole in additions.items():
            spots = self.spots.get(name, ())
            missed += not spots
            for spot in spots:
                if spot.rows and spot.site in named:
                    continue
                part = whole.rows(spot.rows, spot.of) if spot.rows else whole
                if not part.fits(spot.site.layer):
                    raise ValueError(f"{name} is of another shape")
                parts.append((spot.site, part))
        return _Placed(tuple(parts), missed)


@dataclass(frozen=True, slots=True)
class Swaps:
    """Layers that stand in for others while something is painted."""

    sites: tuple[tuple[_Site, Parts], ...] = ()
    unused: tuple[int, ...] = ()
    """Of each adapter, how many layers there were none for."""

    @contextmanager
    def applied(self) -> Generator[None]:
        """The others are back in their places afterwards, whatever happens."""
        try:
            for site, parts in self.sites:
                site.put(parts)
            yield
        finally:
            for site, _ in self.sites:
                site.take_away()


def swaps(
    adapters: Sequence[tuple[Adapter, Added]],
    components: Mapping[str, Any],
    scratch: dict[str, Any],
) -> Swaps:
    """What it takes to paint with these adapters. `scratch` lives and dies with the components.

    Raises `InvalidRequest` for an adapter that was made for other networks.
    """
    found: dict[_Site, list[tuple[Addition, float]]] = {}
    unused: list[int] = []
    for adapter, asked in adapters:
        missed = 0
        for network, additions in adapter.by_network.items():
            table = _table(network, components, scratch)
            if table is None:
                missed += len(additions)
                continue
            placed = adapter.placed.get(table)
            if placed is None:
                try:
                    placed = adapter.placed[table] = table.placed(additions)
                except ValueError:
                    raise _misfit(asked) from None
            missed += placed.missed
            weight = asked.weight if network == DENOISER else asked.text_weight
            for site, addition in placed.parts if weight else ():
                found.setdefault(site, []).append((addition, weight))
        if missed == len(adapter.held):
            raise _misfit(asked)
        if missed:
            log.warning("the LoRA %s has %d layers that nothing here has", asked.id, missed)
        unused.append(missed)
    return Swaps(tuple(found.items()), tuple(unused))


def _misfit(asked: Added) -> InvalidRequest:
    return InvalidRequest(
        f"The LoRA '{asked.id}' was made for another kind of checkpoint.",
        "Choose another LoRA or another checkpoint.",
        field="loras",
    )


def _table(network: str, components: Mapping[str, Any], scratch: dict[str, Any]) -> _Table | None:
    names = ("unet", "transformer") if network == DENOISER else (network,)
    module = next((components[name] for name in names if components.get(name) is not None), None)
    if module is None:
        return None
    known: dict[str, _Table] = scratch.setdefault("layers", {})
    if network not in known or known[network].network is not module:
        known[network] = _Table(module)
    return known[network]


def _named_spots(module: torch.nn.Module) -> dict[str, tuple[_Spot, ...]]:
    original = _original_names(getattr(module, "config", None))
    found: dict[str, tuple[_Spot, ...]] = {}
    by_path: dict[str, _Site] = {}
    for path, parent in module.named_modules():
        for name, layer in parent.named_children():
            if not isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
                continue
            site = _Site(parent, name, layer)
            whole = f"{path}.{name}" if path else name
            by_path[whole] = site
            found[whole.removeprefix("text_model.").replace(".", "_")] = (_Spot(site),)
            if renamed := original(whole):
                found[renamed.replace(".", "_")] = (_Spot(site),)
    return {**_joined_spots(module, by_path), **found}


def _joined_spots(
    module: torch.nn.Module, sites: Mapping[str, _Site]
) -> dict[str, tuple[_Spot, ...]]:
    """The layers of a transformer by the names that its makers gave them."""
    known = ORIGINALS.get(type(module).__name__)
    if known is None:
        return {}
    found: dict[str, tuple[_Spot, ...]] = {}
    for name, joined in known.every(sites):
        own = [sites.get(layer) for layer in joined.layers]
        there = [site for site in own if site is not None]
        if len(there) < len(own):
            continue
        found[name.replace(".", "_")] = tuple(_shared_out(there, swapped=joined.swapped))
    return found


def _shared_out(sites: Sequence[_Site], *, swapped: bool) -> Iterator[_Spot]:
    sizes = [_shape(site.layer)[0] for site in sites]
    if swapped:
        half = sizes[0] // 2
        yield _Spot(sites[0], (slice(half, None), slice(0, half)), sizes[0])
    elif len(sites) == 1:
        yield _Spot(sites[0])
    else:
        begin = 0
        for site, size in zip(sites, sizes, strict=True):
            yield _Spot(site, (slice(begin, begin + size),), sum(sizes))
            begin += size


def _original_names(config: Any) -> Callable[[str], str]:
    """A function from the path of a UNet's layer to its name in the original code, by which many
    SDXL LoRAs call it; "" for what has none."""
    layers = getattr(config, "layers_per_block", None)
    if not isinstance(layers, int) or not hasattr(config, "up_block_types"):
        return lambda path: ""

    def renamed(path: str) -> str:
        if path in _ENDS:
            return _ENDS[path]
        found = _BLOCK.fullmatch(path)
        if found is None:
            return ""
        side, block, part, at, rest = found.groups()
        number, index = int(block or 0), int(at)
        rest = _RESNET.get(rest, rest) if part == "resnets" else rest
        if side == "mid_block":
            return f"middle_block.{2 * index if part == 'resnets' else 1}.{rest}"
        if part == "downsamplers":
            return f"input_blocks.{(number + 1) * (layers + 1)}.0.op"
        if part == "upsamplers":
            attends = "CrossAttn" in config.up_block_types[number]
            return f"output_blocks.{number * (layers + 1) + layers}.{1 + attends}.conv"
        inner = 0 if part == "resnets" else 1
        if side == "down_blocks":
            return f"input_blocks.{1 + number * (layers + 1) + index}.{inner}.{rest}"
        return f"output_blocks.{number * (layers + 1) + index}.{inner}.{rest}"

    return renamed


_BLOCK = re.compile(
    r"(down_blocks|up_blocks|mid_block)(?:\.(\d+))?"
    r"\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)"
)
_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
