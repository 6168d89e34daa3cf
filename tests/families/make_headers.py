"""Writes headers/*.json: keys and shapes of real checkpoints, from diffusers' classes without weights.

    python -m tests.families.make_headers

A file is named after the family it belongs to, or `none` where the studio knows no family for it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.paths import CONFIGS
from tests.engine.original import original

HEADERS = Path(__file__).parent / "headers"


def main() -> None:
    sd15, sdxl = networks("sd15"), networks("sdxl")
    write("sd15-folder", folder(sd15))
    write("sd15-file", original(sd15))
    write("sdxl-folder", folder(sdxl))
    write("sdxl-file", original(sdxl))

    for family in ("sd15", "sdxl"):
        wide = networks(family, unet={"in_channels": 9})
        write(f"{family}_inpaint-folder", folder(wide))
        write(f"{family}_inpaint-file", original(wide))
    refiner = networks("sdxl_refiner")
    write("sdxl_refiner-folder", folder(refiner))
    write("sdxl_refiner-file", original(refiner))
    sd2 = networks("sd2")
    write("sd2-folder", folder(sd2))
    write("sd2-file", original(sd2))
    write("none-vae-file", {k: v for k, v in original(sd15).items() if k.startswith("first_stage")})
    write("none-unet-folder", {k: v for k, v in folder(sd15).items() if k.startswith("unet.")})
    lora = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight"
    HEADERS.joinpath("none-lora-file.json").write_text(json.dumps({lora: [8, 320]}) + "\n")


def networks(family: str, **changes: Mapping[str, Any]) -> dict[str, Any]:
    """The family's networks at full size on the meta device, which holds shapes and no numbers."""
    import diffusers
    import torch
    import transformers

    found: dict[str, Any] = {}
    index = json.loads((CONFIGS / family / "model_index.json").read_text())
    with torch.device("meta"):
        for name, (library, kind) in ((k, v) for k, v in index.items() if isinstance(v, list)):
            file = CONFIGS / family / name / "config.json"
            if not file.is_file():
                continue
            config = {**json.loads(file.read_text()), **changes.get(name, {})}
            cls = getattr(transformers if library == "transformers" else diffusers, kind)
            found[name] = (
                cls(cls.config_class(**config))
                if library == "transformers"
                else cls.from_config(config)
            )
    return found


def folder(found: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{name}.{key}": tensor
        for name, network in found.items()
        for key, tensor in network.state_dict().items()
    }


def write(name: str, tensors: dict[str, Any]) -> None:
    shapes = {key: list(tensor.shape) for key, tensor in sorted(tensors.items())}
    HEADERS.joinpath(f"{name}.json").write_text(json.dumps(shapes, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
