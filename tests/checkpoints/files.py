"""Safetensors files and checkpoint folders made by hand, healthy and hostile."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.checkpoints.header import BITS

HEADERS = Path(__file__).parents[1] / "families" / "headers"


def safetensors(path: Path, header: Mapping[str, Any] | bytes, data: bytes = b"") -> Path:
    """Writes a file with this header as it is, true or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def tensor(begin: int, end: int, dtype: str = "U8", shape: Any = None) -> dict[str, Any]:
    shape = [end - begin] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def sparse(path: Path, name: str, dtype: str = "U8") -> Path:
    """A healthy file with the keys and shapes of headers/<name>.json, whose weights are a hole."""
    shapes = json.loads((HEADERS / f"{name}.json").read_text())
    return sparse_of(path, {key: tuple(shape) for key, shape in shapes.items()}, dtype=dtype)


def sparse_of(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    metadata: Mapping[str, str] | None = None,
    dtype: str = "U8",
) -> Path:
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    reached = 0
    for key, shape in shapes.items():
        size = BITS[dtype] // 8
        for side in shape:
            size *= side
        header[key] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [reached, reached + size],
        }
        reached += size
    safetensors(path, header)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + reached)
    return path


def denoiser_alone(path: Path) -> Path:
    """The denoiser of FLUX.1, in a few tensors."""
    wide = 3072
    shapes: dict[str, tuple[int, ...]] = {
        "img_in.weight": (wide, 64),
        "txt_in.weight": (wide, 4096),
        "vector_in.in_layer.weight": (wide, 768),
        "guidance_in.in_layer.weight": (wide, 256),
        "double_blocks.0.img_attn.norm.query_norm.scale": (128,),
        "double_blocks.0.img_attn.qkv.weight": (3 * wide, wide),
        "single_blocks.0.linear1.weight": (7 * wide, wide),
        "final_layer.linear.weight": (64, wide),
    }
    return sparse_of(path, shapes)


def folder(path: Path, name: str = "sd15-folder") -> Path:
    """A healthy checkpoint folder with the keys of headers/<name>.json and the studio's configs."""
    configs = Path(__file__).parents[2] / "assets" / "configs" / name.partition("-")[0]
    shapes = json.loads((HEADERS / f"{name}.json").read_text())
    for source in configs.rglob("*.json"):
        target = path / source.relative_to(configs)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    for part in {key.partition(".")[0] for key in shapes}:
        own = {
            key.partition(".")[2]: tuple(shape)
            for key, shape in shapes.items()
            if key.startswith(f"{part}.")
        }
        stem = "model" if part.startswith("text") else "diffusion_pytorch_model"
        sparse_of(path / part / f"{stem}.safetensors", own)
    return path


def edit(path: Path, **changes: Any) -> None:
    """Changes entries of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def name_in_database(root: Path, names: Mapping[str, str]) -> Path:
    """InvokeAI's database, with the names of models by key."""
    file = root / "databases" / "invokeai.db"
    file.parent.mkdir(parents=True)
    opened = sqlite3.connect(file)
    opened.execute(
        "CREATE TABLE models (id TEXT NOT NULL PRIMARY KEY, config TEXT NOT NULL, "
        "name TEXT GENERATED ALWAYS as (json_extract(config, '$.name')) VIRTUAL NOT NULL)"
    )
    for key, name in names.items():
        config = json.dumps({"key": key, "name": name, "path": key})
        opened.execute("INSERT INTO models (id, config) VALUES (?, ?)", (key, config))
    opened.commit()
    opened.close()
    return file
