"""Runs jobs in this process and keeps what the engine said."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from studio.engine.control import Control
from studio.engine.runner import Runner
from studio.families._family import Role

REQUEST: dict[str, Any] = {
    "prompt": "a fox",
    "checkpoint": "sd",
    "width": 64,
    "height": 64,
    "steps": 3,
    "guidance": 5.0,
    "sampler": "euler",
    "seed": 7,
}
"""A resolved request; tests change what they are about."""


@dataclass(frozen=True, slots=True)
class Desk:
    runner: Runner
    control: Control
    sent: list[tuple[dict[str, Any], bytes]]
    files: dict[str, str] = field(default_factory=dict)
    """Where the pictures lie that requests name, by ref."""

    def put(self, image: Image.Image, folder: Path) -> str:
        """Stores a picture as an upload and returns its ref."""
        ref = hashlib.sha256(image.tobytes() + repr(image.size).encode()).hexdigest()
        file = folder / f"{ref}.png"
        image.save(file)
        self.files[ref] = str(file)
        return ref

    def run(self, job: str = "job", task: str = "txt2img", **changes: Any) -> dict[str, Any]:
        """Runs one job and returns its ending; what was said before is forgotten."""
        self.sent.clear()
        self.control.expected(job)
        self.runner.run(job, task, {**REQUEST, **changes}, self.files)
        self.control.ended(job)
        endings = [
            frame for frame, _ in self.sent if frame["op"] in {"done", "failed", "cancelled"}
        ]
        assert len(endings) == 1 and self.sent[-1][0] is endings[0]
        return endings[0]

    def paint(self, **changes: Any) -> list[bytes]:
        """Pixels of a job that must succeed."""
        ending = self.run(**changes)
        assert ending["op"] == "done", ending
        return [blob for frame, blob in self.sent if frame["op"] == "picture"]

    def pictures(self, task: str, **changes: Any) -> list[Image.Image]:
        """What a job that must succeed painted."""
        blobs = self.paint(task=task, **changes)
        return [
            Image.frombytes(
                "RGBA" if frame["alpha"] else "RGB", (frame["width"], frame["height"]), blob
            )
            for frame, blob in zip(self.frames("picture"), blobs, strict=True)
        ]

    def networks(self, checkpoint: str = "sd") -> dict[str, Any]:
        """Those of a checkpoint, by what pipelines call them."""
        import torch

        with self.runner.manager.use(self.runner.catalog.get(checkpoint), Role.TEXT) as lease:
            found = lease.weights.components.items()
        return {part: module for part, module in found if isinstance(module, torch.nn.Module)}

    def held(self) -> dict[str, bytes]:
        """The bytes of all weights in memory, by key."""
        return {
            entry.key: entry.blob.slab.bytes.numpy().tobytes()
            for entry in self.runner.manager._store.rows()
            if entry.blob.slab is not None
        }

    @property
    def leases(self) -> int:
        """How often something is on loan."""
        return sum(holding.leases for holding in self.runner.manager.ledger().holdings)

    def frames(self, op: str) -> list[dict[str, Any]]:
        return [frame for frame, _ in self.sent if frame["op"] == op]
