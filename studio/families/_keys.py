"""Rules over the keys of a state dict, as values that compose."""

from collections.abc import Callable, Mapping

Shapes = Mapping[str, tuple[int, ...]]
"""Tensor shapes by key, as a safetensors header tells them. A diffusers folder's keys carry the
component in front: `unet.conv_in.weight`."""

Rule = Callable[[Shapes], bool]


def has(*keys: str) -> Rule:
    """All of these keys are there."""
    return lambda shapes: all(key in shapes for key in keys)


def shape(key: str, axis: int, *sizes: int) -> Rule:
    """The tensor `key` is there and its dimension `axis` is one of `sizes`."""
    return lambda shapes: key in shapes and len(shapes[key]) > axis and shapes[key][axis] in sizes


def every(*rules: Rule) -> Rule:
    return lambda shapes: all(rule(shapes) for rule in rules)


def some(*rules: Rule) -> Rule:
    return lambda shapes: any(rule(shapes) for rule in rules)


def without(rule: Rule) -> Rule:
    return lambda shapes: not rule(shapes)


def saved_as(pipeline: str) -> str:
    """The key that stands for the class that wrote a folder. Only for families whose tensors are
    alike to the last one: a single file has no such key."""
    return f"model_index.{pipeline}"


def saved_from(pipeline: str) -> Rule:
    """The folder was written by that diffusers pipeline."""
    return has(saved_as(pipeline))
