"""The contract of an upscaler."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from studio.core.errors import InvalidRequest
from studio.core.geometry import Size

State = Mapping[str, NDArray[np.float32]]
"""Weights by the names that the network's published PyTorch code gives them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundled:
    """Weights that an installed package carries."""

    package: str
    """As pip calls it."""
    module: str
    """As Python calls it. It is only looked for: nothing of it is imported."""
    file: str
    """Path below the module."""
    read: Callable[[Path], State]
    """Reads the file. Raises `ValueError` if it is not what it should be."""

    def path(self) -> Path | None:
        """Where the file lies, None if it is not there."""
        found = importlib.util.find_spec(self.module)
        if found is None or found.origin is None:
            return None
        file = Path(found.origin).parent / self.file
        return file if file.is_file() else None

    @property
    def needs(self) -> str:
        """What has to be there, in words."""
        return f"{Path(self.file).name} of the package {self.package}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Upscaler:
    """An entry of the drawer `upscalers/`, or a file in the upscaler folder.

    It has one of `enlarge`, `bundled` and `file`.
    """

    id: str
    label: str
    aliases: tuple[str, ...] = ()
    """What other programs call it."""
    about: str = ""
    """What it is good for, as a sentence."""
    place: int = 1000
    """Order in lists; the first usable one is the default."""
    scale: int | None = None
    """What its network multiplies the sides by; None if only the weights themselves say."""
    enlarge: Callable[[Image, Size], Image] | None = None
    """For one without a network: the picture, RGB or RGBA, in exactly that size."""
    bundled: Bundled | None = None
    file: Path | None = None
    """Weights in the upscaler folder; never leaves the server."""
    size_bytes: int = 0
    """Of the file."""
    problem: str = ""
    """Why it cannot be used, as a sentence; empty when it can."""
    advice: str = ""
    """What to do about the problem."""

    @property
    def needs(self) -> str | None:
        """Which weights it wants, in words; None if none."""
        if self.bundled is not None:
            return self.bundled.needs
        return self.file.name if self.file is not None else None

    def weights(self) -> Path | None:
        """Where its weights lie; None if it needs none. Raises `InvalidRequest` if they are gone."""
        if self.bundled is None:
            return self.file
        if (path := self.bundled.path()) is None:
            raise missing(self, self.bundled)
        return path


def missing(upscaler: Upscaler, bundled: Bundled) -> InvalidRequest:
    return InvalidRequest(
        f"The weights of '{upscaler.label}' are missing: {Path(bundled.file).name} was looked for "
        f"in the installed package {bundled.package}.",
        f"Install {bundled.package} into the studio's .venv with pip, or choose another upscaler.",
        field="upscaler",
    )
