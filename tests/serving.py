"""Starts the real studio as a process of its own and talks to it as a client would."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """`python -m studio.cli serve` on a free port; `with Server(...) as server` ends it again."""

    data_dir: Path
    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[str]" = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data_dir.with_name(self.data_dir.name + ".log")

    def start(self, seconds: float = 60.0) -> Self:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "studio.cli",
                    "serve",
                    "--no-open",
                    "--port",
                    str(self.port),
                    "--data-dir",
                    str(self.data_dir),
                    *self.flags,
                ],
                cwd=ROOT,
                env={**os.environ, **self.env},
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {self.log.read_text()[-2000:]}")
            with suppress(httpx.HTTPError):
                httpx.get(f"{self.url}/api/health", timeout=2)
                return self
            time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"the server did not start: {self.log.read_text()[-2000:]}")

    def stop(self, seconds: float = 15.0) -> int:
        """Ends it as a terminal or an init system would; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, **options)


def job_of(client: httpx.Client, job_id: str) -> dict[str, Any]:
    answer = client.get(f"/api/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def until_over(
    client: httpx.Client, job_id: str, seconds: float = 120.0, every_s: float = 0.05
) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while (job := job_of(client, job_id))["state"] in {"queued", "running"}:
        assert time.monotonic() < end, f"still {job['state']}"
        time.sleep(every_s)
    return job


def until_painting(client: httpx.Client, job_id: str, seconds: float = 60.0) -> None:
    """Waits until the job's first step is in its feed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for job in client.get("/api/live").json()["jobs"]:
            if job["id"] == job_id and job["progress"]:
                return
        time.sleep(0.02)
    raise AssertionError("the job never began")
