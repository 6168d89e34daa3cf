"""LoRA files as trainers write them, with random numbers in them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def layers(module: torch.nn.Module, endings: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """The layers whose names end so, with their paths."""
    for path, layer in module.named_modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d) and path.endswith(endings):
            yield path, layer


def save_kohya(
    file: Path,
    networks: Mapping[str, tuple[torch.nn.Module, tuple[str, ...]]],
    *,
    seed: int = 0,
    rank: int = 4,
    alpha: float = 2.0,
    metadata: Mapping[str, str] | None = None,
    pieces: Callable[[Any, torch.Generator], dict[str, torch.Tensor]] | None = None,
    named: Callable[[str], str] = lambda path: path,
) -> Path:
    """`networks` has modules with the layers to add to, by kohya's prefix: `lora_unet`, `lora_te`.

    `pieces` makes the tensors of a layer; by default it is a LoRA of that rank.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    make = pieces or (lambda layer, dice: low_rank(layer, dice, rank, alpha))
    for prefix, (module, endings) in networks.items():
        for path, layer in layers(module, endings):
            if not prefix.endswith("_unet") and not path.startswith("text_model."):
                path = f"text_model.{path}"
            name = f"{prefix}_{named(path).replace('.', '_')}"
            tensors |= {
                f"{name}.{piece}": tensor for piece, tensor in make(layer, generator).items()
            }
    assert tensors
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file, metadata=dict(metadata or {}))
    return file


def low_rank(
    layer: Any, dice: torch.Generator, rank: int = 4, alpha: float = 2.0
) -> dict[str, torch.Tensor]:
    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=dice) * 0.3

    if isinstance(layer, torch.nn.Conv2d):
        down = noise(rank, layer.in_channels, *layer.kernel_size)
        up = noise(layer.out_channels, rank, 1, 1)
    else:
        down, up = noise(rank, layer.in_features), noise(layer.out_features, rank)
    return {
        "lora_down.weight": down,
        "lora_up.weight": up,
        "alpha": torch.tensor(alpha),
    }
