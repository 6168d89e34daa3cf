"""What a job asks for, in numbers that are the same on every machine."""

from dataclasses import dataclass
from typing import Literal

Kept = Literal["whole", "packed", "fp8", "blocks"]
"""How the denoiser's weights are in memory: as they are computed with; as their file has them, or in 8
bits, and widened layer by layer; or one block after another. Those of text encoders are as their files
have them in all ways but the first."""

TOKEN_PX = 16 * 16
"""Pixels to a token of the transformers whose prompts pictures may follow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One walk from noise, or from a picture, to a picture."""

    width: int
    height: int
    """Of what is painted, in pixels."""
    calls: int
    """Calls of the denoiser; samplers of second order make two a step."""
    guided: bool = True
    """Each call paints two pictures: what is wanted and what is kept away from."""
    over: bool = False
    """It starts from a picture, which is encoded first."""

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def batch(self) -> int:
        """Pictures in one call."""
        return 2 if self.guided else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A job of a task that paints with a checkpoint."""

    checkpoint: str
    """Its id."""
    passes: tuple[Pass, ...]
    """Of each picture; a picture of strength 0 has none."""
    count: int = 1
    """Pictures."""
    controls: tuple[str, ...] = ()
    """Ids of the ControlNets that are heard, none twice."""
    added: tuple[str, ...] = ()
    """What else is read beside the checkpoint: `lora:ID`, `vae:ID`, `ipadapter:ID`; none twice."""
    refiner: str = ""
    """Id of the checkpoint that takes over for the last steps, if one does."""
    kept: Kept | None = None
    """How the denoiser's weights are to be in memory; None leaves it to the plan."""
    tokens: int = 0
    """Of pictures, which follow those of the prompt."""

    def seen(self, one: Pass) -> int:
        """Pixels that a call of the denoiser sees for one picture of a pass, tokens taken for as many
        as they would be of it."""
        return one.pixels + self.tokens * TOKEN_PX

    @property
    def largest(self) -> Pass | None:
        return max(self.passes, key=lambda one: one.pixels, default=None)
