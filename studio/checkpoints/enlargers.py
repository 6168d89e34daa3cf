"""Upscalers among other files: told by the convolution of a picture that they begin with."""

from studio.families._keys import Shapes

_INSIDE = ("", "params_ema.", "params.")
"""Training scripts keep the network below one of these."""
_FIRST = ("conv_first.weight", "model.0.weight", "body.0.weight")
_BANDS = frozenset({1, 3, 12, 48})
"""Of a picture in grey or RGB, also where squares of 2 or 4 pixels have become one."""


def enlarges(shapes: Shapes) -> bool:
    """Whether a file with these tensors is an upscaler by the usual names. Rare ones have others."""
    found = (shapes.get(f"{inside}{name}", ()) for inside in _INSIDE for name in _FIRST)
    return any(len(shape) == 4 and shape[1] in _BANDS for shape in found)
