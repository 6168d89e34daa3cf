"""Layers whose weights stay packed in memory, as their file has them or in 8 bits, and are unpacked
each time that they are called.

Unpacked are the same numbers that reading the file gives otherwise, so pictures stay what they are;
only 8 bits that a file does not have change them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from studio.checkpoints.gguf import PACKED
from studio.engine.layouts import Layout, Piece
from studio.engine.reading import DTYPES, PEEKED, FileFeed, Files, Sources, same, targets
from studio.engine.skeletons import Skeleton
from studio.engine.slabs import Place, Window
from studio.engine.unpacking import UNPACK

EIGHT_BITS = torch.float8_e4m3fn


@dataclass(frozen=True, slots=True)
class Packing:
    """How the weight of one layer lies in memory."""

    form: str
    """Of its numbers, as files call it."""
    shape: tuple[int, ...]
    """Unpacked."""
    scale: float = 1.0
    """What numbers of 8 bits are multiplied with."""
    dtype: torch.dtype = torch.float32
    """Unpacked."""
    pieces: tuple[Piece, ...] = ()
    """Of the file, one behind another; none where numbers are converted to it while they are read."""

    @property
    def size_bytes(self) -> int:
        if self.form in PACKED:
            form = PACKED[self.form]
            return prod(self.shape) // form.block * form.size_bytes
        return prod(self.shape) * DTYPES[self.form].itemsize

    def unpacked(self, packed: Tensor) -> Tensor:
        """The numbers [shape], float32, of bytes [size_bytes]."""
        if self.form in PACKED:
            blocks = packed.view(-1, PACKED[self.form].size_bytes)
            return UNPACK[self.form](blocks).view(self.shape)
        numbers = packed.view(DTYPES[self.form]).view(self.shape).float()
        return numbers if self.scale == 1.0 else numbers * self.scale


class Weight(Tensor):
    """A layer's, which is unpacked once it is computed with; shape, number format and device, which
    networks ask for beside that, cost nothing."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    unpacked: Callable[[], Tensor]

    @classmethod
    def of(cls, packing: Packing, packed: Tensor) -> "Weight":
        weight = Tensor._make_wrapper_subclass(
            cls, packing.shape, dtype=packing.dtype, device=packed.device
        )
        weight.unpacked = lambda: packing.unpacked(packed).to(packing.dtype)
        return weight

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        args, kwargs = tree_map_only(cls, lambda one: one.unpacked(), (args, dict(kwargs or {})))
        return func(*args, **kwargs)


class _Layer(torch.nn.Module):
    """One whose weight is unpacked each time that it is called."""

    packing: Packing

    def __getattr__(self, name: str) -> Any:
        found: Any = super().__getattr__(name)
        return Weight.of(self.packing, found) if name == "weight" else found


