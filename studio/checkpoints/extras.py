"""What can be added to a checkpoint, by kind."""

from dataclasses import dataclass, field

from studio.checkpoints.files import Files
from studio.checkpoints.loras import Lora, loras


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """The lists of all kinds."""

    loras: Files[Lora] = field(default_factory=loras)
