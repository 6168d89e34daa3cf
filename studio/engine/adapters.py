"""LoRA and its kin: read from disk, and added to the layers of a checkpoint for as long as one
picture takes.

Weights are shared and never change. While a picture is painted, the parents of the layers that are
added to hold another layer in their place: one that calls the shared one and adds to its output.
"""

import logging
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors.torch import load_file
from torch import Tensor

from studio.checkpoints.adapters import DENOISER, layers_of, turns_exactly
from studio.checkpoints.originals import ORIGINALS
from studio.core.errors import InvalidRequest
from studio.engine.additions import Addition, Inseparable, addition_of, shape_of
from studio.tasks._task import Added

log = logging.getLogger("pochade.engine")


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
    exact = turns_exactly(path)
    return Adapter(
        {
            place: addition_of({piece: state[key] for piece, key in pieces.items()}, exact=exact)
            for place, pieces in layers_of(state).items()
        }
    )


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
                except Inseparable:
                    raise _inseparable(asked) from None
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


def _inseparable(asked: Added) -> InvalidRequest:
    return InvalidRequest(
        f"The LoRA '{asked.id}' changes layers as one that are several here, and cannot be shared out "
        "among them.",
        "Choose another LoRA, or get it as a plain LoRA or LoKr.",
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
    sizes = [shape_of(site.layer)[0] for site in sites]
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
