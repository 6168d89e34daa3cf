"""Pictures on disk in numbered shards, so that stages can stop, resume and extend."""

import json
import logging
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from studio.preprocessors._people import Person, from_json, to_json
from studio.training import compose
from studio.training.sources import SIDE

log = logging.getLogger(__name__)

SHARD = 2048
"""Pictures in a shard."""


def pixel_path(folder: Path, number: int) -> Path:
    return folder / "pictures" / f"{number:04d}.npy"


def caption_path(folder: Path, number: int) -> Path:
    return folder / "pictures" / f"{number:04d}.json"


def depth_path(folder: Path, number: int) -> Path:
    return folder / "pictures" / f"{number:04d}.depth.npz"


def people_path(folder: Path, number: int) -> Path:
    return folder / "pictures" / f"{number:04d}.people.json"


def build(
    folder: Path, count: int, *, truth: bool = False, people: float = compose.PEOPLE_SHARE
) -> None:
    """Make sure that the first `count` shards exist; what is there already is kept.

    `truth` also wants each picture's depth and people, as ControlNets learn from; a share of `people`
    of the pictures shows somebody. Raises `ValueError` if shards that are to get their truth now were
    drawn otherwise than they would be today.
    """
    (folder / "pictures").mkdir(exist_ok=True)
    last = people_path if truth else caption_path
    missing = [n for n in range(count) if not last(folder, n).exists()]
    if not missing:
        return
    with ProcessPoolExecutor(min(len(missing), os.cpu_count() or 1)) as pool:
        waiting = {n: pool.submit(_build, folder, n, truth=truth, people=people) for n in missing}
        for number, done in waiting.items():
            done.result()
            log.info("shard %d of %d", number + 1, count)


@cache
def _library(folder: Path) -> compose.Library:
    """Loaded once a process of the pool."""
    return compose.load(folder)


def _build(folder: Path, number: int, *, truth: bool, people: float) -> None:
    """Write one shard, its caption file last of what a training without truth needs."""
    made = compose.draw(number, SHARD, _library(folder), people)
    if not caption_path(folder, number).exists():
        np.save(pixel_path(folder, number), made.pixels)
        caption_path(folder, number).write_text(json.dumps(made.captions))
    elif not np.array_equal(pixels(folder, number), made.pixels):
        message = f"Shard {number} of {folder} was drawn otherwise: use another folder."
        raise ValueError(message)
    if truth:
        np.savez_compressed(depth_path(folder, number), made.depth)
        known = [to_json(persons, (SIDE, SIDE)) for persons in made.people]
        people_path(folder, number).write_text(json.dumps(known))


def numbers(folder: Path) -> list[int]:
    """The shards that are complete."""
    return sorted(int(p.stem) for p in (folder / "pictures").glob("????.json"))


def pixels(folder: Path, number: int) -> np.ndarray:
    """A shard's pictures [SHARD, 128, 128, 3] uint8, mapped from disk."""
    return np.load(pixel_path(folder, number), mmap_mode="r")


def captions(folder: Path, number: int) -> list[str]:
    return json.loads(caption_path(folder, number).read_text())


def with_truth(folder: Path) -> list[int]:
    """The shards whose depth and people are known."""
    return [n for n in numbers(folder) if people_path(folder, n).exists()]


def depth(folder: Path, number: int) -> np.ndarray:
    """A shard's depth maps [SHARD, 128, 128] uint8, 0 far to 255 near."""
    with np.load(depth_path(folder, number)) as stored:
        return stored["arr_0"]


def people(folder: Path, number: int) -> list[tuple[Person, ...]]:
    """The people in each of a shard's pictures, in pixels of it."""
    known = json.loads(people_path(folder, number).read_text())
    return [from_json(persons, (SIDE, SIDE)) for persons in known]
