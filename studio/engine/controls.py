"""ControlNets: read from disk, and heard by a denoiser for as long as one picture takes."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import diffusers
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from torch import Tensor

from studio.checkpoints.controls import config_beside, used
from studio.checkpoints.originals import ORIGINALS
from studio.engine.loading import renamed
from studio.engine.voices import VOICES, Asked
from studio.families._steering import Steering
from studio.tasks._task import Control, within


def control_config(
    steering: Steering,
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    denoiser: Mapping[str, Any],
) -> dict[str, Any]:
    """The config of a ControlNet with tensors of these shapes, for a denoiser with that one."""
    shapes = used(path, shapes, steering)
    kind: Any = getattr(diffusers, steering.network_of(steering.types(shapes)))
    known = inspect.signature(kind.__init__).parameters
    config = {name: denoiser[name] for name in known if name in denoiser}
    return {**config, **steering.config(shapes, denoiser), **config_beside(path, steering.untold)}


def converted(module: Any, state: dict[str, Any]) -> Mapping[str, Any]:
    """Tensors of a file in diffusers' or the original layout by diffusers' names."""
    if any(key.startswith("control_model.") for key in state):
        convert: Callable[..., dict[str, Any]] = convert_controlnet_checkpoint
        return convert(dict(state), dict(module.config))
    if _HINTED in state:
        return _of_xlabs(module, state)
    return {new: tensor for key in state for new, tensor in _of_stability(key, state[key])}


_HINTED = "pos_embed_input.weight"
_READ = "input_hint_block."


def _of_xlabs(module: Any, state: dict[str, Any]) -> Mapping[str, Any]:
    """XLabs names what is as in the denoiser of FLUX.1 as its makers do, and counts the layers that
    read the map, those between them too."""
    own = "controlnet_blocks."
    made = {key: tensor for key, tensor in state.items() if key.startswith(own)}
    reading = ["conv_in", *(f"blocks.{n}" for n in range(len(module.input_hint_block.blocks)))]
    for key, tensor in state.items():
        tail = key.rpartition(".")[2]
        if key.startswith(_READ):
            at = int(key.split(".")[1]) // 2
            name = reading[at] if at < len(reading) else "conv_out"
            made[f"{_READ}{name}.{tail}"] = tensor
        elif key.startswith(_HINTED.removesuffix("weight")):
            made[f"controlnet_x_embedder.{tail}"] = tensor
    return {**made, **renamed(ORIGINALS["FluxTransformer2DModel"], module, state)}


_OF_STABILITY = {
    ".attn.proj.": ".attn.to_out.0.",
    ".mlp.fc1.": ".ff.net.0.proj.",
    ".mlp.fc2.": ".ff.net.2.",
    ".adaLN_modulation.1.": ".norm1.linear.",
}
"""Parts of names in Stability's files for SD 3.5 Large, and what diffusers calls them."""
_JOINED = ".attn.qkv."


def _of_stability(key: str, tensor: Any) -> Iterable[tuple[str, Any]]:
    """A tensor of Stability's by diffusers' names; any other one as it is."""
    if _JOINED in key:
        names = (key.replace(_JOINED, f".attn.to_{one}.") for one in "qkv")
        return zip(names, tensor.chunk(3), strict=True)
    for old, new in _OF_STABILITY.items():
        key = key.replace(old, new)
    return ((key, tensor),)


@dataclass(frozen=True, slots=True)
class Unit:
    """A ControlNet that acts, and what it is shown."""

    control: Control
    net: Any
    shown: Tensor


def units(
    steering: Steering, controls: tuple[Control, ...], nets: Mapping[str, Any], pipeline: Any
) -> tuple[Unit, ...]:
    """Those that have a weight. `nets` has the ControlNets by id; `pipeline` has what maps are encoded
    with."""
    voice = VOICES[steering.network]
    return tuple(
        Unit(
            control,
            nets[control.controlnet],
            voice.shown(control, nets[control.controlnet], pipeline),
        )
        for control in controls
        if control.weight > 0
    )


class Steered:
    """A denoiser that listens to ControlNets. A pipeline calls it instead of the denoiser, which
    it shares with others and does not change."""

    def __init__(
        self,
        steering: Steering,
        denoiser: Any,
        heard: tuple[Unit, ...],
        *,
        guided: bool,
        steps: Callable[[], tuple[int, int]],
    ) -> None:
        """`steps` tells how many calls are done and how many there are in all; `guided` that the
        negative prompt has a say: its half comes first in each call, or its call second in each step."""
        self._steering = steering
        self._denoiser = denoiser
        self._guided = guided
        self._steps = steps
        self._ask = VOICES[steering.network].ask
        self._units = heard
        self._parameters = inspect.signature(denoiser.forward)
        self._step = -1
        self._said: list[tuple[Control, Mapping[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """As the denoiser's `forward`; where no unit acts, exactly that."""
        call = self._parameters.bind(*args, **options).arguments
        return self._denoiser(*args, **options, **self._heard(call))

    def _heard(self, call: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the acting units add to the denoiser's layers, summed, as its arguments."""
        done, total = self._steps()
        if self._steering.apart and done == self._step:  # the negative prompt's
            kept = (said for control, said in self._said if control.balance != "control")
            return _summed(kept)
        self._step = done
        self._said = [
            (unit.control, self._one(unit, call))
            for unit in self._units
            if within(done, total, unit.control.start, unit.control.end)
        ]
        return _summed(said for _, said in self._said)

    def _one(self, unit: Unit, call: Mapping[str, Any]) -> Mapping[str, Any]:
        """What one unit says; where the map matters more, nothing to the half that is kept away from,
        so that guidance multiplies it."""
        control = unit.control
        said = self._ask(Asked(self._steering, control, unit.net, unit.shown, call, self._denoiser))
        if control.balance == "control" and self._guided and not self._steering.apart:
            for layer in _tensors(said):
                layer[: len(layer) // 2] = 0
        return said


def _tensors(said: Any) -> Iterator[Tensor]:
    if isinstance(said, Tensor):
        yield said
    else:
        for part in said.values() if isinstance(said, Mapping) else said:
            yield from _tensors(part)


def _summed(all_said: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """By the denoiser's argument: what a layer hears is the sum of what each says to it."""
    total: dict[str, Any] = {}
    for said in all_said:
        for name, value in said.items():
            total[name] = _added(total[name], value, {}) if name in total else value
    return total


def _added(one: Any, other: Any, known: dict[tuple[int, int], Tensor]) -> Any:
    """What a layer hears that only one speaks to, is what that one says. `known` has the sums that
    there are, since layers share what they hear."""
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, Tensor):
        key = (id(one), id(other))
        if key not in known:
            known[key] = one + other
        return known[key]
    if isinstance(one, Mapping):
        return {at: _added(one.get(at), other.get(at), known) for at in {**one, **other}}
    return type(one)(_added(a, b, known) for a, b in zip_longest(one, other))
