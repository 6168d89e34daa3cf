"""The weights there are, each kind with its own way to look for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.checkpoints.catalog import Catalog
    from studio.checkpoints.controls import Controls
    from studio.checkpoints.extras import Extras
    from studio.checkpoints.imageprompts import ImagePrompts
    from studio.preprocessors._preprocessor import Preprocessor
    from studio.upscalers._shelf import Shelf


@dataclass(frozen=True, kw_only=True, slots=True)
class Shelves:
    """Looked at anew with every question: files come and go while the studio runs."""

    catalog: "Catalog"
    controls: "Controls"
    image_prompts: "ImagePrompts"
    upscalers: "Shelf"
    extras: "Extras"
    has_weights: "Callable[[Preprocessor], bool]"
