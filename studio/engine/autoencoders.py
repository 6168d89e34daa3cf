"""Autoencoders that are used instead of a checkpoint's own."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors.torch import load_file
from torch import Tensor

from studio.checkpoints.folder import MAX_CONFIG_BYTES
from studio.checkpoints.latents import PREFIXES

USUAL, TINY = "AutoencoderKL", "AutoencoderTiny"


def load_vae(path: Path, like: Any, configs: Path) -> Any:
    """The autoencoder of a file in diffusers' or the original layout.

    Its shape is what the `config.json` beside it says, else that of `like`, which it is used
    instead of; where that one is of another class, what the folder `configs` says. Raises
    `ValueError`, `KeyError` or `RuntimeError` where its tensors do not fit.
    """
    read: Callable[[Path], dict[str, Tensor]] = load_file
    state = _bare(read(path))
    kind = TINY if "decoder.layers.0.weight" in state else USUAL
    config = _config(path, like, configs, kind)
    with torch.device("meta"):
        vae: Any = getattr(diffusers, kind).from_config(config)
    if "decoder.mid.block_1.conv1.weight" in state:
        convert: Callable[..., dict[str, Tensor]] = convert_ldm_vae_checkpoint
        state = convert(state, dict(vae.config))
    vae.load_state_dict(state, strict=True, assign=True)
    if kind == type(like).__name__ and _differ(vae.config, like.config):
        raise ValueError("its latents are of another kind")
    return vae


def _bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = next(one for one in PREFIXES if any(key.startswith(one) for key in state))
    ours = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
    # what a training leaves behind
    return {
        key: tensor
        for key, tensor in ours.items()
        if key.startswith(("encoder.", "decoder.", "quant_conv.", "post_quant_conv."))
    }


def _config(path: Path, like: Any, configs: Path, kind: str) -> Mapping[str, Any]:
    own = path.with_name("config.json")
    if own.is_file() and own.stat().st_size <= MAX_CONFIG_BYTES:
        found = json.loads(own.read_bytes())
        if isinstance(found, dict) and found.get("_class_name") == kind:
            return found
    if type(like).__name__ == kind:
        return like.config
    return json.loads((configs / "vae" / "config.json").read_bytes())


def _differ(one: Any, other: Any) -> bool:
    """A denoiser that knows the latents of the one would see others with the other."""
    blocks = [len(config.get("block_out_channels") or ()) for config in (one, other)]
    scales = [float(config.get("scaling_factor") or 1.0) for config in (one, other)]
    return blocks[0] != blocks[1] or abs(scales[0] - scales[1]) > 1e-3
