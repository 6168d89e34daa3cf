"""An engine in this process over a folder of checkpoints, for measurements."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controls import Controls
from studio.checkpoints.hashes import Hashes
from studio.discovery import open_drawer
from studio.engine.control import Control
from studio.engine.device import choose
from studio.engine.manager import Manager
from studio.engine.runner import Runner
from studio.engine.start import VERSIONS
from studio.engine.upscaling import Networks
from studio.paths import CONFIGS
from studio.tasks._task import Task
from studio.upscalers._shelf import Shelf


class Engine:
    """Runs jobs of text to image, and keeps when steps were told and what was painted."""

    def __init__(
        self, catalog: Catalog, cache: Path | None = None, device: str = "cpu", dtype: str = "auto"
    ) -> None:
        chosen = choose(device, dtype)
        self.control = Control()
        self.steps: list[float] = []
        self.pictures: list[bytes] = []
        self.previews = 0
        self.runner = Runner(
            tasks=open_drawer("studio.tasks", Task),
            catalog=catalog,
            controls=Controls(()),
            manager=Manager(chosen, CONFIGS, Hashes(cache), cache),
            upscalers=Shelf(),
            networks=Networks(chosen, Hashes(None)),
            control=self.control,
            send=self._hears,
            versions=VERSIONS,
        )

    def _hears(self, header: Mapping[str, Any], blob: bytes = b"") -> None:
        if header["op"] == "failed":
            raise RuntimeError(header["message"])
        if header["op"] == "progress":
            self.steps.append(time.perf_counter())
        if header["op"] == "picture":
            self.pictures.append(blob)
        self.previews += header["op"] == "preview"

    def seconds(self, request: Mapping[str, Any]) -> float:
        """Of one resolved job."""
        self.steps.clear()
        self.pictures.clear()
        self.control.expected("job")
        began = time.perf_counter()
        self.runner.run("job", "txt2img", request, {})
        taken = time.perf_counter() - began
        self.control.ended("job")
        return taken
