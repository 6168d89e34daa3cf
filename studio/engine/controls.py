"""ControlNets: read from disk, and heard by a denoiser for as long as one picture takes."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import torch
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from torch import Tensor

from studio.checkpoints.controls import TOLD_APART, types_of
from studio.tasks._task import Control, within

SOFTER = 0.825
"""What each layer further out is weakened by where the prompt matters more, as in A1111."""


def control_config(
    shapes: Mapping[str, tuple[int, ...]], unet: Mapping[str, Any]
) -> dict[str, Any]:
    """The config of a ControlNet with tensors of these shapes, for a denoiser with that one."""
    kind: Any = getattr(diffusers, network_class(types_of(shapes)))
    known = inspect.signature(kind.__init__).parameters
    config = {name: unet[name] for name in known if name in unet}
    layers = _hint_layers(shapes)
    return {
        **config,
        **_told_apart(shapes),
        "in_channels": 4,
        "conditioning_embedding_out_channels": layers,
    }


def network_class(types: int) -> str:
    """What diffusers calls a ControlNet that tells so many kinds of maps apart."""
    return "ControlNetUnionModel" if types else "ControlNetModel"


def _told_apart(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """What the config of a union has beside that of other ControlNets."""
    if not types_of(shapes):
        return {}
    types, channels = shapes["task_embedding"]
    layers = {key.split(".")[1] for key in shapes if key.startswith("transformer_layes.")}
    return {
        "num_control_type": types,
        "num_trans_channel": channels,
        "num_trans_layer": len(layers),
        "num_proj_channel": shapes["spatial_ch_projs.weight"][0],
    }


def converted(module: Any, state: dict[str, Any]) -> Mapping[str, Any]:
    """Tensors of a file in diffusers' or the original layout by diffusers' names."""
    if not any(key.startswith("control_model.") for key in state):
        return state
    convert: Callable[..., dict[str, Any]] = convert_controlnet_checkpoint
    return convert(dict(state), dict(module.config))


def _hint_layers(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Channels of the small network that reads the map."""
    first = "controlnet_cond_embedding.conv_in.weight"
    if first not in shapes:  # the original has one size only
        return 16, 32, 96, 256
    blocks = sorted(
        (int(key.split(".")[2]), shapes[key][0])
        for key in shapes
        if key.startswith("controlnet_cond_embedding.blocks.") and key.endswith(".weight")
    )
    return (shapes[first][0], *(channels for index, channels in blocks if index % 2))


class Steered:
    """A denoiser that listens to ControlNets. A pipeline calls it instead of the denoiser, which
    it shares with others and does not change."""

    def __init__(
        self,
        unet: Any,
        controls: tuple[Control, ...],
        nets: Mapping[str, Any],
        *,
        guided: bool,
        steps: Callable[[], tuple[int, int]],
    ) -> None:
        """`nets` has the ControlNets by id; `steps` tells how many calls are done and how many
        there are in all; `guided` that each call holds the negative prompt's half first."""
        self._unet = unet
        self._guided = guided
        self._steps = steps
        self._units = [
            (control, nets[control.controlnet], _tensor(control, nets[control.controlnet]))
            for control in controls
            if control.weight > 0
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unet, name)

    def __call__(
        self, sample: Tensor, timestep: Any, encoder_hidden_states: Tensor, **options: Any
    ) -> Any:
        """As `UNet2DConditionModel.forward`; where no unit acts, exactly that."""
        down, middle = self._heard(sample, timestep, encoder_hidden_states, options)
        if middle is not None:
            options |= {
                "down_block_additional_residuals": down,
                "mid_block_additional_residual": middle,
            }
        return self._unet(sample, timestep, encoder_hidden_states, **options)

    def _heard(
        self, sample: Tensor, timestep: Any, states: Tensor, options: Mapping[str, Any]
    ) -> tuple[list[Tensor] | None, Tensor | None]:
        """What the acting units add to the denoiser's layers, summed."""
        done, total = self._steps()
        down: list[Tensor] | None = None
        middle: Tensor | None = None
        for control, net, shown in self._units:
            if not within(done, total, control.start, control.end):
                continue
            outer, inner = net(
                sample[:, : net.config.in_channels],
                timestep,
                encoder_hidden_states=states,
                **_shown(control, net, shown.expand(len(sample), -1, -1, -1)),
                conditioning_scale=control.weight,
                added_cond_kwargs=options.get("added_cond_kwargs"),
                return_dict=False,
            )
            outer, inner = self._balanced(control.balance, list(outer), inner)
            down = outer if down is None else [a + b for a, b in zip(down, outer, strict=True)]
            middle = inner if middle is None else middle + inner
        return down, middle

    def _balanced(
        self, balance: str, outer: list[Tensor], inner: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """Softer outer layers unless both matter alike; for the map's sake, none of it in the half
        that is kept away from, so that guidance multiplies it."""
        if balance == "balanced":
            return outer, inner
        outer = [layer * SOFTER ** (len(outer) - at) for at, layer in enumerate(outer)]
        if balance == "control" and self._guided:
            for layer in (*outer, inner):
                layer[: len(layer) // 2] = 0
        return outer, inner


def _shown(control: Control, net: Any, maps: Tensor) -> dict[str, Any]:
    """The map of each sample, and for a union which of its kinds that is."""
    types = net.config.get("num_control_type", 0)
    if not types:
        return {"controlnet_cond": maps}
    number = TOLD_APART.index(control.shows)
    told = torch.zeros(len(maps), types, device=maps.device, dtype=maps.dtype)
    told[:, number] = 1
    return {"controlnet_cond": [maps], "control_type": told, "control_type_idx": [number]}


def _tensor(control: Control, net: Any) -> Tensor:
    """The map as [1, 3, height, width] in 0.0 … 1.0, with the ControlNet's own device and dtype."""
    weight = next(net.parameters())
    pixels = torch.frombuffer(bytearray(control.map.tobytes()), dtype=torch.uint8)
    shape = (control.map.height, control.map.width, 3)
    shown = pixels.view(shape).permute(2, 0, 1).unsqueeze(0).float() / 255
    return shown.to(weight.device, weight.dtype)
