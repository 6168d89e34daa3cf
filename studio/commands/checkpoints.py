"""`checkpoints`: which weights there are to paint with."""

import json
from collections.abc import Mapping
from typing import Any

from studio.checkpoints.catalog import Catalog, Checkpoint
from studio.commands.exit_codes import OK
from studio.core.layouts import Kind
from studio.paths import BUILTIN_CHECKPOINT
from studio.settings import load


def checkpoints(options: Mapping[str, Any]) -> int:
    """Prints a line for each; those that cannot be used say why below it."""
    settings = load({key: value for key, value in options.items() if key != "json"})
    found = Catalog(settings.all_dirs(Kind.CHECKPOINTS), builtin=BUILTIN_CHECKPOINT).all()
    if options["json"]:
        print(json.dumps({"checkpoints": [_json(entry) for entry in found]}, ensure_ascii=False))
        return OK
    if not found:
        print("There is no checkpoint yet.")
        print(
            "Put a .safetensors file or a diffusers folder into 'checkpoints' in the data folder."
        )
        return OK
    wide = max(len(entry.id) for entry in found)
    for entry in found:
        size = f"{entry.size_bytes / 1e9:.2f} GB"
        print(f"{entry.id:{wide}}  {entry.family or 'unknown':8}  {size:>9}  {entry.label}")
        if entry.problem:
            print(f"{'':{wide}}  {entry.problem} {entry.advice or ''}".rstrip())
    return OK


def _json(entry: Checkpoint) -> dict[str, Any]:
    return {
        "id": entry.id,
        "label": entry.label,
        "family": entry.family,
        "native_px": entry.native_px,
        "size_bytes": entry.size_bytes,
        "problem": entry.problem,
        "advice": entry.advice,
    }
