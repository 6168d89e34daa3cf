"""Which parts of a network can be in memory one after another."""

from collections.abc import Callable, Iterable, Mapping

SHARE = 16
"""A block larger than this part of the network is taken apart, where it consists of smaller ones."""
MOSTLY = 7 / 8
"""What the smaller ones must hold of it."""


def blocks_of(sizes: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """The tensors of each block by its name, as `down_blocks.1.resnets.0`: what is numbered in the
    names of tensors and consists of several layers. `sizes` has bytes, or parameters, by tensor. Some
    tensors are in no block."""
    return _below("", sizes, sum(sizes.values()) // SHARE)


def resident(sizes: Mapping[str, int]) -> int:
    """What is in memory at once where blocks come one after another: what is in none, the block that
    computes, and the next one."""
    held = [sum(sizes[name] for name in names) for names in blocks_of(sizes).values()]
    return sum(sizes.values()) - sum(held) + sum(sorted(held)[-1:]) * min(2, len(held))


def _below(prefix: str, sizes: Mapping[str, int], most: int) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for block, names in _numbered(prefix, sizes).items():
        own = {name: sizes[name] for name in names}
        size = sum(own.values())
        inner = _below(f"{block}.", own, most) if size > most else {}
        held = sum(own[name] for names in inner.values() for name in names)
        if inner and held >= MOSTLY * size:
            found |= inner
        else:
            found[block] = tuple(names)
    return found


def _numbered(prefix: str, names: Iterable[str]) -> dict[str, list[str]]:
    """Tensors by the first numbered part of their name after `prefix`."""
    found: dict[str, list[str]] = {}
    for name in names:
        words = name.removeprefix(prefix).split(".")
        place = next((at for at, word in enumerate(words[:-1]) if word.isdigit()), None)
        if place is not None:
            found.setdefault(prefix + ".".join(words[: place + 1]), []).append(name)
    return {block: own for block, own in found.items() if any(map(_is_deeper(block), own))}


def _is_deeper(block: str) -> Callable[[str], bool]:
    """Whether a tensor is one of a layer in the block, which may itself be a single layer: LoRAs look
    at the weights of one beside calling it, when those of a block are gone."""
    return lambda name: "." in name.removeprefix(f"{block}.")
