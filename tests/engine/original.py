"""Writes diffusers' networks under the keys that Stability's own code gave them.

The inverse of what the studio reads: with it, a tiny checkpoint becomes the single file that people
have in their folders.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_RESNET = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "conv_shortcut.": "skip_connection.",
}
_UNET = {
    "conv_in.": "input_blocks.0.0.",
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "add_embedding.linear_1.": "label_emb.0.0.",
    "add_embedding.linear_2.": "label_emb.0.2.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
    "mid_block.resnets.0.": "middle_block.0.",
    "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.",
}
_ATTENTION = {
    "group_norm.": "norm.",
    "to_q.": "q.",
    "to_k.": "k.",
    "to_v.": "v.",
    "to_out.0.": "proj_out.",
}
_OPEN_CLIP = {
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.embeddings.token_embedding.": "token_embedding.",
    "text_model.final_layer_norm.": "ln_final.",
    "text_model.encoder.layers.": "transformer.resblocks.",
    "layer_norm1.": "ln_1.",
    "layer_norm2.": "ln_2.",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
    "self_attn.": "attn.",
}


def save_original(networks: Mapping[str, Any], file: Path) -> Path:
    """Writes the networks of a checkpoint (`unet`, `vae`, `text_encoder`, …) as one file."""
    from safetensors.torch import save_file

    tensors = {k: t.detach().clone().contiguous() for k, t in original(networks).items()}
    save_file(tensors, file)
    return file


def save_configs(checkpoint: Path, configs: Path, family: str) -> None:
    """Writes what assets/configs has of a family for checkpoints of full size, for this small one."""
    only = shutil.ignore_patterns("*.safetensors", "tokenizer.json")
    shutil.copytree(checkpoint, configs / family, ignore=only)
    for config in (configs / family).glob("tokenizer*/tokenizer_config.json"):
        settings = json.loads(config.read_text())
        settings["vocabulary"] = f"{family}/{config.parent.name}"
        config.write_text(json.dumps(settings))


def original(networks: Mapping[str, Any]) -> dict[str, Any]:
    """All tensors by original key; with `text_encoder_2` as SDXL, or as its refiner where that is alone,
    else as SD 1.x, or as 2.x where the text is not read with CLIP's quick activation."""
    both = _under("model.diffusion_model", unet(networks["unet"]))
    both |= _under("first_stage_model", vae(networks["vae"]))
    paired = "text_encoder_2" in networks
    if paired and "text_encoder" not in networks:
        alone = open_clip_text(networks["text_encoder_2"])
        return both | _under("conditioner.embedders.0.model", alone)
    second = not paired and networks["text_encoder"].config.hidden_act == "gelu"
    clip = "conditioner.embedders.0.transformer" if paired else "cond_stage_model.transformer"
    tensors = {
        **both,
        **(
            _under("cond_stage_model.model", open_clip_text(networks["text_encoder"]))
            if second
            else _under(clip, clip_text(networks["text_encoder"]))
        ),
    }
    if paired:
        projected = open_clip_text(networks["text_encoder_2"])
        tensors |= _under("conditioner.embedders.1.model", projected)
    return tensors


def transformer(network: Any) -> dict[str, Any]:
    """A transformer's tensors, by the studio's own table read backwards; that one is
    compared with diffusers' converters elsewhere."""
    import torch

    from studio.checkpoints.originals import ORIGINALS, POSITIONS, tail_of

    state, known = network.state_dict(), ORIGINALS[type(network).__name__]
    found: dict[str, Any] = {}
    for layer, joined in known.every(dict.fromkeys(key.rpartition(".")[0] for key in state)):
        for tail in ("weight", "bias"):
            parts = [state.get(f"{one}.{tail}") for one in joined.layers]
            if parts[0] is None:
                continue
            whole = torch.cat(parts)
            if joined.swapped:
                whole = torch.cat(whole.chunk(2)[::-1])
            found[f"{layer}.{tail_of(layer, tail)}"] = whole
    old, new = POSITIONS
    if new in state:
        found[old] = state[new]
    return found


def unet(network: Any) -> dict[str, Any]:
    """A UNet2DConditionModel's tensors."""
    layers = network.config.layers_per_block
    state, found = network.state_dict(), {}
    for key, tensor in state.items():
        name = _unet_key(key, layers, state.keys())
        found[_replaced(name, _RESNET) if "attentions" not in key else name] = tensor
    return found


def _unet_key(key: str, layers: int, keys: Any) -> str:
    for new, old in _UNET.items():
        if key.startswith(new):
            return old + key.removeprefix(new)
    side, block, part, number, rest = re.fullmatch(
        r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", key
    ).groups()  # type: ignore[union-attr]
    first, number = int(block) * (layers + 1), int(number)
    if part == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.op.{rest.removeprefix('conv.')}"
    if part == "upsamplers":
        attended = any(other.startswith(f"up_blocks.{block}.attentions.") for other in keys)
        return f"output_blocks.{first + layers}.{2 if attended else 1}.{rest}"
    place = (
        f"input_blocks.{first + number + 1}"
        if side == "down"
        else (f"output_blocks.{first + number}")
    )
    return f"{place}.{0 if part == 'resnets' else 1}.{rest}"


def vae(network: Any) -> dict[str, Any]:
    """An AutoencoderKL's tensors."""
    last = len(network.config.block_out_channels) - 1
    found: dict[str, Any] = {}
    for key, tensor in network.state_dict().items():
        name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", key)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", name)
        name = re.sub(
            r"up_blocks\.(\d)\.resnets\.", lambda at: f"up.{last - int(at[1])}.block.", name
        )
        name = re.sub(
            r"up_blocks\.(\d)\.upsamplers\.0\.",
            lambda at: f"up.{last - int(at[1])}.upsample.",
            name,
        )
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda at: f"mid.block_{int(at[1]) + 1}", name)
        name = name.replace("conv_shortcut.", "nin_shortcut.").replace(
            "conv_norm_out.", "norm_out."
        )
        if "mid_block.attentions.0." in name:
            name = _replaced(name.replace("mid_block.attentions.0.", "mid.attn_1."), _ATTENTION)
            # the original's attention is a convolution of one pixel
            tensor = tensor[..., None, None] if tensor.ndim == 2 else tensor
        found[name] = tensor
    return found


def clip_text(network: Any) -> dict[str, Any]:
    """A CLIPTextModel's tensors."""
    return {
        f"text_model.{key.removeprefix('text_model.')}": tensor
        for key, tensor in network.state_dict().items()
    }


def open_clip_text(network: Any) -> dict[str, Any]:
    """An OpenCLIP text encoder's tensors, whose attention has one matrix for three."""
    import torch

    # transformers names the tensors of a bare encoder without this first level
    state = {
        key if key.startswith("text_") else f"text_model.{key}": tensor
        for key, tensor in network.state_dict().items()
    }
    found: dict[str, Any] = {}
    for key, tensor in state.items():
        if key == "text_projection.weight":
            found["text_projection"] = tensor.T
        elif "q_proj." in key:
            parts = [state[key.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            name = _replaced(key, _OPEN_CLIP).replace("q_proj.", "in_proj_")
            found[name] = torch.cat(parts)
        elif "k_proj." not in key and "v_proj." not in key:
            found[_replaced(key, _OPEN_CLIP)] = tensor
    return found


def _under(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{key}": tensor for key, tensor in tensors.items()}


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for new, old in names.items():
        text = text.replace(new, old)
    return text
