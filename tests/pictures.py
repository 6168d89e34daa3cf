"""Photographs, and an engine without checkpoints for tasks that only look at pictures."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controls import Controls
from studio.checkpoints.hashes import Hashes
from studio.discovery import open_drawer
from studio.engine.control import Control
from studio.engine.device import choose
from studio.engine.manager import Manager
from studio.engine.maps import Maps
from studio.engine.runner import Runner
from studio.engine.upscaling import Networks
from studio.paths import CONFIGS
from studio.tasks._task import Task
from studio.upscalers._shelf import Shelf
from tests.engine.desk import Desk


@cache
def photograph(name: str) -> Image.Image:
    """One of those that come with scikit-image, as RGB.

    `astronaut` is 512 × 512: a woman in an orange suit, from the hips up, facing the camera;
    `coffee` 600 × 400: a cup on a table; `chelsea` 451 × 300: a cat's face; `rocket` 640 × 427.
    """
    from skimage import data

    return Image.fromarray(np.asarray(getattr(data, name)())).convert("RGB")


def make_desk(folder: Path) -> Desk:
    sent: list[tuple[dict[str, object], bytes]] = []
    control = Control()
    device = choose("cpu")
    runner = Runner(
        tasks=open_drawer("studio.tasks", Task),
        catalog=Catalog((folder,)),
        controls=Controls((folder,)),
        manager=Manager(device, CONFIGS, Hashes(None)),
        upscalers=Shelf((folder,)),
        networks=Networks(device, Hashes(None)),
        control=control,
        send=lambda header, blob=b"": sent.append((dict(header), blob)),
        versions={},
        maps=Maps(folder=folder / "maps"),
    )
    return Desk(runner=runner, control=control, sent=sent)


def ask(desk: Desk, task: str, **request: Any) -> dict[str, Any]:
    """Runs one job and returns its ending."""
    desk.sent.clear()
    desk.runner.run("job", task, request, desk.files)
    return desk.sent[-1][0]


def answer(desk: Desk) -> tuple[Image.Image, dict[str, Any]]:
    """The picture of the last job, and its facts."""
    frame, blob = next(found for found in desk.sent if found[0]["op"] == "picture")
    return Image.frombytes("RGB", (frame["width"], frame["height"]), blob), frame["facts"]


class Seen:
    """`tasks.Facts` over pictures in a dict, without weights of preprocessors."""

    def __init__(self, **pictures: Image.Image) -> None:
        self._pictures = pictures

    def size(self, ref: str) -> tuple[int, int]:
        return self._pictures[ref[0]].size

    def has_weights(self, preprocessor: Any) -> bool:
        return False


def ref(letter: str) -> str:
    """An ImageRef that `Seen` knows by its first letter, which is a hex digit."""
    return letter * 64
