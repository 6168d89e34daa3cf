"""What several rooms' tests share."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the other core is the other worker's

from tests.engine.tiny import save_tiny_sd

settings.register_profile("patient", deadline=None)  # how long it takes is for tests/bench to say
settings.load_profile("patient")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder that holds one: `tiny`, random weights, 64 px."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_tiny_sd(folder / "tiny")
    return folder


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file goes to one process, and so do all that need a browser: one of them and one studio keep a
    core busy, two make both processes wait."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class InTheirRooms(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "e2e" if "/e2e/" in nodeid else super()._split_scope(nodeid)

    return InTheirRooms(config, log)
