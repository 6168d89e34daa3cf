"""What is in an engine's memory, as it last said."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from studio.costs.anatomy import Anatomy, Exact
from studio.costs.machine import Machine

Tier = Literal["device", "ram", "disk"]
FARTHEST: tuple[Tier, ...] = ("disk", "ram", "device")
"""Where weights may be. A processor computes with what is in RAM, there is no device."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A network in memory. Checkpoints with the same one share it."""

    id: str
    """What it holds tells it apart, not where it came from."""
    name: str
    """`unet`, `vae`, `text_encoder`, `controlnet` …"""
    owners: tuple[str, ...]
    """Ids of the checkpoints and ControlNets that it belongs to, as far as they were used."""
    bytes: int
    tier: Tier
    mapped: bool = False
    """Lies in its file: the system counts it as free, since it takes it back when it wants to."""
    leases: int = 0
    """Jobs that use it now."""
    pinned: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """A snapshot. All figures are bytes."""

    device: str
    dtype: str
    """Number format of weights and activations."""
    exact: str = ""
    """As `Machine` has it."""
    budget: int = 0
    """What weights may take on the device together."""
    total: int = 0
    """Of the device's memory; on a processor, of this machine's that the studio may use."""
    free: int = 0
    """Of it, what nobody uses."""
    anonymous: int = 0
    """Of the engine process: memory of its own."""
    file: int = 0
    """Of the engine process: parts of files, which the system takes back when it wants to."""
    allocated: int = 0
    """On a GPU: what tensors take."""
    reserved: int = 0
    """On a GPU: what the process took for tensors, used or not."""
    converted: int = 0
    """On disk: weights in the numbers that they are computed with."""
    means: tuple[str, ...] = ()
    """Fields of `plan.Means` that hold here."""
    components: tuple[Held, ...] = ()
    whole: tuple[str, ...] = ()
    """Ids of the checkpoints that nothing is missing of."""
    sizes: Mapping[str, Exact] = field(default_factory=dict[str, Exact])
    """Of the checkpoints that were opened, by id."""

    @property
    def weights(self) -> int:
        """Bytes of everything that is held, shared parts once."""
        return sum(held.bytes for held in self.components if held.tier != "disk")

    def of(self, owner: str) -> tuple[Held, ...]:
        """What is held of a checkpoint."""
        return tuple(held for held in self.components if owner in held.owners)

    @property
    def home(self) -> Tier:
        """Where weights are computed with."""
        return "ram" if self.device == "cpu" else "device"

    @property
    def machine(self) -> Machine:
        return Machine(device=self.device, dtype=self.dtype, exact=self.exact)

    def there(self, owner: str) -> int:
        """Bytes of a checkpoint that a job finds where it computes."""
        return sum(held.bytes for held in self.of(owner) if held.tier == self.home)

    def sized(self, checkpoint: str, anatomy: Anatomy) -> Anatomy:
        """A checkpoint's anatomy, as exactly as its bytes are known."""
        return replace(anatomy, exact=self.sizes.get(checkpoint))

    def where(self, owner: str) -> Tier:
        """Where all of a checkpoint is."""
        there = {held.tier for held in self.of(owner)} if owner in self.whole else set[Tier]()
        for tier in FARTHEST:
            if tier in there:
                return tier
        return "disk"

    def data(self) -> dict[str, Any]:
        """As JSON data; `memory_of` is the other way."""
        return asdict(self)


def memory_of(data: Mapping[str, Any]) -> Memory:
    """Raises `ValueError` for what is no snapshot."""
    try:
        snapshot: dict[str, Any] = {
            **data,
            "components": tuple(_held(one) for one in data.get("components", ())),
            "means": tuple(data.get("means", ())),
            "whole": tuple(data.get("whole", ())),
            "sizes": {name: Exact(**one) for name, one in data.get("sizes", {}).items()},
        }
        return Memory(**snapshot)
    except (KeyError, TypeError) as error:
        raise ValueError("no snapshot of memory") from error


def _held(data: Mapping[str, Any]) -> Held:
    network: dict[str, Any] = {**data, "owners": tuple(data["owners"])}
    return Held(**network)
