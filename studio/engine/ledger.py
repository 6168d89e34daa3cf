"""What the memory of this process holds, as a value that anybody may keep and show. Torch-free."""

from dataclasses import dataclass
from typing import Any, Literal

Tier = Literal["disk", "ram", "device"]
"""Where weights are at hand: the nearest place to where they are computed with. On a processor that is
`ram`, there is no `device`. What is on disk alone is not held."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """One component: the weights of one network, however many checkpoints have it."""

    id: str
    """Same weights of the same class and config in the same number format, same id."""
    part: str
    """What pipelines call it, such as `unet`."""
    kind: str
    """Its class."""
    checkpoints: tuple[str, ...]
    """Ids of the checkpoints, or other files, that have it."""
    size_bytes: int
    """Of one copy, in the number format it is computed in."""
    tier: Tier
    mapped: bool
    """Whether it lies in its file, which the system keeps in memory as long as it has room."""
    leases: int
    """How many jobs use it now."""
    pinned: bool
    """Whether somebody asked for it to stay."""
    reload_s: float
    """Seconds that reading it took the last time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """Everything that is held, at one moment."""

    holdings: tuple[Holding, ...]
    whole: tuple[str, ...] = ()
    """Ids of the checkpoints that are held with all their components, least recently used first."""
    ram_budget_bytes: int
    """How much of the machine's memory weights may take together."""
    vram_budget_bytes: int
    """The same for the device; 0 where there is none but the processor."""
    ram_bytes: int
    """What they take of it now, each component counted once."""
    vram_bytes: int
    converted_bytes: int = 0
    """What is kept on disk of weights in the numbers that they are computed with."""

    def of(self, checkpoint_id: str) -> tuple[Holding, ...]:
        """What a checkpoint has in memory; perhaps not all of it."""
        return tuple(h for h in self.holdings if checkpoint_id in h.checkpoints)

    def tier(self, checkpoint_id: str) -> Tier:
        """The tier that all components of a checkpoint have reached."""
        reached = {holding.tier for holding in self.of(checkpoint_id)}
        if checkpoint_id not in self.whole:
            return "disk"
        return "ram" if "ram" in reached else "device"

    def pinned(self, checkpoint_id: str) -> bool:
        held = self.of(checkpoint_id)
        return bool(held) and all(holding.pinned for holding in held)

    def to_json(self) -> dict[str, Any]:
        """Plain data, the same names."""
        return {
            "holdings": [
                {name: getattr(holding, name) for name in Holding.__slots__}
                | {"checkpoints": list(holding.checkpoints)}
                for holding in self.holdings
            ],
            "whole": list(self.whole),
            "ram_budget_bytes": self.ram_budget_bytes,
            "vram_budget_bytes": self.vram_budget_bytes,
            "ram_bytes": self.ram_bytes,
            "vram_bytes": self.vram_bytes,
            "converted_bytes": self.converted_bytes,
        }
