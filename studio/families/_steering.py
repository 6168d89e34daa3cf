"""How ControlNets steer the denoiser of a family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from studio.families._keys import Rule, Shapes, has

SOFT_EDGES = "soft edges"
"""What maps of edges show that are no lines, where a ControlNet tells the two apart."""

BESIDE_MASKS = "It was made to repaint under a mask, and steers by no map."
"""The problem of a ControlNet that wants a mask beside the map."""

Balance = Literal["prompt", "balanced", "control"]
"""Which matters more where prompt and map disagree."""


Config = Mapping[str, Any]
"""Of a network, as diffusers has it."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """The shape of a denoiser, as far as a ControlNet must be made for it."""

    channels: int
    """Of a UNet after its first convolution, of a transformer between its blocks."""
    context: int
    """Width of the text states it attends to; 0 of a ControlNet that reads none."""
    network: str = "ControlNetModel"
    """diffusers' class of the ControlNets for its kind; one for each kind."""
    depth: int = 0
    """Blocks that it must have, one for each that hears it; 0 where the number may differ."""

    def hears(self, made_for: "Encoder") -> bool:
        """Whether a ControlNet that was made for denoisers of that shape steers this one."""
        own, asked = ((e.network, e.channels, e.depth) for e in (self, made_for))
        return own == asked and made_for.context in {0, self.context}


def told_nothing(shapes: Shapes) -> int:
    return 0


def nothing(shapes: Shapes) -> str:
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Steering:
    """What ControlNets for a kind of denoiser are, and what can be asked of them."""

    part: str
    """What pipelines call the denoiser."""
    network: str
    """diffusers' class of them, which names their voice in `engine.voices`."""
    union: str = ""
    """The class of those that are told what a map shows, where it is another one."""
    keys: Rule
    """Holds for the tensors of a ControlNet of this kind."""
    made_for: Callable[[Shapes], Encoder | None]
    """What one with such tensors was made for."""
    encoder: Callable[[Shapes], Encoder | None]
    """What one must be made for to steer a checkpoint with such tensors; None if none can."""
    config: Callable[[Shapes, Config], Config]
    """What such tensors say about the network's config, beside that of the denoiser: the rest is as
    there."""
    untold: tuple[str, ...] = ()
    """Entries of a config that no tensor tells; a folder's `config.json` does."""
    types: Callable[[Shapes], int] = told_nothing
    """How many kinds of maps one with such tensors has to be told apart by number."""
    numbers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """What they show, by the number it is known under."""
    kinds: tuple[str, ...] = ()
    """What one listens to that its name calls a union and that is told nothing; empty for all."""
    trained: str = ""
    """A tensor that is zeros where the `unused` ones were never trained."""
    unused: str = ""
    """How the names of these begin: one that has them so is as if it had none."""
    problem: Callable[[Shapes], str] = nothing
    """Why one with such tensors cannot be used, as a sentence; empty if it can."""
    balances: tuple[Balance, ...] = ("balanced",)
    """What may be said to matter more."""
    apart: bool = False
    """Whether a step asks the denoiser first for the prompt and then once more for the negative one,
    rather than for both at once."""

    def network_of(self, types: int) -> str:
        """diffusers' class of one that is told so many kinds of maps apart."""
        return self.union if types and self.union else self.network


def widths(network: str, *names: tuple[str, str]) -> Callable[[Shapes], Encoder | None]:
    """Reads the shape of a transformer off two of its matrices: the first that picture and text go
    through, by any of these pairs of names, bare or in a checkpoint's folder or file."""

    def found(shapes: Shapes) -> Encoder | None:
        for prefix in ("", "transformer.", "model.diffusion_model."):
            for picture, text in names:
                if prefix + picture in shapes and prefix + text in shapes:
                    context = shapes[prefix + text][1]
                    return Encoder(shapes[prefix + picture][0], context, network)
        return None

    return found


def copied(
    network: str, names: tuple[str, str], config: Callable[[Shapes, Config], Config]
) -> Steering:
    """Of ControlNets that copy the first blocks of a transformer, with one before them that takes the
    map in; `names` as in `widths`."""
    made_for = widths(network, names)
    return Steering(
        part="transformer",
        network=network,
        keys=has("input_block.weight", *names),
        made_for=made_for,
        encoder=made_for,
        config=config,
        balances=("balanced", "control"),
    )


def layers(shapes: Shapes, name: str) -> int:
    """How many numbered layers `name` there are."""
    begin = f"{name}."
    return len({key.split(".")[1] for key in shapes if key.startswith(begin)})
