"""The engine process: takes jobs as frames, and answers with what becomes of them.

The main thread owns the device and writes all frames. A second thread only reads, so that Stop is
heard in mid-step, and ends the process at once when the web process is gone.
"""

import logging
import os
import queue
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from studio.core.errors import InvalidRequest, StudioError
from studio.core.wire import read_frame, write_frame
from studio.engine.control import Control

if TYPE_CHECKING:
    from studio.engine.runner import Runner

log = logging.getLogger("pochade.engine")

_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DIFFUSERS_DISABLE_REMOTE_CODE": "1",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Read by the libraries when they are imported: no network, no code of strangers, no chatter."""

_GENTLE = {"OMP_WAIT_POLICY": "PASSIVE"}
"""torch's threads sleep rather than spin while they wait for each other. Beside any other busy
process, spinning ones take each other's turns: 15 times slower on two shared cores."""


def serve() -> None:
    """Runs until stdin ends or `stop` comes; does not return then but exits."""
    commands, events = _take_standard_streams()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    os.environ.update(_OFFLINE)
    for name, value in _GENTLE.items():
        os.environ.setdefault(name, value)
    control = Control()
    inbox: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(commands, control, inbox), daemon=True)
    reader.start()

    def send(header: Mapping[str, Any], blob: bytes = b"") -> None:
        try:
            write_frame(events, header, blob)
        except OSError:
            _leave(control)  # nobody is there to be told

    from studio.engine.start import start  # torch: seconds

    try:
        runner = start(inbox.get(), control, send)
    except StudioError as error:
        log.error("%s", error)  # noqa: TRY400 - the sentence says it all
        send({"op": "broken", "message": error.message, "hint": error.hint})
        os._exit(1)
    control.at_end = runner.manager.end
    while True:
        _run(runner, inbox.get(), control, send)


def _run(runner: "Runner", command: Mapping[str, Any], control: Control, send: Any) -> None:
    job = str(command.get("job", ""))
    if command.get("op") in {"unload", "pin"}:
        _grant(runner, command)
        return
    try:
        if command.get("op") != "run":
            raise InvalidRequest("The engine was asked something unknown.", "Start it again.")
        runner.run(
            job,
            str(command.get("task", "")),
            _object(command.get("request")),
            _object(command.get("files")),
        )
    except InvalidRequest as error:
        send({"op": "failed", "job": job, "message": error.message, "hint": error.hint})
    finally:
        control.ended(job)
    runner.account()


def _grant(runner: "Runner", wish: Mapping[str, Any]) -> None:
    """What is asked for between jobs."""
    if wish["op"] == "unload":
        runner.unload()
    else:
        runner.manager.pin(str(wish.get("checkpoint", "")), bool(wish.get("pinned")))
    runner.account(str(wish.get("wish", "")))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read(commands: IO[bytes], control: Control, inbox: "queue.SimpleQueue[Any]") -> None:
    try:
        while (frame := read_frame(commands)) is not None:
            header, _ = frame
            match header.get("op"):
                case "cancel":
                    control.cancel(str(header.get("job", "")))
                case "watch":
                    control.watched = bool(header.get("on"))
                case "stop":
                    break
                case "ahead":
                    control.ahead(str(header.get("checkpoint", "")))
                case "unload" | "pin":
                    inbox.put(header)
                case _:
                    control.expected(str(header.get("job", "")))
                    inbox.put(header)
    except (OSError, ValueError, EOFError):
        log.exception("the web process sent what is no frame")
    _leave(control)


def _leave(control: Control) -> NoReturn:
    """Python's own way out would wait for a step that may take minutes, with nobody to see it."""
    control.at_end()
    sys.stderr.flush()
    os._exit(0)


def _take_standard_streams() -> tuple[IO[bytes], IO[bytes]]:
    """The two frame streams; what anything else prints goes to stderr, what it reads is empty."""
    commands, events = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    sys.stdout = sys.stderr
    return commands, events


def folders(configuration: Mapping[str, Any], name: str = "folders") -> tuple[Path, ...]:
    """Where the configuration says that checkpoints lie, or what else `name` stands for."""
    return tuple(Path(str(folder)) for folder in configuration.get(name, ()))
