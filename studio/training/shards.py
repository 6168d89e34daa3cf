"""Pictures on disk in numbered shards, so that stages can stop, resume and extend."""

import json
import logging
from pathlib import Path

import numpy as np

from studio.training import compose

log = logging.getLogger(__name__)

SHARD = 2048
"""Pictures in a shard."""


def pixel_path(folder: Path, number: int) -> Path:
    return folder / "pictures" / f"{number:04d}.npy"


def caption_path(folder: Path, number: int) -> Path:
    return folder / "pictures" / f"{number:04d}.json"


def build(folder: Path, count: int) -> None:
    """Make sure that the first `count` shards exist; what is there already is kept."""
    (folder / "pictures").mkdir(exist_ok=True)
    missing = [n for n in range(count) if not caption_path(folder, n).exists()]
    if not missing:
        return
    library = compose.load(folder)
    for number in missing:
        pixels, said = compose.pictures(number, SHARD, library)
        np.save(pixel_path(folder, number), pixels)
        caption_path(folder, number).write_text(json.dumps(said))
        log.info("shard %d of %d", number + 1, count)


def numbers(folder: Path) -> list[int]:
    """The shards that are complete."""
    return sorted(int(p.stem) for p in (folder / "pictures").glob("*.json"))


def pixels(folder: Path, number: int) -> np.ndarray:
    """A shard's pictures [SHARD, 128, 128, 3] uint8, mapped from disk."""
    return np.load(pixel_path(folder, number), mmap_mode="r")


def captions(folder: Path, number: int) -> list[str]:
    return json.loads(caption_path(folder, number).read_text())