class _PackedLinear(_Layer, torch.nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.linear(x, self.weight.unpacked(), self.bias)


class _PackedConv2d(_Layer, torch.nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight.unpacked(), self.bias)


_KINDS: Mapping[type, type] = {torch.nn.Linear: _PackedLinear, torch.nn.Conv2d: _PackedConv2d}


def as_in_file(
    sources: Sources, layout: Layout, skeleton: Skeleton, dtype: torch.dtype
) -> dict[str, Packing]:
    """Weights that can stay as they lie in the file, by name: those of fewer bytes than in `dtype`,
    cut between blocks of numbers if at all."""
    found: dict[str, Packing] = {}
    for name, _ in _weights(skeleton):
        ref = layout[name]
        stored = {sources.tensors[piece.source][1].dtype for piece in ref.pieces}
        scales = {sources.number(sources.scale(piece.source)) for piece in ref.pieces}
        if len(stored) > 1 or len(scales) > 1 or (ref.dim and len(ref.pieces) > 1):
            continue
        [form], [scale] = stored, scales
        if form not in PACKED and DTYPES[form].itemsize >= dtype.itemsize:
            continue
        block = PACKED[form].block if form in PACKED else 1
        if all(
            piece.in_one_piece and piece.offset % block == 0 and prod(piece.shape) % block == 0
            for piece in ref.pieces
        ):
            found[name] = Packing(form, ref.shape, scale, pieces=ref.pieces)
    return found


def in_eight_bits(skeleton: Skeleton) -> dict[str, Packing]:
    """Weights that may be in 8 bits, by name: all but those of layers that the network's class says
    need more."""
    network: Any = skeleton.module
    kept: list[str] = ["pos_embed", "patch_embed", "norm", "^proj_in$", "^proj_out$"]
    kept += getattr(network, "_skip_layerwise_casting_patterns", None) or ()
    return {
        name: Packing("F8_E4M3", skeleton.shapes[name])
        for name, layer in _weights(skeleton)
        if not any(re.search(pattern, layer) for pattern in kept)
    }


def packed(network: torch.nn.Module, packings: Mapping[str, Packing]) -> torch.nn.Module:
    """A network that was just built, its layers exchanged for ones whose weights are packed."""
    for name, packing in packings.items():
        layer: Any = network.get_submodule(name.rpartition(".")[0])
        layer.__class__ = _KINDS[type(layer)]
        layer.packing = packing
        # no parameter: a network's number format is that of its first one
        del layer._parameters["weight"]
        layer._buffers["weight"] = torch.empty(packing.size_bytes, dtype=torch.uint8, device="meta")
    return network


@dataclass(frozen=True, slots=True)
class PackedFeed:
    """Fills packed weights with bytes [size_bytes], everything else with numbers."""

    files: FileFeed
    packings: Mapping[str, Packing]

    def pour(self, into: Mapping[str, Tensor], check: Callable[[], None]) -> None:
        narrow, wide = self._parted(into)
        with Files(self.files.sources, check) as files:
            for name in self.files.in_order(narrow):
                self._fill(files, name, narrow[name])
        self.files.pour(wide, check)

    def equals(self, held: Mapping[str, Tensor]) -> bool:
        narrow, wide = self._parted(held)
        with Files(self.files.sources, lambda: None) as files:
            if not all(self._begins_so(files, *one) for one in narrow.items()):
                return False
            if not self.files.equals(wide):
                return False
            for name in self.files.in_order(narrow):
                fresh = torch.empty_like(narrow[name])
                self._fill(files, name, fresh)
                if not same(fresh, narrow[name]):
                    return False
        return True

    def windows(self, places: Mapping[str, Place]) -> Mapping[str, Window] | None:
        return None

    def _parted(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Packed ones and others."""
        narrow = {name: one for name, one in tensors.items() if name in self.packings}
        return narrow, {name: one for name, one in tensors.items() if name not in narrow}

    def _fill(self, files: Files, name: str, target: Tensor) -> None:
        packing = self.packings[name]
        if not packing.pieces:
            numbers = target.view(EIGHT_BITS).view(packing.shape)
            for piece, part in targets(self.files.layout[name], numbers):
                files.read(piece, part)
            return
        sizes = [replace(packing, shape=piece.shape).size_bytes for piece in packing.pieces]
        for piece, part in zip(packing.pieces, target.split(sizes), strict=True):
            begin = replace(packing, shape=(piece.offset,)).size_bytes
            files.bytes_of(piece.source, begin, part)

    def _begins_so(self, files: Files, name: str, held: Tensor) -> bool:
        """Whether the first bytes are those of the file."""
        packing, few = self.packings[name], held[:PEEKED]
        piece = (packing.pieces or self.files.layout[name].pieces)[0]
        if packing.pieces:
            fresh = torch.empty_like(few)
            begin = replace(packing, shape=(piece.offset,)).size_bytes
            files.bytes_of(piece.source, begin, fresh)
            return same(fresh, few)
        if not piece.in_one_piece or prod(piece.shape) < len(few):
            return True
        first = replace(piece, shape=(len(few),), strides=(1,))
        return same(files.fresh(first, few.view(EIGHT_BITS)).view(torch.uint8), few)


def _weights(skeleton: Skeleton) -> Iterator[tuple[str, str]]:
    """Weights of layers that can have packed ones, and the names of these layers."""
    for layer, module in skeleton.module.named_modules():
        name = f"{layer}.weight"
        if type(module) in _KINDS and len(skeleton.aliases.get(name, ())) == 1:
            yield name, layer
