"""Gets an engine process ready: libraries, device, the default checkpoint, one picture nobody sees."""

import gc
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from studio import __version__
from studio.checkpoints.beside import beside_in
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.controls import Controls
from studio.checkpoints.extras import extras_in
from studio.checkpoints.hashes import Hashes
from studio.checkpoints.imageprompts import ImagePrompts
from studio.core.errors import StudioError
from studio.core.layouts import Kind
from studio.costs.history import Painted, measured
from studio.costs.learned import Learned
from studio.discovery import open_drawer
from studio.engine.control import Control
from studio.engine.device import Device, choose, keep_freed
from studio.engine.manager import Manager
from studio.engine.maps import Maps
from studio.engine.painter import LatentPainter
from studio.engine.process import folders
from studio.engine.runner import Runner, Send
from studio.engine.upscaling import Networks
from studio.families._family import Role
from studio.paths import CONFIGS
from studio.preprocessors._weights import Places
from studio.tasks._task import Brush, Task
from studio.upscalers._shelf import Shelf

log = logging.getLogger("pochade.engine")

VERSIONS = {
    "torch": torch.__version__,
    "diffusers": diffusers.__version__,
    "transformers": transformers.__version__,
    "pochade": __version__,
}


def start(configuration: Mapping[str, Any], control: Control, send: Send) -> Runner:
    """A runner that is warm, and has said so with a `ready` frame.

    Raises `StudioError` if the device asked for is not there.
    """
    quieten()
    keep_freed()
    gc.freeze()  # what libraries brought stays: 0.2 s less whenever memory is given back
    device = choose(
        str(configuration.get("device", "auto")),
        str(configuration.get("dtype", "auto")),
        int(configuration.get("ram_budget", 0)),
        int(configuration.get("vram_budget", 0)),
    )
    builtin, cache = configuration.get("builtin"), configuration.get("cache")
    hashes = Hashes(Path(str(cache)) if cache else None)

    def below(kind: Kind) -> tuple[Path, ...]:
        return folders(configuration, f"{kind.value}_folders")

    runner = Runner(
        tasks=open_drawer("studio.tasks", Task),
        catalog=Catalog(
            folders(configuration),
            builtin=Path(str(builtin)) if builtin else None,
            beside=beside_in(below),
        ),
        controls=Controls(folders(configuration, "control_folders")),
        manager=Manager(
            device,
            CONFIGS,
            hashes,
            Path(str(cache)) if cache else None,
            configuration.get("converted_space"),
        ),
        upscalers=Shelf(folders(configuration, "upscaler_folders")),
        networks=Networks(device, hashes),
        extras=extras_in(below),
        control=control,
        send=send,
        versions=VERSIONS,
        image_prompts=ImagePrompts(folders(configuration, "image_prompt_folders")),
        maps=Maps(_places(configuration), Path(str(cache)) / "maps" if cache else None),
        learned=Learned(_painted(configuration)),
    )
    for checkpoint in configuration.get("pins", ()):
        runner.manager.pin(str(checkpoint))
    _warm_up(runner, device)
    control.ahead = partial(_read_ahead, runner)
    send(
        {
            "op": "ready",
            "device": device.name,
            "dtype": device.machine.dtype,
            "versions": VERSIONS,
        }
    )
    runner.account()
    return runner


def _painted(configuration: Mapping[str, Any]) -> Iterator[Painted]:
    """What jobs took before this process."""
    for row in configuration.get("painted", ()):
        with suppress(ValueError):
            if isinstance(found := measured(row), Painted):
                yield found


def _places(configuration: Mapping[str, Any]) -> Places:
    hub = configuration.get("hub")
    return Places(
        folders=folders(configuration, "annotator_folders"),
        hub=Path(str(hub)) if hub else None,
    )


def quieten() -> None:
    """Takes the progress bars and advice of the libraries out of the log."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def _read_ahead(runner: Runner, checkpoint_id: str) -> None:
    with suppress(StudioError):  # who asks for it is told
        runner.manager.prefetch(runner.catalog.get(checkpoint_id))


class _Nobody:
    """An easel that nobody looks at."""

    watched = False

    def check(self) -> None:
        pass

    def progress(self, **_: Any) -> None:
        pass

    def preview(self, picture: int, jpeg: bytes) -> None:
        pass


def _warm_up(runner: Runner, device: Device) -> None:
    """Reads the default checkpoint and paints one step, so that the first person does not wait for
    what libraries put off until they are used. Failing at it only costs that."""
    try:
        checkpoint = runner.catalog.get(None)
        with runner.manager.use(checkpoint, Role.TEXT) as lease:
            brush = Brush(
                prompt="warm",
                negative_prompt="",
                width=checkpoint.native_px,
                height=checkpoint.native_px,
                steps=1,
                guidance=checkpoint.defaults.guidance,
                sampler=checkpoint.defaults.sampler,
                seed=0,
            )
            LatentPainter(lease, device, _Nobody(), VERSIONS).paint(brush, index=0, pictures=1)
    except StudioError as error:
        log.warning("no warm-up: %s", error)
    except Exception:
        log.exception("the warm-up failed; the engine goes on")
