"""How the ControlNets of each kind of denoiser are shown a map, asked about it, and heard."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor

from studio.engine import latent
from studio.families._steering import Steering
from studio.tasks._task import Control

SOFTER = 0.825
"""What each layer further out is weakened by where the prompt matters more, as in A1111."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A ControlNet, and the call of the denoiser that it is to speak to."""

    steering: Steering
    control: Control
    net: Any
    shown: Tensor
    """The map, as its voice shows it."""
    call: Mapping[str, Any]
    """Arguments of the denoiser's `forward`, by name."""
    denoiser: Any

    @property
    def number(self) -> int:
        """Under which a ControlNet that tells kinds of maps apart knows this one."""
        return self.steering.numbers[self.control.shows]

    def told(self, *names: str) -> dict[str, Any]:
        """Those arguments of the call."""
        return {name: self.call[name] for name in names}

    def shown_to(self, samples: Tensor) -> Tensor:
        """The map for each of them."""
        return self.shown.expand(len(samples), *(-1,) * (self.shown.ndim - 1))


@dataclass(frozen=True, slots=True)
class Voice:
    """Of the ControlNets for one kind of denoiser."""

    shown: Callable[[Control, Any, Any], Tensor]
    """What control and network are shown of the map, [1, …] on its device and in its dtype; the last
    argument is the pipeline, whose autoencoder may be needed."""
    ask: Callable[[Asked], Mapping[str, Any]]
    """What it adds to the denoiser's layers, by argument of its `forward`."""
    bound: Callable[[Any, Any], Any] = lambda net, denoiser: net
    """The network as it computes beside a denoiser that it borrows parts of; it stays as it was."""


def bound(nets: Mapping[str, Any], pipeline: Any) -> Mapping[str, Any]:
    """ControlNets, by id, as they compute beside a pipeline's denoiser."""
    denoiser = getattr(pipeline, "transformer", None)
    voices = {name: VOICES.get(type(net).__name__) for name, net in nets.items()}
    return {
        name: voice.bound(nets[name], denoiser) if voice else nets[name]
        for name, voice in voices.items()
    }


def pixels(control: Control) -> Tensor:
    """The map as [1, 3, height, width] in 0.0 … 1.0."""
    flat = torch.frombuffer(bytearray(control.map.tobytes()), dtype=torch.uint8)
    shape = (control.map.height, control.map.width, 3)
    return flat.view(shape).permute(2, 0, 1).unsqueeze(0).float() / 255


def _like(tensor: Tensor, net: Any) -> Tensor:
    weight = next(net.parameters())
    return tensor.to(weight.device, weight.dtype)


def _unet_shown(control: Control, net: Any, pipeline: Any) -> Tensor:
    return _like(pixels(control), net)


def _unet(asked: Asked) -> Mapping[str, Any]:
    """A copy of the denoiser's first half speaks to the second one."""
    control, net, call = asked.control, asked.net, asked.call
    sample = call["sample"]
    outer, inner = net(
        sample[:, : net.config.in_channels],
        call["timestep"],
        encoder_hidden_states=call["encoder_hidden_states"],
        **_told_apart(asked, asked.shown_to(sample)),
        conditioning_scale=control.weight,
        added_cond_kwargs=call.get("added_cond_kwargs"),
        return_dict=False,
    )
    if control.balance != "balanced":
        outer = [layer * SOFTER ** (len(outer) - at) for at, layer in enumerate(outer)]
    return {
        "down_block_additional_residuals": list(outer),
        "mid_block_additional_residual": inner,
    }


def _told_apart(asked: Asked, maps: Tensor) -> dict[str, Any]:
    """The map of each sample, and for a union which of its kinds that is."""
    types = asked.net.config.get("num_control_type", 0)
    if not types:
        return {"controlnet_cond": maps}
    number = asked.number
    told = torch.zeros(len(maps), types, device=maps.device, dtype=maps.dtype)
    told[:, number] = 1
    return {"controlnet_cond": [maps], "control_type": told, "control_type_idx": [number]}


