"""The transformers of FLUX.1 and Stable Diffusion 3, tensor by tensor, from one layout to the other."""

from collections.abc import Mapping

from studio.checkpoints.originals import POSITIONS, Original, blocks, tail_of
from studio.checkpoints.streams import Source, joined, rows
from studio.core.errors import InvalidRequest

Tensors = dict[str, Source]


def to_original(known: Original, tensors: Mapping[str, Source]) -> Tensors:
    """By the names of its makers, who join layers. Raises `InvalidRequest` for what they have not."""
    rest, made = dict(tensors), Tensors()
    for layer, theirs in known.every(dict.fromkeys(key.rpartition(".")[0] for key in rest)):
        for tail in ("weight", "bias"):
            names = [f"{one}.{tail}" for one in theirs.layers]
            if not rest.keys() >= set(names):
                continue
            parts = [rest.pop(name) for name in names]
            _require_alike(parts, names[0])
            if theirs.swapped:
                parts = _halves(parts[0])
            made[f"{layer}.{tail_of(layer, tail)}"] = joined(parts)
    old, new = POSITIONS
    if new in rest:
        made[old] = rest.pop(new)
    _require_none(rest)
    return made


def to_diffusers(known: Original, tensors: Mapping[str, Source]) -> Tensors:
    """By diffusers' names, which shares out the rows of layers that are joined. Raises
    `InvalidRequest` for a tensor that it has no name for."""
    rest, made = dict(tensors), Tensors()
    old, new = POSITIONS
    if old in rest:
        made[new] = rest.pop(old)
    count = blocks(rest, "joint_blocks")
    for key in list(rest):
        layer, _, tail = key.rpartition(".")
        theirs = known.joined(layer, count)
        if theirs is None or tail not in {"weight", "bias", "scale"}:
            continue
        whole = rest.pop(key)
        names = [f"{one}.{'weight' if tail == 'scale' else tail}" for one in theirs.layers]
        if theirs.swapped:
            made[names[0]] = joined(_halves(whole))
        elif len(names) == 1:
            made[names[0]] = whole
        else:
            # each but the last has as many rows as the network is wide
            wide = tensors[f"{layer}.weight"].shape[1]
            last = len(names) - 1
            for number, name in enumerate(names):
                count_of = whole.shape[0] - last * wide if number == last else wide
                made[name] = rows(whole, number * wide, count_of)
    _require_none(rest)
    return made


def _halves(whole: Source) -> list[Source]:
    """The second half of its rows, then the first."""
    half = whole.shape[0] // 2
    return [rows(whole, half, half), rows(whole, 0, half)]


def _require_alike(parts: list[Source], name: str) -> None:
    if len({part.dtype for part in parts}) > 1:
        raise InvalidRequest(
            f"The other layout has one tensor where this one has {len(parts)} in several number "
            f"formats, {name[:80]} for one.",
            "Write it as a folder in one number format first, with --to folder and --dtype.",
            field="dtype",
        )


def _require_none(rest: Mapping[str, Source]) -> None:
    for key in rest:
        raise unnamed(key)


def unnamed(key: str) -> InvalidRequest:
    """That the other layout has no name for a tensor."""
    return InvalidRequest(
        f"The other layout has no name for one of its tensors, {key[:80]}.",
        "It can be written in its own layout only, with --dtype in another number format.",
        field="checkpoint",
    )
