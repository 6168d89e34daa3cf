"""Where jobs run, and in which number formats."""

from dataclasses import dataclass, replace

from studio.costs.anatomy import Anatomy

SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of a number, by format."""

LARGE = 100_000_000
"""Parameters of a checkpoint from which on short numbers are worth their rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A device and what it computes in."""

    device: str
    dtype: str
    """Number format of weights and activations."""
    exact: str = ""
    """That of small checkpoints and of what makes pixels, as autoencoders; empty where it is no other."""

    @property
    def value(self) -> int:
        """Bytes of a number."""
        return SIZES.get(self.dtype, 4)

    @property
    def pixel_value(self) -> int:
        """Bytes of a number of an autoencoder: most would overflow in half precision, and compute in
        float32 there."""
        return 4 if self.dtype == "float16" else SIZES.get(self.exact or self.dtype, 4)

    @property
    def for_pixels(self) -> "Machine":
        """The machine as it computes what makes pixels without a checkpoint."""
        return replace(self, dtype=self.exact or self.dtype)

    def painting(self, anatomy: Anatomy | None) -> "Machine":
        """The machine as it computes a checkpoint of these sizes."""
        if anatomy is None or not self.exact:
            return self
        if anatomy.parameters < LARGE:
            return replace(self, dtype=self.exact)
        return self if anatomy.mixes else replace(self, exact="")