TAUGHT = 3.5
"""The guidance that FLUX.1's ControlNets are told where the denoiser was taught none."""


def _flux_shown(control: Control, net: Any, pipeline: Any) -> Tensor:
    seen = pixels(control) * 2 - 1
    return _like(seen if net.input_hint_block is not None else _in_a_row(seen, pipeline), net)


def _flux(asked: Asked) -> Mapping[str, Any]:
    """Its blocks speak to those of the denoiser, each to several that follow each other."""
    control, net, denoiser = asked.control, asked.net, asked.denoiser
    told = asked.told(
        "hidden_states",
        "encoder_hidden_states",
        "pooled_projections",
        "timestep",
        "img_ids",
        "txt_ids",
    )
    samples = told["hidden_states"]
    if net.config.guidance_embeds:
        taught = asked.call.get("guidance")
        told["guidance"] = samples.new_full((len(samples),), TAUGHT) if taught is None else taught
    if net.union:
        number = asked.number
        mode = torch.full((len(samples), 1), number, dtype=torch.long, device=samples.device)
        told["controlnet_mode"] = mode
    double, single = net(
        **told,
        controlnet_cond=asked.shown_to(samples),
        conditioning_scale=control.weight,
        return_dict=False,
    )
    # those that read pixels speak in turns
    spread = _in_groups if net.input_hint_block is None else _in_turns
    return {
        name: spread(layers, len(blocks))
        for name, layers, blocks in (
            ("controlnet_block_samples", double, denoiser.transformer_blocks),
            ("controlnet_single_block_samples", single, denoiser.single_transformer_blocks),
        )
        if layers
    }


