"""Go on from an exported model, and its ControlNet, where the checkpoints of their training are gone."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from studio.training import autoencoder, control, runs, text, unet
from studio.training.export import EARLIER, HISTORY

log = logging.getLogger(__name__)


def resume(folder: Path, source: Path) -> None:
    """Write a checkpoint of each part of the export `source` into `folder`.

    Raises `FileExistsError` where a checkpoint lies there already. The optimizers start afresh, and
    so does the count of minutes, to which the export adds what the source has seen; the text encoder
    gets no checkpoint of its training, only weights. The ControlNet counts on.
    """
    if (folder / unet.CHECKPOINT).exists():
        message = f"{folder} holds checkpoints already: delete them first."
        raise FileExistsError(message)
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(source / "tokenizer" / name, folder / "tokenizer" / name)
    start = {"step": 0, "minutes": 0.0}
    vae = _weights(source / "vae")
    runs.save(folder / autoencoder.CHECKPOINT, {"net": vae, **start})
    student = text.Student(text.create(text.tokenizer_of(folder / "tokenizer")))
    student.net.load_state_dict(_weights(source / "text_encoder"))
    runs.save(folder / text.CHECKPOINT, {"student": student.state_dict(), **start})
    net = _weights(source / "unet")
    runs.save(folder / unet.CHECKPOINT, {"net": net, "average": net, **start, "pictures": 0})
    config = json.loads((source / "vae" / "config.json").read_text())
    (folder / "latents.json").write_text(json.dumps({"deviation": 1 / config["scaling_factor"]}))
    _resume_control(folder, source.with_name(f"{source.name}-control"))
    if (source / HISTORY).exists():
        shutil.copy(source / HISTORY, folder / EARLIER)
    log.info("%s goes on from %s", folder, source)


def _resume_control(folder: Path, source: Path) -> None:
    if not source.exists():
        return
    net = control.create(unet.trained(folder)[0])
    net.load_state_dict(_weights(source))
    control.amplify(net, 1 / control.STRENGTH)
    counts = json.loads((source / HISTORY).read_text())
    state = net.state_dict()
    runs.save(folder / control.CHECKPOINT, {"net": state, "average": state, **counts})


def _weights(part: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    [file] = part.glob("*.safetensors")
    return {name: tensor.float() for name, tensor in load_file(file).items()}
