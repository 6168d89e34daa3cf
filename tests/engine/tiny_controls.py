"""Tiny ControlNets for transformers, of diffusers' own classes; see `tests.engine.tiny`."""

from pathlib import Path
from typing import Any

from tests.engine.tiny_families import TINY


def save_deep(family: str, folder: Path, **config: Any) -> Path:
    """Writes a tiny checkpoint of that family, whose denoiser has another config, such as more
    blocks, and returns `folder`."""
    import diffusers

    TINY[family](folder)
    place = folder / "transformer"
    known = diffusers.AutoModel.from_pretrained(str(place))
    made = seeded(type(known), {**known.config, **config})
    made.save_pretrained(place, safe_serialization=True)
    return folder


def save_control(kind: str, folder: Path, checkpoint: Path, *, seed: int = 1, **config: Any) -> Any:
    """Writes a ControlNet of diffusers' class `kind` for that checkpoint's denoiser; what its config
    does not say is as there. Returns the network."""
    import inspect

    import diffusers

    denoiser = diffusers.AutoModel.from_pretrained(str(checkpoint / "transformer"))
    cls: Any = getattr(diffusers, kind)
    known = inspect.signature(cls.__init__).parameters
    own = {name: value for name, value in denoiser.config.items() if name in known}
    made = seeded(cls, {**own, **config}, seed)
    made.save_pretrained(folder, safe_serialization=True)
    return made


def seeded(cls: Any, config: dict[str, Any], seed: int = 0) -> Any:
    """A network with random weights, the layers that start as zeros too."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = cls.from_config(config)
        for tensor in made.parameters():
            if tensor.ndim > 1 and not tensor.any():
                torch.nn.init.normal_(tensor, std=0.2)
    return made.eval()
