"""Networks without weights of their own: built once for a class and config, and pointed at weights.

Building a network takes hundreds of milliseconds, pointing one at other weights a tenth of one.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from accelerate import init_empty_weights
from torch import Tensor

BUILDING = threading.RLock()
"""Held by whoever builds a module. While one is built without weights, accelerate replaces
`Module.register_parameter` in the whole process."""

MOST_IDLE = 2
"""Skeletons of a kind that are kept while nobody uses them."""


@contextmanager
def building() -> Iterator[None]:
    """Modules that are built inside have parameters without memory, and real buffers."""
    with BUILDING, init_empty_weights(include_buffers=False):
        yield


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a module where a tensor goes."""

    home: dict[str, Any]
    """`_parameters` or `_buffers` of the module that owns it."""
    leaf: str
    name: str
    """Of the tensor; tied ones share it."""
    is_buffer: bool


class Skeleton:
    """One network without weights."""

    def __init__(self, module: torch.nn.Module, device: str) -> None:
        """Takes a module whose parameters have no memory; buffers that no file has go to `device`."""
        module.eval().requires_grad_(False)
        self.module = module
        self.slots: tuple[Slot, ...]
        self.shapes: Mapping[str, tuple[int, ...]]
        """Of every tensor that it needs, by the name that stands for all that are tied to it."""
        self.numbers: Mapping[str, torch.dtype]
        """What each was built in."""
        self.aliases: Mapping[str, tuple[str, ...]]
        """All names of a tensor."""
        self._walk(device)
        self.bound: str = ""
        """Key of the weights that it is pointed at."""
        self.users = 0

    def _walk(self, device: str) -> None:
        slots: list[Slot] = []
        found: dict[str, Tensor] = {}
        first: dict[int, str] = {}
        aliases: dict[str, list[str]] = {}
        for prefix, module in self.module.named_modules():
            skipped = module._non_persistent_buffers_set
            homes = cast(tuple[dict[str, Any], ...], (module._parameters, module._buffers))
            for home in homes:
                for leaf, tensor in home.items():
                    if tensor is None:
                        continue
                    if leaf in skipped and home is homes[1]:
                        home[leaf] = tensor.to(device)
                        continue
                    full = f"{prefix}.{leaf}" if prefix else leaf
                    name = first.setdefault(id(tensor), full)
                    found[name] = tensor
                    aliases.setdefault(name, []).append(full)
                    slots.append(Slot(home, leaf, name, home is homes[1]))
        self.slots = tuple(slots)
        self.shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
        self.numbers = {name: tensor.dtype for name, tensor in found.items()}
        self.aliases = {name: tuple(names) for name, names in aliases.items()}
        self._empty = {name: _parameter(t.to("meta")) for name, t in found.items()}

    def bind(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Points it at weights: `tensors` are parameters, or buffers where it has some."""
        if key == self.bound:
            return
        for slot in self.slots:
            tensor = tensors[slot.name]
            slot.home[slot.leaf] = tensor.detach() if slot.is_buffer else tensor
        self.bound = key

    def unbind(self) -> None:
        """Lets go of the weights."""
        for slot in self.slots:
            slot.home[slot.leaf] = self._empty[slot.name]
        self.bound = ""


def parameters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as `bind` wants them, made once for all times that they are pointed at."""
    return {name: _parameter(tensor) for name, tensor in tensors.items()}


def _parameter(tensor: Tensor) -> Tensor:
    return torch.nn.Parameter(tensor, requires_grad=False)


@dataclass(slots=True)
class Skeletons:
    """The skeletons there are, by class and config. The caller holds a lock around everything but
    `make`, which takes its time."""

    device: str
    _all: dict[str, list[Skeleton]] = field(default_factory=dict[str, list[Skeleton]])

    def make(self, build: Callable[[], torch.nn.Module]) -> Skeleton:
        with building():
            module: Any = build()
        if hasattr(module, "tie_weights"):  # building without weights takes them apart
            module.tie_weights()
        return Skeleton(module, self.device)

    def known(self, group: str) -> Skeleton | None:
        """Any one of a kind, to look at."""
        found = self._all.get(group)
        return found[0] if found else None

    def add(self, group: str, skeleton: Skeleton) -> None:
        self._all.setdefault(group, []).append(skeleton)

    def take(self, group: str, key: str, tensors: Mapping[str, Tensor]) -> Skeleton | None:
        """One that is pointed at these weights, with one user more; None if all are in use for
        others. Weights on loan twice are seen through the same one."""
        listed = self._all.get(group, [])
        bound = next((one for one in listed if one.bound == key), None)
        chosen = bound or next((one for one in listed if not one.users), None)
        if chosen is None:
            return None
        chosen.bind(key, tensors)
        chosen.users += 1
        return chosen

    def give_back(self, group: str, skeleton: Skeleton) -> None:
        """It stays pointed at its weights, since they are the likeliest to be wanted next."""
        skeleton.users -= 1
        listed = self._all[group]
        idle = [one for one in listed if not one.users and one is not skeleton]
        for one in idle[MOST_IDLE - 1 :]:
            listed.remove(one)

    def strip(self, key: str) -> None:
        """Lets go of weights though a pipeline still has the network: it is not called any more."""
        for listed in self._all.values():
            for skeleton in listed:
                if skeleton.bound == key:
                    skeleton.unbind()

    def forget(self, key: str) -> None:
        """Lets go of weights that are dropped."""
        for listed in self._all.values():
            for skeleton in listed:
                if skeleton.bound == key and not skeleton.users:
                    skeleton.unbind()
