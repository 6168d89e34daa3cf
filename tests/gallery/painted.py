"""Pictures for tests: small, noisy, different for each seed."""

import random
from pathlib import Path
from typing import Any

from studio.core import png
from studio.core.records import ImageRecord, Picture
from studio.gallery.store import Gallery, Query

JOB = "0123456789abcdef" * 2


def picture(seed: int = 1, *, index: int = 0, side: int = 16) -> Picture:
    pixels = random.Random(seed).randbytes(side * side * 3)
    facts = {"device": "cpu", "seconds": 0.25, "versions": {"torch": "2.14"}, "shape": (1, 4)}
    return Picture(index=index, seed=seed, width=side, height=side, pixels=pixels, facts=facts)


def painted(
    gallery: Gallery,
    prompt: str = "a red fox",
    *,
    owner: str = "local",
    seed: int = 1,
    index: int = 0,
    side: int = 16,
    task: str = "txt2img",
    checkpoint: str = "builtin",
    negative_prompt: str = "",
    job: str = JOB,
    parents: tuple[str, ...] = (),
) -> ImageRecord:
    request: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "checkpoint": checkpoint,
        "seed": seed,
        "steps": 20,
    }
    infotext = f"{prompt}\nSteps: 20, Sampler: Euler, Seed: {seed}"
    made = picture(seed, index=index, side=side)
    return gallery.add(owner, job, task, request, made, infotext, parents)


def listed(gallery: Gallery, owner: str = "local", **query: Any) -> list[ImageRecord]:
    """Every page of a query."""
    records: list[ImageRecord] = []
    cursor = None
    while True:
        page = gallery.records(owner, Query(cursor=cursor, limit=query.pop("limit", 60), **query))
        records += page.records
        cursor = page.next_cursor
        if cursor is None:
            return records


def files(data_dir: Path) -> set[str]:
    """Finished pictures on disk, by their path below the data folder."""
    return {path.relative_to(data_dir).as_posix() for path in data_dir.glob("pictures/*/*.png")}


def leftovers(data_dir: Path) -> list[Path]:
    return list(data_dir.rglob(".tmp-*"))


def assert_whole(data_dir: Path) -> None:
    """Every finished file can be read and every shown row has its file."""
    for file in files(data_dir):
        assert png.STORY in png.read(data_dir / file).texts