def _in_groups(layers: list[Tensor], count: int) -> list[Tensor]:
    """What each of so many blocks hears where as many as possible that follow each other share it."""
    return [layers[at // ceil(count / len(layers))] for at in range(count)]


def _in_turns(layers: list[Tensor], count: int) -> list[Tensor]:
    """What each of so many blocks hears, from the first one again after the last one."""
    return [layers[at % len(layers)] for at in range(count)]


def _evenly(layers: list[Tensor], count: int) -> list[Tensor]:
    """What each of so many blocks hears where all are heard alike."""
    return [layers[int(at / (count / len(layers)))] for at in range(count)]


STABILITYS: Mapping[str, tuple[float, float]] = {"edges": (255 * 0.5, 0.5), "depth": (-2.0, 1.0)}
"""How the ControlNets of Stability for SD 3.5 Large want a map's 0.0 … 1.0: factor, and what is added.
Edges as in their reference code; near things dark."""
USUAL = (2.0, -1.0)


def _sd3_shown(control: Control, net: Any, pipeline: Any) -> Tensor:
    vae = pipeline.vae
    stabilitys = net.config.joint_attention_dim is None
    factor, added = STABILITYS.get(control.shows, USUAL) if stabilitys else USUAL
    latents = latent.encoded(vae, pixels(control) * factor + added)
    if net.config.force_zeros_for_pooled_projection:  # InstantX left out the shift
        return _like(latents * vae.config.scaling_factor, net)
    return _like(latent.scaled(latents, vae.config), net)


def _sd3(asked: Asked) -> Mapping[str, Any]:
    net, denoiser = asked.net, asked.denoiser
    told = asked.told("hidden_states", "pooled_projections", "timestep")
    samples = told["hidden_states"]
    if net.config.force_zeros_for_pooled_projection:
        told["pooled_projections"] = torch.zeros_like(told["pooled_projections"])
    if net.config.joint_attention_dim is not None:
        told |= asked.told("encoder_hidden_states")
    if not net.config.use_pos_embed:
        told["hidden_states"] = denoiser.pos_embed(samples)
    (layers,) = net(
        **told,
        controlnet_cond=asked.shown_to(samples),
        conditioning_scale=asked.control.weight,
        return_dict=False,
    )
    return {"block_controlnet_hidden_states": _evenly(layers, len(denoiser.transformer_blocks))}


def _qwen_shown(control: Control, net: Any, pipeline: Any) -> Tensor:
    return _like(_in_a_row(pixels(control) * 2 - 1, pipeline), net)


def _qwen(asked: Asked) -> Mapping[str, Any]:
    told = asked.told(
        "hidden_states",
        "encoder_hidden_states",
        "encoder_hidden_states_mask",
        "timestep",
        "img_shapes",
    )
    layers = asked.net(
        **told,
        controlnet_cond=asked.shown_to(told["hidden_states"]),
        conditioning_scale=asked.control.weight,
        return_dict=False,
    )
    blocks = asked.denoiser.transformer_blocks
    return {"controlnet_block_samples": _in_groups(layers, len(blocks))}


def _latents_shown(control: Control, net: Any, pipeline: Any) -> Tensor:
    vae = pipeline.vae
    return _like(latent.scaled(latent.encoded(vae, pixels(control) * 2 - 1), vae.config), net)


def _hunyuan(asked: Asked) -> Mapping[str, Any]:
    """Its blocks speak to what skips from the denoiser's first half to the second."""
    told = asked.told(
        "hidden_states",
        "timestep",
        "encoder_hidden_states",
        "text_embedding_mask",
        "encoder_hidden_states_t5",
        "text_embedding_mask_t5",
        "image_meta_size",
        "style",
        "image_rotary_emb",
    )
    return _said_by_blocks(asked, told)


def _sana(asked: Asked) -> Mapping[str, Any]:
    """Its blocks speak to the denoiser's from the second one on."""
    told = asked.told(
        "hidden_states", "encoder_hidden_states", "encoder_attention_mask", "timestep"
    )
    return _said_by_blocks(asked, told)


def _said_by_blocks(asked: Asked, told: dict[str, Any]) -> Mapping[str, Any]:
    (layers,) = asked.net(
        **told,
        controlnet_cond=asked.shown_to(told["hidden_states"]),
        conditioning_scale=asked.control.weight,
        return_dict=False,
    )
    return {"controlnet_block_samples": layers}


def _zimage_bound(net: Any, denoiser: Any) -> Any:
    own = copy.copy(net)
    own._modules, own._parameters = dict(net._modules), dict(net._parameters)
    return type(net).from_transformer(own, denoiser)


def _zimage_shown(control: Control, net: Any, pipeline: Any) -> Tensor:
    """Of a frame; later ones may also be told a mask, and are told none."""
    latents = _latents_shown(control, net, pipeline)
    rest = net.config.control_in_dim - latents.shape[1]
    return torch.nn.functional.pad(latents, (0, 0, 0, 0, 0, rest)).unsqueeze(2)


def _zimage(asked: Asked) -> Mapping[str, Any]:
    told = asked.told("x", "t", "cap_feats")
    said = asked.net(
        **told,
        control_context=[asked.shown[0]] * len(told["x"]),
        conditioning_scale=asked.control.weight,
    )
    return {"controlnet_block_samples": said}


def _in_a_row(seen: Tensor, pipeline: Any) -> Tensor:
    """What the autoencoder makes of a map's pixels, as squares of 2 × 2 in a row."""
    latents = latent.scaled(latent.encoded(pipeline.vae, seen), pipeline.vae.config)
    return latent.in_a_row(latent.squares(latents))


VOICES: Mapping[str, Voice] = {
    "ControlNetModel": Voice(_unet_shown, _unet),
    "FluxControlNetModel": Voice(_flux_shown, _flux),
    "SD3ControlNetModel": Voice(_sd3_shown, _sd3),
    "QwenImageControlNetModel": Voice(_qwen_shown, _qwen),
    "HunyuanDiT2DControlNetModel": Voice(_latents_shown, _hunyuan),
    "SanaControlNetModel": Voice(_latents_shown, _sana),
    "ZImageControlNetModel": Voice(_zimage_shown, _zimage, _zimage_bound),
}
"""By diffusers' class."""
