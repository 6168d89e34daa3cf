"""Networks that turn pictures into prompts (IP-Adapter, Redux), and the ones that look at the pictures."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers.models.embeddings import ImageProjection
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from PIL.Image import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from studio.checkpoints.imageprompts import CONFIG, LEVEL, PARTS, Eyes, ImagePrompt, Looker
from studio.engine.attention import CROSS, layers

SIGLIP_PX = 384
"""Side of the pictures that Redux was trained with, whose last pixels fill no patch."""
HEADS = 16
"""Of every CLIP vision network that image prompts were trained with."""
QUICK_WIDTH = 1024
"""OpenAI's network, the one of that width, has an activation of its own."""


def load_image_prompt(prompt: ImagePrompt, unet: Any) -> dict[str, nn.Module]:
    """`projection`, from what was seen in a picture to tokens, and, where they do not simply follow
    the prompt, `layers`: for each layer of the denoiser that looks at words two maps from tokens to
    keys and values, in its order.

    Raises `ValueError`, `KeyError` or `RuntimeError` where its tensors do not fit the denoiser.
    """
    read: Callable[[Path], dict[str, Tensor]] = load_file
    state = read(prompt.path)
    if prompt.eyes == "siglip":
        redux: Any = ReduxImageEncoder(prompt.sees, prompt.context)
        redux.load_state_dict(state, strict=True)
        return {"projection": redux}
    projecting = {
        key.removeprefix("image_proj."): tensor
        for key, tensor in state.items()
        if key.startswith("image_proj.")
    }
    convert: Callable[..., nn.Module] = unet._convert_ip_adapter_image_proj_to_diffusers
    pairs: list[nn.Module] = []
    for index, layer in enumerate(layers(unet, CROSS).values()):
        pair = nn.ModuleList()
        for name in ("to_k_ip", "to_v_ip"):
            weight = state[f"ip_adapter.{2 * index + 1}.{name}.weight"]
            if tuple(weight.shape) != (layer.inner_kv_dim, layer.cross_attention_dim):
                raise ValueError(f"layer {index} is {tuple(weight.shape)}")
            linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
            linear.load_state_dict({"weight": weight}, assign=True)
            pair.append(linear)
        pairs.append(pair)
    if f"ip_adapter.{2 * len(pairs) + 1}.to_k_ip.weight" in state:
        raise ValueError("it has more layers than the denoiser")
    return {
        "projection": convert(projecting, low_cpu_mem_usage=False),
        "layers": nn.ModuleList(pairs),
    }


def load_looker(looker: Looker) -> dict[str, nn.Module]:
    """The vision network of a file, shaped by the config beside it or by its own tensors.

    Raises `ValueError`, `KeyError` or `RuntimeError` where its tensors are not what they should be.
    """
    read: Callable[[Path], dict[str, Tensor]] = load_file
    state = {
        key.removeprefix(LEVEL): tensor
        for key, tensor in read(looker.path).items()
        if not key.endswith("position_ids") and key.removeprefix(LEVEL).startswith(PARTS)
    }
    settings, network = _SETTINGS[looker.eyes], _NETWORKS[looker.eyes]
    noted = _noted(looker.path, settings.model_type)
    made: Any = network(settings(**(noted or _shaped(state, looker.eyes))))
    names = {name.removeprefix(LEVEL): name for name in made.state_dict()}
    made.load_state_dict({names.get(key, key): t for key, t in state.items()}, strict=True)
    return {"looker": made}


_SETTINGS: Mapping[Eyes, Any] = {
    "clip": transformers.CLIPVisionConfig,
    "siglip": transformers.SiglipVisionConfig,
}
_NETWORKS: Mapping[Eyes, Any] = {
    "clip": transformers.CLIPVisionModelWithProjection,
    "siglip": transformers.SiglipVisionModel,
}


def _noted(path: Path, kind: str) -> dict[str, Any] | None:
    file = path.parent / CONFIG
    if not file.is_file():
        return None
    found = json.loads(file.read_bytes())
    return found if found.get("model_type") == kind else None


def _shaped(state: dict[str, Tensor], eyes: Eyes) -> dict[str, Any]:
    patches = state["embeddings.patch_embedding.weight"]
    # CLIP has a place for the whole picture beside those of its patches
    places = len(state["embeddings.position_embedding.weight"]) - (eyes == "clip")
    width, side = patches.shape[0], patches.shape[-1]
    depth = {key.split(".")[2] for key in state if key.startswith("encoder.layers.")}
    across = round(places**0.5)
    whole = eyes == "siglip" and SIGLIP_PX // side == across
    shape = {
        "hidden_size": width,
        "intermediate_size": len(state["encoder.layers.0.mlp.fc1.weight"]),
        "num_hidden_layers": len(depth),
        "num_attention_heads": HEADS,
        "image_size": SIGLIP_PX if whole else across * side,
        "patch_size": side,
    }
    if eyes == "siglip":
        return shape
    return {
        **shape,
        "projection_dim": len(state["visual_projection.weight"]),
        "hidden_act": "quick_gelu" if width == QUICK_WIDTH else "gelu",
    }


@torch.inference_mode()
def tokens(image: Image, looker: Any, projection: nn.Module, *, guided: bool) -> Tensor:
    """A picture as tokens [1, tokens, width], with guidance behind those of no picture: [2, …]."""
    side = looker.config.image_size
    prepare: Any = transformers.CLIPImageProcessor(size=side, crop_size=side)
    weight = next(looker.parameters())
    pixels = prepare(image, return_tensors="pt").pixel_values.to(weight.device, weight.dtype)
    if isinstance(projection, ImageProjection):
        seen = looker(pixels).image_embeds
        rows = [torch.zeros_like(seen), seen]
    else:
        rows = [
            looker(shown, output_hidden_states=True).hidden_states[-2]
            for shown in (torch.zeros_like(pixels), pixels)
        ]
    # in one batch, as diffusers does: rows by themselves may round differently
    return projection(torch.cat(rows if guided else rows[1:]))


@torch.inference_mode()
def followed(image: Image, looker: Any, projection: nn.Module) -> Tensor:
    """A picture as tokens [1, tokens, width] that follow those of a prompt."""
    side = looker.config.image_size
    prepare: Any = transformers.SiglipImageProcessor(size={"height": side, "width": side})
    weight = next(looker.parameters())
    pixels = prepare(image, return_tensors="pt").pixel_values.to(weight.device, weight.dtype)
    made: Any = projection(looker(pixels).last_hidden_state)
    return made.image_embeds
