"""diffusers schedulers from a row of `studio.samplers` and a checkpoint's own config."""

import copy
import functools
import inspect
import json
from collections.abc import Mapping
from typing import Any

import diffusers
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from studio.core.errors import InvalidRequest
from studio.samplers import Sampler


def build(row: Sampler, config: Mapping[str, Any]) -> Any:
    """A fresh scheduler: prediction type and betas of the checkpoint, method of the sampler.

    A checkpoint that asks for `trailing` timesteps was trained down to no signal at all and has to
    start there, so that outweighs the sampler's own spacing.
    """
    key = repr(row), json.dumps(dict(config), sort_keys=True, default=repr)
    if key not in _KEPT:
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.clear()
        _KEPT[key] = _made(row, config)
    made = _copied(_KEPT[key])
    _mixes_in_long_numbers(made)
    if row.process == "flow" and not hasattr(made, "scale_noise"):
        _flow_words(made)
    return made


_KEPT: dict[tuple[str, str], Any] = {}
"""Some that are only ever copied: making one out of a config takes milliseconds."""
_MOST_KEPT = 64


def _made(row: Sampler, config: Mapping[str, Any]) -> Any:
    options = dict(row.options)
    if config.get("timestep_spacing") == "trailing":
        options.pop("timestep_spacing", None)
        options.pop("steps_offset", None)
    if row.process == "flow":
        return _flow(row, config, options)
    if row.process == "diffusion":
        config = _without_learned_variance(config)
    return getattr(diffusers, row.scheduler).from_config(dict(config), **options)


def _without_learned_variance(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Some networks also say how sure they are; pipelines then leave that away."""
    if not str(config.get("variance_type")).startswith("learned"):
        return config
    return {name: value for name, value in config.items() if name != "variance_type"}


def _flow(row: Sampler, config: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """A scheduler that follows a flow; how far it leans towards noise has two names."""
    shift = config.get("shift", config.get("flow_shift", 1.0))
    kind = getattr(diffusers, row.scheduler)
    name = "shift" if "shift" in inspect.signature(kind.__init__).parameters else "flow_shift"
    return kind.from_config({**_without_shift(config), name: shift}, **options)


def _copied(scheduler: Any) -> Any:
    """One of its own; only the config, which nobody changes, is shared."""
    own = copy.copy(scheduler)
    for name, value in vars(scheduler).items():
        if isinstance(value, torch.Tensor):
            setattr(own, name, value.clone())
        elif isinstance(value, SchedulerMixin):
            setattr(own, name, _copied(value))
        elif name != "_internal_dict":
            setattr(own, name, copy.copy(value))
    return own


def _mixes_in_long_numbers(scheduler: Any) -> None:
    """Lays pictures under noise in float32: in bfloat16, 0.998 of the picture is all of it."""
    for name in ("add_noise", "scale_noise"):
        if (mix := getattr(scheduler, name, None)) is not None:
            setattr(scheduler, name, functools.partial(_mixed, mix))


def _mixed(mix: Any, sample: torch.Tensor, *others: Any) -> torch.Tensor:
    """`others` are the noise, as wide as the sample, and a timestep, in either order."""
    told = (one.float() if one.dim() == sample.dim() else one for one in others)
    return mix(sample.float(), *told).to(sample.dtype)


def _without_shift(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in {"shift", "flow_shift"}}


def _flow_words(scheduler: Any) -> None:
    """Lets a scheduler that comes from diffusion understand what pipelines of a flow say to it: a
    grid of noise levels, which it spaces evenly itself, how far to lean, and `scale_noise`."""
    set_timesteps, dynamic = scheduler.set_timesteps, scheduler.config.use_dynamic_shifting

    def understanding(
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> Any:
        steps = num_inference_steps or len(sigmas)
        return set_timesteps(steps, device=device, **({"mu": mu} if dynamic else {}))

    def scale_noise(sample: Any, timestep: Any, noise: Any) -> Any:
        return scheduler.add_noise(sample, noise, timestep)

    scheduler.set_timesteps = understanding
    scheduler.scale_noise = scale_noise


def guarded(scheduler: Any, row: Sampler, steps: int) -> Any:
    """The same scheduler, which now raises `InvalidRequest` where it cannot do so many steps (LCM:
    at most 50) instead of an error that only its authors understand."""
    set_timesteps = scheduler.set_timesteps

    @functools.wraps(set_timesteps)  # pipelines look at its parameters
    def guard(*args: Any, **options: Any) -> Any:
        try:
            return set_timesteps(*args, **options)
        except (ValueError, IndexError):
            raise InvalidRequest(
                f"{row.label} cannot paint in {steps} steps.",
                "Choose another number of steps or another sampler.",
                field="steps",
            ) from None

    scheduler.set_timesteps = guard
    return scheduler
