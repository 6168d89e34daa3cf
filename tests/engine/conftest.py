"""Checkpoints and an engine in this process, made once."""

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controls import Controls
from studio.checkpoints.extras import extras_in
from studio.checkpoints.hashes import Hashes
from studio.checkpoints.imageprompts import ImagePrompts
from studio.discovery import open_drawer
from studio.engine.control import Control
from studio.engine.device import Device, choose
from studio.engine.manager import Manager
from studio.engine.runner import Runner
from studio.engine.start import VERSIONS, quieten
from studio.engine.upscaling import Networks
from studio.paths import CONFIGS
from studio.tasks._task import Task
from studio.upscalers._shelf import Shelf
from tests.engine.desk import Desk
from tests.engine.tiny import (
    save_tiny_control,
    save_tiny_sd,
    save_tiny_sd2,
    save_tiny_sdxl,
    save_tiny_union,
)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints `sd`, `sd2` (other weights), `v` (as the built-in one), `two` (2.x) and `xl`,
    and the inpainting ones `sd9` and `xl9`."""
    quieten()
    folder = tmp_path_factory.mktemp("shelf")
    save_tiny_sd(folder / "sd")
    save_tiny_sd(folder / "sd2", seed=1)
    save_tiny_sd(folder / "v", tiny_vae=True, prediction="v_prediction")
    save_tiny_sd2(folder / "two")
    save_tiny_sdxl(folder / "xl")
    save_tiny_control(folder / "controlnet" / "tiny-canny", folder / "sd")
    save_tiny_control(folder / "controlnet" / "tiny-depth", folder / "sd", seed=1)
    save_tiny_control(folder / "controlnet" / "xl-pose", folder / "xl")
    save_tiny_union(folder / "controlnet" / "xl-union.safetensors", folder / "xl")
    save_tiny_sd(folder / "sd9", channels=9)
    save_tiny_sdxl(folder / "xl9", channels=9)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _settled() -> None:
    """An engine that gives memory back looks through all objects there are, here those of the tests
    before too, unless they are taken out of its sight."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def device() -> Device:
    """The processor, or what STUDIO_TEST_DEVICE says: `cuda` shows tensors that were left behind."""
    found = choose(os.environ.get("STUDIO_TEST_DEVICE", "cpu"))
    # Networks this small only lose time by sharing it between threads.
    torch.set_num_threads(1)
    return found


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`a` and `b` have the same autoencoder and text encoder, and other denoisers."""
    folder = tmp_path_factory.mktemp("twins")
    save_tiny_sd(folder / "a")
    save_tiny_sd(folder / "b", seed=1)
    for part in ("vae", "text_encoder"):
        shutil.rmtree(folder / "b" / part)
        shutil.copytree(folder / "a" / part, folder / "b" / part)
    return folder


@pytest.fixture
def manager(device: Device) -> Manager:
    return Manager(device, CONFIGS, Hashes(None))


@pytest.fixture(scope="session")
def make_desk(device: Device) -> Callable[..., Desk]:
    """Makes an engine over a folder of checkpoints, without a process around it. What is in a folder
    is read once: a catalog notices by itself what is new there."""
    catalogs: dict[Path, Catalog] = {}

    def make(shelf: Path, configs: Path = CONFIGS) -> Desk:
        sent: list[tuple[dict[str, object], bytes]] = []
        control = Control()
        runner = Runner(
            tasks=open_drawer("studio.tasks", Task),
            catalog=catalogs.setdefault(
                shelf, Catalog((shelf,), beside=(shelf / "text_encoders", shelf / "vae"))
            ),
            controls=Controls((shelf / "controlnet",)),
            image_prompts=ImagePrompts((shelf / "ipadapter",)),
            manager=Manager(device, configs, Hashes(None)),
            upscalers=Shelf(),
            networks=Networks(device, Hashes(None)),
            control=control,
            send=lambda header, blob=b"": sent.append((dict(header), blob)),
            versions=VERSIONS,
            extras=extras_in(lambda kind: (shelf / kind.value,)),
        )
        return Desk(runner=runner, control=control, sent=sent)

    return make


@pytest.fixture
def desk(make_desk: Callable[..., Desk], shelf: Path) -> Desk:
    return make_desk(shelf)
