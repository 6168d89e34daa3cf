"""A real engine process, spoken to over real pipes."""

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.core.wire import read_frame, write_frame
from studio.engine.device import choose
from studio.paths import ROOT
from tests.engine.desk import REQUEST

pytestmark = pytest.mark.slow  # tests/jobs speaks to the same process, through its worker

Frame = tuple[dict[str, Any], bytes]

DENIED = """
import socket, sys
def refuse(*_, **__):
    print("NETWORK", file=sys.stderr, flush=True)
    raise OSError("no network in this test")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from studio.engine.process import serve
serve()
"""
"""An engine whose every look at the network is refused and told."""


class Engine:
    def __init__(self, shelf: Path, log: Path, cache: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DENIED],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            cwd=ROOT,
        )
        self.log = log
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.send(
            {"op": "configure", "folders": [str(shelf)], "device": "cpu", "cache": str(cache)}
        )

    def send(self, header: dict[str, Any]) -> None:
        write_frame(self.process.stdin, header)  # type: ignore[arg-type]

    def run(self, job: str, **changes: Any) -> None:
        request = {**REQUEST, **changes}
        self.send({"op": "run", "job": job, "task": "txt2img", "request": request})

    def next(self, timeout: float = 60) -> Frame | None:
        return self._frames.get(timeout=timeout)

    def until(self, *ops: str) -> list[Frame]:
        """Frames up to the first of these kinds."""
        found: list[Frame] = []
        while True:
            frame = self.next()
            assert frame is not None, self.log.read_text()[-3000:]
            found.append(frame)
            if frame[0]["op"] in ops:
                return found

    def ending(self) -> dict[str, Any]:
        return self.until("done", "failed", "cancelled")[-1][0]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _listen(self) -> None:
        try:
            while frame := read_frame(self.process.stdout):  # type: ignore[arg-type]
                self._frames.put(frame)
        except EOFError:
            pass
        self._frames.put(None)


def start(shelf: Path, folder: Path) -> Engine:
    return Engine(shelf, folder / "log.txt", folder / "cache")


@pytest.fixture(scope="module")
def engine(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    started = start(shelf, tmp_path_factory.mktemp("engine"))
    [(ready, _)] = started.until("ready")
    assert ready["device"] == "cpu" and ready["dtype"] == choose("cpu").machine.dtype
    assert set(ready["versions"]) == {"torch", "diffusers", "transformers", "pochade"}
    yield started
    started.close()


def test_a_job_over_the_wire(engine: Engine) -> None:
    engine.run("one", count=2)
    # what the memory holds is said beside
    frames = [frame for frame in engine.until("done") if frame[0]["op"] != "account"]
    ops = [header["op"] for header, _ in frames]
    # the default checkpoint was read before `ready`
    assert ops == [*["progress"] * 3, "picture"] * 2 + ["done"]
    header, pixels = frames[3]
    assert len(pixels) == header["width"] * header["height"] * 3
    assert {header["job"] for header, _ in frames} == {"one"}
    assert (engine.log.parent / "cache" / "hashes.json").is_file()


def test_stop_is_heard_in_mid_picture(engine: Engine) -> None:
    engine.run("long", steps=150)
    engine.until("progress")
    engine.send({"op": "cancel", "job": "long"})
    frames = engine.until("done", "cancelled")
    assert frames[-1][0] == {"op": "cancelled", "job": "long"}
    assert len(frames) < 100
    engine.run("next")
    assert engine.ending() == {"op": "done", "job": "next", "seconds": pytest.approx(0, abs=30)}


def test_previews_follow_watch(engine: Engine) -> None:
    engine.send({"op": "watch", "on": True})
    engine.run("watched", steps=10)
    frames = engine.until("done")
    assert any(h["op"] == "preview" and blob[:2] == b"\xff\xd8" for h, blob in frames)
    engine.send({"op": "watch", "on": False})
    engine.run("alone", steps=10)
    assert "preview" not in {header["op"] for header, _ in engine.until("done")}


GARBAGE: list[dict[str, Any]] = [
    {"op": "run", "job": "x"},
    {"op": "run", "job": "x", "task": "txt2img", "request": "fox"},
    {"op": "run", "job": "x", "task": "txt2img", "request": {"prompt": "unresolved"}},
    {"op": "run", "job": "x", "task": 7, "request": {}},
    {"op": "run", "job": "x", "task": "txt2img", "request": {**REQUEST, "steps": 1e99}},
    {"op": "dance", "job": "x"},
    {"job": "x"},
]


@pytest.mark.parametrize("command", GARBAGE, ids=str)
def test_garbage_is_answered_and_survived(engine: Engine, command: dict[str, Any]) -> None:
    engine.send(command)
    ending = engine.ending()
    assert ending["op"] == "failed" and ending["job"] == "x"
    assert ending["message"].endswith(".") and "Traceback" not in ending["message"]
    engine.run("after")
    assert engine.ending()["op"] == "done"


def test_nothing_looked_at_the_network(engine: Engine) -> None:
    """S05, over everything that the tests before this one did."""
    engine.run("last", checkpoint="xl")
    assert engine.ending()["op"] == "done"
    assert "NETWORK" not in engine.log.read_text()


def test_the_process_ends_at_once_without_its_parent(engine: Engine) -> None:
    """In the middle of a job, which would go on for minutes. The end of the tests' own engine."""
    engine.run("long", steps=150, count=32)
    engine.until("progress")
    assert engine.process.stdin is not None
    engine.process.stdin.close()
    assert engine.process.wait(10) == 0


@pytest.mark.parametrize("how", ["stop", "garbage"])
def test_the_process_ends_at_once_when_told_to(shelf: Path, tmp_path: Path, how: str) -> None:
    engine = start(shelf, tmp_path)
    try:
        if how == "stop":  # while torch is still being imported
            engine.send({"op": "stop"})
        else:
            engine.until("ready")
            engine.run("long", steps=150, count=32)
            engine.until("progress")
            assert engine.process.stdin is not None
            engine.process.stdin.write(b"\xff" * 64)
            engine.process.stdin.flush()
        assert engine.process.wait(10) == 0
    finally:
        engine.close()


def test_a_device_that_is_not_there_ends_the_process_with_a_reason(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    process = subprocess.Popen(
        [sys.executable, "-m", "studio.engine"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log.open("wb"),
        cwd=ROOT,
    )
    assert process.stdin
    write_frame(process.stdin, {"op": "configure", "device": "abacus"})
    assert process.wait(60) != 0
    assert "There is no device 'abacus' here." in log.read_text()
