"""What a request of one owner may name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core import intake
from studio.core.errors import InvalidRequest
from studio.core.geometry import Size
from studio.core.records import Preset
from studio.costs.machine import Machine
from studio.costs.plan import ways_on
from studio.costs.work import Kept
from studio.service.shelves import Shelves

if TYPE_CHECKING:
    from PIL.Image import Image

    from studio.checkpoints.catalog import Checkpoint
    from studio.checkpoints.controls import ControlNet
    from studio.checkpoints.embeddings import Embedding
    from studio.checkpoints.imageprompts import ImagePrompt, Looker
    from studio.checkpoints.loras import Lora
    from studio.checkpoints.vaes import Vae
    from studio.preprocessors._preprocessor import Preprocessor
    from studio.upscalers._upscaler import Upscaler


@dataclass(frozen=True, slots=True)
class Seen:
    """`tasks.Facts` for one owner: what is not theirs is not there."""

    shelves: Shelves
    owner: str
    file_of: Callable[[str, str], Path]
    preset_of: Callable[[str, str], Preset]
    machine: Machine
    """What the request would run on."""
    supposing: bool = False
    """Whether preprocessors are taken to have the weights that they want."""

    def checkpoint(self, checkpoint_id: str | None) -> "Checkpoint":
        return self.shelves.catalog.get(checkpoint_id)

    def ways(self, checkpoint: "Checkpoint") -> tuple[Kept, ...]:
        return ways_on(self.machine, checkpoint.anatomy)

    def size(self, ref: str) -> Size:
        return intake.upright_size(self.file_of(self.owner, ref))

    def picture(self, ref: str) -> "Image":
        return intake.load(self.file_of(self.owner, ref))

    def controlnet(
        self, control_id: str | None, kind: str, checkpoint: "Checkpoint"
    ) -> "ControlNet":
        if control_id is not None:
            found = self.shelves.controls.get(control_id)
            found.require_fits(checkpoint)
            return found
        checkpoint.require_steered()
        fitting = self.shelves.controls.fitting(checkpoint.steered)
        for control in fitting:
            if kind in control.kinds:
                return control
        known = ", ".join(dict.fromkeys(one for control in fitting for one in control.kinds))
        raise InvalidRequest(
            f"There is no ControlNet for {kind[:40]} that fits '{checkpoint.label}'"
            f"{f', only for {known}' if known else ''}.",
            "Put one into the folder 'controlnet' of the data folder, or choose another checkpoint.",
            field="units",
        )

    def has_weights(self, preprocessor: "Preprocessor") -> bool:
        return self.supposing or self.shelves.has_weights(preprocessor)

    def lora(self, name: str, checkpoint: "Checkpoint") -> "Lora":
        return self.shelves.extras.loras.find(name, checkpoint)

    def image_prompt(self, prompt_id: str | None, checkpoint: "Checkpoint") -> "ImagePrompt":
        return self.shelves.image_prompts.get(prompt_id, checkpoint)

    def looker(self, prompt: "ImagePrompt") -> "Looker":
        return self.shelves.image_prompts.looker(prompt)

    def embeddings(self, checkpoint: "Checkpoint") -> Mapping[str, "Embedding"]:
        return self.shelves.extras.words(checkpoint)

    def vae(self, name: str, checkpoint: "Checkpoint") -> "Vae":
        return self.shelves.extras.vaes.find(name, checkpoint)

    def preset(self, name: str) -> Preset:
        return self.preset_of(self.owner, name)

    def upscaler(self, upscaler_id: str | None) -> "Upscaler":
        return self.shelves.upscalers.get(upscaler_id)
