"""How large is what a job reads beside its checkpoint."""

from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.controls import Controls
from studio.checkpoints.extras import Extras
from studio.checkpoints.imageprompts import ImagePrompts
from studio.costs.needs import CONTROLNET
from studio.costs.work import Work


def beside(
    work: Work,
    checkpoint: Checkpoint,
    controls: Controls,
    extras: Extras,
    image_prompts: ImagePrompts,
) -> dict[str, int]:
    """Parameters of everything that is read beside the checkpoint, by its name in memory.

    Raises `InvalidRequest` for what is not there any more.
    """
    found = {f"{CONTROLNET}{one}": controls.get(one).parameters for one in work.controls}
    for name in work.added:
        kind, _, one = name.partition(":")
        match kind:
            case "lora":
                found[name] = extras.loras.get(one).parameters
            case "vae":
                found[f"{name}@{checkpoint.family}"] = extras.vaes.get(one).parameters
            case _:
                prompt = image_prompts.get(one, checkpoint)
                looker = image_prompts.looker(prompt)
                found[name] = prompt.parameters
                found[f"looker:{looker.id}"] = looker.parameters
    return found
