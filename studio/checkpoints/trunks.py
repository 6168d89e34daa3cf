"""The layers of a transformer, by which a LoRA is known to fit it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from studio.checkpoints.adapters import DENOISER, Layers, height_out, width_in
from studio.checkpoints.originals import ORIGINALS, PREFIX, Joined, Original, bare
from studio.families._keys import Shapes

FOLDER = "transformer."
"""Before the names of the denoiser's tensors among those of a folder."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One that every block of a kind has, or one outside of them."""

    high: int | None
    """Rows of its weight; None where a LoRA does not tell."""
    wide: int | None
    """Columns of it: how wide its input is."""
    count: int
    """Of the blocks; 1 outside of them."""
    every: bool = True
    """Every one of so many blocks has it, not only some before the last."""

    def carries(self, other: "Layer") -> bool:
        """Whether it is as large as the one that a LoRA was made for, in as many blocks at least."""
        sizes = ((self.high, other.high), (self.wide, other.wide))
        same = all(own == asked for own, asked in sizes if asked is not None)
        return same and self.count >= other.count


@dataclass(frozen=True, slots=True)
class Trunk:
    """What a transformer consists of, or what a LoRA needs of one."""

    layers: Mapping[str, Layer]
    """By name, with `#` for the number of a block and `_` between its parts."""

    def carries(self, other: "Trunk") -> bool:
        """Whether all that a LoRA adds to in blocks, as `other` tells, is there, and what else is there
        fits too: checkpoints of a family differ in layers outside of them, as for guidance.

        A LoRA for all of the first blocks, and no more, was made for one that has just these: FLUX.2
        klein's attention is as large as FLUX.1's, in fewer blocks.
        """
        blocks = {name: layer for name, layer in other.layers.items() if "#" in name}
        if not blocks.keys() <= self.layers.keys():
            return False
        shared = other.layers.keys() & self.layers.keys()
        fits = all(self.layers[name].carries(other.layers[name]) for name in shared)
        ends = (
            not one.every or one.count in {1, self.layers[n].count} for n, one in blocks.items()
        )
        return fits and (not blocks or any(ends))


_BLOCK = re.compile(
    r"((?:single_)?transformer_blocks|(?:double_|single_|joint_)?blocks|layers|[a-z]+_refiner)_(\d+)_"
)
"""How the name of a transformer's layer begins that is in one of many alike blocks."""


def trunk_of(shapes: Shapes, kind: str) -> Trunk | None:
    """Of a checkpoint whose denoiser is of diffusers' class `kind`; None if it is no transformer.

    Its layers go by both diffusers' names and those of its makers, whichever its tensors have.
    """
    if not kind:
        return None
    known = ORIGINALS.get(kind, Original({}))
    found: dict[str, Size] = {}
    if sizes := _sizes(shapes, FOLDER):
        joins = known.every(sizes)
        found = {**{name: _sum(joined, sizes) for name, joined in joins}, **sizes}
    for name, size in (_sizes(shapes, PREFIX) or _sizes(shapes, "")).items():
        if joined := known.joined(name, 0):
            found |= {name: size, **dict(zip(joined.layers, _shares(joined, size), strict=True))}
    return _trunk(found.items())


_WORDS = ("transformer.context_embedder.weight", "txt_in.weight", "context_embedder.weight")
"""Layers whose input are the states of a prompt."""


def words_of(shapes: Shapes) -> int:
    """Width of the states of a prompt that such a denoiser reads; 0 if it is of another kind."""
    own = bare(shapes)
    return next((own[key][1] for key in _WORDS if len(own.get(key, ())) == 2), 0)


def trunk_for(layers: Layers, shapes: Shapes) -> Trunk | None:
    """What a LoRA needs; None if it adds to no blocks of a transformer."""
    own = {layer: pieces for (network, layer), pieces in layers.items() if network == DENOISER}
    if not any(_BLOCK.match(layer) for layer in own):
        return None
    return _trunk(
        (layer, (height_out(pieces, shapes), width_in(pieces, shapes)))
        for layer, pieces in own.items()
    )


Size = tuple[int | None, int | None]


def _trunk(layers: Iterable[tuple[str, Size]]) -> Trunk:
    sizes: dict[str, Size] = {}
    blocks: dict[str, set[int]] = {}
    for name, size in layers:
        flat = name.replace(".", "_")
        block = _BLOCK.match(flat)
        kind = f"{block[1]}_#_{flat[block.end() :]}" if block else flat
        sizes[kind] = size
        blocks.setdefault(kind, set()).add(int(block[2]) if block else 0)
    return Trunk(
        {
            kind: Layer(
                *size, count=max(blocks[kind]) + 1, every=len(blocks[kind]) > max(blocks[kind])
            )
            for kind, size in sizes.items()
        }
    )


def _sizes(shapes: Shapes, prefix: str) -> dict[str, Size]:
    """Rows and columns of the matrices below a prefix, by the name of the layer."""
    return {
        key.removeprefix(prefix).removesuffix(".weight"): (shape[0], shape[1])
        for key, shape in shapes.items()
        if key.startswith(prefix) and key.endswith(".weight") and len(shape) in {2, 4}
    }


def _sum(joined: Joined, sizes: Mapping[str, Size]) -> Size:
    own = [sizes.get(layer, (0, 0)) for layer in joined.layers]
    return sum(high or 0 for high, _ in own), own[0][1]


def _shares(joined: Joined, size: Size) -> list[Size]:
    """Rows of the layers that are joined: all but the last are as high as they are wide."""
    high, wide = size
    before = len(joined.layers) - 1
    rest = (high or 0) - before * (wide or 0)
    return [*[(wide, wide)] * before, (rest, wide)]
