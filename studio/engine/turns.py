"""Orthogonal fine-tuning (OFT, BOFT): what its tensors turn a layer's rows or inputs by.

All of it is trained as skew matrices, which Cayley's map makes rotations of; kohya, LyCORIS and PEFT
each store and use them in their own way. Every turn here is a stack of square blocks [blocks, size,
size] that multiply what lies in a row from the right, less what leaves it as it is.
"""

from collections.abc import Mapping
from math import isqrt

import torch
from torch import Tensor

MOST_PARTS = 4
"""Layers that kohya's OFT of FLUX.1 keeps apart in a joined one: query, key, value and the MLP's."""

_HALF = 0.5
"""Between the diagonals of a rotation that is nearly none, and of the same less what changes nothing."""


def of_rows(tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """What the rows of a layer are turned by, those of each part after the other's."""
    if "oft_diag" in tensors:
        return (_of_early(tensors["oft_diag"]),)
    if "oft_r" in tensors:
        return (_less_nothing(_turned_back(tensors["oft_r"]), tensors["oft_r"]),)
    names = ("oft_blocks", *(f"oft_blocks_{n}" for n in range(1, MOST_PARTS)))
    found = [tensors[name] for name in names if name in tensors]
    return tuple(_less_nothing(_cayley(_held(one, tensors)), one) for one in found)


def of_butterfly(tensors: Mapping[str, Tensor]) -> Tensor:
    """BOFT's rotations [steps, blocks, size, size], each multiplied from the left with what comes out of
    the one before, whole."""
    blocks = tensors["oft_blocks"]
    return _cayley(_held(blocks, tensors)).to(blocks.dtype)


def of_inputs(tensors: Mapping[str, Tensor], *, exact: bool) -> Tensor:
    """What PEFT turns a layer's inputs by. `exact`: as its config says where it does not come near
    Cayley's map by the first terms of a series, which turns the other way."""
    if "oft_r" in tensors:
        return _less_nothing(_turned_back(tensors["oft_r"]), tensors["oft_r"])
    flat = tensors["oft_R"].float()
    size = (1 + isqrt(1 + 8 * flat.shape[1])) // 2
    if size * (size - 1) // 2 != flat.shape[1]:
        raise ValueError("it holds no triangles of square blocks")
    if "scaled_oft" in tensors:
        flat = flat / flat.shape[1] ** 0.5
    upper = flat.new_zeros(len(flat), size, size)
    rows, columns = torch.triu_indices(size, size, 1)
    upper[:, rows, columns] = flat
    skew = upper - upper.transpose(1, 2)
    return _less_nothing(_cayley(-skew) if exact else _series(skew), tensors["oft_R"])


def _held(blocks: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """The skew matrices of such blocks, no larger together than `alpha` lets them be (COFT)."""
    skew = blocks.float() - blocks.float().transpose(-1, -2)
    limit = float(tensors.get("alpha", 0.0)) * blocks.shape[-3] * blocks.shape[-2]
    size = float(skew.norm())
    return skew * (limit / size) if 0 < limit < size else skew


def _of_early(blocks: Tensor) -> Tensor:
    """LyCORIS before version 2 stored rotations, of late as they are and at first less what changes
    nothing: the diagonals tell."""
    near = float(blocks.float().diagonal(dim1=1, dim2=2).mean())
    return _less_nothing(blocks.float(), blocks) if near > _HALF else blocks


def _turned_back(blocks: Tensor) -> Tensor:
    """PEFT's rotations before version 0.15, which are Cayley's the other way."""
    return _cayley((blocks.float().transpose(1, 2) - blocks.float()) / 2)


def _cayley(skew: Tensor) -> Tensor:
    one = torch.eye(skew.shape[-1])
    return torch.linalg.solve(one - skew, one + skew)


def _series(skew: Tensor) -> Tensor:
    """Cayley's map by its first five terms, of which the last has half its share."""
    square = skew @ skew
    return torch.eye(skew.shape[-1]) + 2 * (skew + square + square @ skew) + square @ square


def _less_nothing(turn: Tensor, like: Tensor) -> Tensor:
    return (turn - torch.eye(turn.shape[-1])).to(like.dtype)
