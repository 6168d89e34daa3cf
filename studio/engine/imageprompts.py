"""Networks that turn pictures into prompts (IP-Adapter), and the ones that look at the pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers.models.embeddings import ImageProjection
from PIL.Image import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from studio.checkpoints.imageprompts import CONFIG, ImagePrompt, Looker
from studio.engine.attention import CROSS, layers

HEADS = 16
"""Of every CLIP vision network that image prompts were trained with."""
QUICK_WIDTH = 1024
"""OpenAI's network, the one of that width, has an activation of its own."""


def load_image_prompt(prompt: ImagePrompt, unet: Any) -> dict[str, nn.Module]:
    """`projection`, from what was seen in a picture to tokens, and `layers`: for each layer of the
    denoiser that looks at words two maps from tokens to keys and values, in its order.

    Raises `ValueError`, `KeyError` or `RuntimeError` where its tensors do not fit the denoiser.
    """
    read: Callable[[Path], dict[str, Tensor]] = load_file
    state = read(prompt.path)
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
    """The CLIP vision network of a file, shaped by the config beside it or by its own tensors.

    Raises `ValueError`, `KeyError` or `RuntimeError` where its tensors are not what they should be.
    """
    read: Callable[[Path], dict[str, Tensor]] = load_file
    state = {
        key: tensor
        for key, tensor in read(looker.path).items()
        if not key.endswith("position_ids")
        and key.startswith(("vision_model.", "visual_projection."))
    }
    config = transformers.CLIPVisionConfig(**(_noted(looker.path) or _shaped(state)))
    network: Any = transformers.CLIPVisionModelWithProjection(config)
    network.load_state_dict(state, strict=True)
    return {"looker": network}


def _noted(path: Path) -> dict[str, Any] | None:
    file = path.parent / CONFIG
    if not file.is_file():
        return None
    found = json.loads(file.read_bytes())
    return found if found.get("model_type") == "clip_vision_model" else None


def _shaped(state: dict[str, Tensor]) -> dict[str, Any]:
    patches = state["vision_model.embeddings.patch_embedding.weight"]
    places = len(state["vision_model.embeddings.position_embedding.weight"]) - 1
    width, side = patches.shape[0], patches.shape[-1]
    depth = {key.split(".")[3] for key in state if key.startswith("vision_model.encoder.layers.")}
    return {
        "hidden_size": width,
        "intermediate_size": len(state["vision_model.encoder.layers.0.mlp.fc1.weight"]),
        "num_hidden_layers": len(depth),
        "num_attention_heads": HEADS,
        "projection_dim": len(state["visual_projection.weight"]),
        "image_size": round(places**0.5) * side,
        "patch_size": side,
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
