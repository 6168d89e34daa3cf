"""UNets that attend to text: Stable Diffusion 1.x, 2.x and XL, and the ControlNets for them."""

from types import MappingProxyType
from typing import Any

from studio.families._keys import Shapes, has, some
from studio.families._steering import SOFT_EDGES, Config, Encoder, Steering, layers

_HINT = "controlnet_cond_embedding.conv_in.weight"
_ORIGINAL_HINT = "control_model.input_hint_block.0.weight"

TOLD_APART = MappingProxyType(
    {
        "pose": 0,
        "depth": 1,
        SOFT_EDGES: 2,
        "edges": 3,
        "normals": 4,
        "segments": 5,
        "tile": 6,
    }
)
"""What the maps of a union (ControlNet++) show, by the number it knows them under; there is one for
inpainting after them."""


def encoder_of(shapes: Shapes) -> Encoder | None:
    """Of a checkpoint's denoiser; None if it is of another kind."""
    return _first(
        shapes,
        ("unet.", "unet.conv_in.weight"),
        ("model.diffusion_model.", "model.diffusion_model.input_blocks.0.0.weight"),
    )


def _made_for(shapes: Shapes) -> Encoder | None:
    if _HINT in shapes:
        return _first(shapes, ("", "conv_in.weight"))
    return _first(shapes, ("control_model.", "control_model.input_blocks.0.0.weight"))


def _first(shapes: Shapes, *places: tuple[str, str]) -> Encoder | None:
    for prefix, first in places:
        if first in shapes:
            return _encoder(shapes, prefix, first)
    return None


def _encoder(shapes: Shapes, prefix: str, first: str) -> Encoder | None:
    ending = "attn2.to_k.weight"
    attends = next((k for k in sorted(shapes) if k.startswith(prefix) and k.endswith(ending)), "")
    return Encoder(channels=shapes[first][0], context=shapes[attends][1]) if attends else None


def _types(shapes: Shapes) -> int:
    return shapes.get("task_embedding", (0,))[0]


def _config(shapes: Shapes, denoiser: Config) -> Config:
    told: dict[str, Any] = {}
    if _types(shapes):
        types, channels = shapes["task_embedding"]
        told = {
            "num_control_type": types,
            "num_trans_channel": channels,
            "num_trans_layer": layers(shapes, "transformer_layes"),
            "num_proj_channel": shapes["spatial_ch_projs.weight"][0],
        }
    return {
        **told,
        "in_channels": 4,
        "conditioning_embedding_out_channels": _hint_layers(shapes),
    }


def _hint_layers(shapes: Shapes) -> tuple[int, ...]:
    """Channels of the small network that reads the map."""
    if _HINT not in shapes:  # the original has one size only
        return 16, 32, 96, 256
    blocks = sorted(
        (int(key.split(".")[2]), shapes[key][0])
        for key in shapes
        if key.startswith("controlnet_cond_embedding.blocks.") and key.endswith(".weight")
    )
    return (shapes[_HINT][0], *(channels for index, channels in blocks if index % 2))


UNET = Steering(
    part="unet",
    network="ControlNetModel",
    union="ControlNetUnionModel",
    keys=some(has(_HINT), has(_ORIGINAL_HINT)),
    made_for=_made_for,
    encoder=encoder_of,
    config=_config,
    types=_types,
    numbers=TOLD_APART,
    balances=("prompt", "balanced", "control"),
)
