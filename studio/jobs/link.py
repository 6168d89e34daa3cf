"""The link to an engine process: frames in, frames out, and what happens when it dies."""

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

from studio.core.wire import read_frame, write_frame


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A message of the engine: its header, and bytes that are not JSON."""

    header: Mapping[str, Any]
    blob: bytes = b""

    @property
    def op(self) -> str:
        return str(self.header.get("op", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class Died:
    """The engine process ended; always the last thing a link receives."""

    reason: str
    advice: str
    """Half a sentence: what to do so that it does not happen again."""


class EngineProcess:
    """One engine process, from its start to its end. It is never restarted: make a new one."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        """Starts the process, which loads torch and answers `ready` in its own time."""
        self._received: queue.SimpleQueue[Frame | Died] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._killed_for = ""
        # A session of its own: Ctrl+C in the terminal is for the studio, which then ends the engine.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "studio.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, name="engine-link", daemon=True).start()
        self.send({"op": "configure", **configuration})

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, header: Mapping[str, Any]) -> None:
        """Sends a command; a dead engine is told by `receive`, not here."""
        try:
            with self._sending:
                write_frame(cast(IO[bytes], self._process.stdin), header)
        except (OSError, ValueError):
            pass

    def receive(self, timeout: float) -> Frame | Died | None:
        """The next message, or None after `timeout` seconds without one."""
        try:
            return self._received.get(timeout=timeout)
        except queue.Empty:
            return None

    def end(self, grace_s: float = 3.0) -> None:
        """Asks the process to stop, and kills it if it has not after `grace_s` seconds."""
        self.send({"op": "stop"})
        try:
            with self._sending:
                cast(IO[bytes], self._process.stdin).close()
        except OSError:
            pass
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self, reason: str) -> None:
        """Ends a process that no longer answers; `reason` is what it then died of."""
        self._killed_for = self._killed_for or reason
        self._process.kill()

    def _listen(self) -> None:
        stream = cast(IO[bytes], self._process.stdout)
        try:
            while (frame := read_frame(stream)) is not None:
                self._received.put(Frame(header=frame[0], blob=frame[1]))
        except (OSError, ValueError, EOFError):
            pass
        code = self._process.wait()
        self._received.put(Died(reason=self._killed_for or _reason(code), advice=_advice(code)))


def _reason(code: int) -> str:
    if code == 0:
        return "it ended by itself"
    if code in (-9, 137):
        return "it was killed; the memory of this machine may have run out"
    if code == _CUT_OFF:
        return "a model file was cut off while it was used"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _advice(code: int) -> str:
    if code == _CUT_OFF:
        return "copy the file again, and wait until that is done"
    return "a smaller size needs less memory"


_CUT_OFF = -getattr(signal, "SIGBUS", 0) or None
"""How a process ends that looks at a part of a file which is no longer there."""
