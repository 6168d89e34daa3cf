"""A real studio behind the real server, with its engine left off: what the web side is tested on."""

import io
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from studio.api.access import Access, make_access
from studio.api.guard import Guard
from studio.api.server import Mount, WebServer, build
from studio.app import App
from studio.core.records import ImageRecord, Picture, new_id
from studio.paths import ROOT
from studio.service.studio import Studio

WANT = {"task": "txt2img", "prompt": "a red fox", "checkpoint": "tiny", "width": 64, "height": 64}
USERS = {"ada": "ada's password", "ben": "ben's password"}


@dataclass
class House:
    """One server of one studio."""

    app: App
    guard: Guard
    url: str

    @property
    def studio(self) -> Studio:
        return self.app.studio

    @property
    def access(self) -> Access:
        return self.guard.access

    def client(self, **options: Any) -> httpx.Client:
        # without certificates to load, a client is made in no time
        return httpx.Client(base_url=self.url, timeout=20, verify=False, **options)

    def raw(self) -> socket.socket:
        """A connection for requests that no client library would send."""
        return socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2])), timeout=20)

    def picture(self, owner: str, prompt: str = "a red fox", seed: int = 7) -> ImageRecord:
        """A picture in the gallery as the worker would have saved it."""
        job = self.studio.submit(owner, "txt2img", {k: WANT[k] for k in WANT if k != "task"})
        self.studio.cancel(owner, job.id)
        request = {**job.request, "prompt": prompt, "seed": seed}
        pixels = Picture(index=0, seed=seed, width=64, height=64, pixels=bytes([seed]) * 12288)
        return self.app.gallery.add(owner, job.id, "txt2img", request, pixels, prompt)


@contextmanager
def open_house(
    app: App, data_dir: Path, *, mount: Mount | None = None, **access: Any
) -> Iterator[House]:
    """Serves `app` on a free port. `access` goes to `make_access`."""
    guard = build(app.studio, make_access(data_dir=data_dir, **access), mount)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    running = WebServer(guard)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not running.started:
        assert thread.is_alive() and time.monotonic() < until
        time.sleep(0.005)
    try:
        yield House(app, guard, f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        running.should_exit = True
        thread.join(10)
        listening.close()


def png(size: tuple[int, int] = (8, 8), colour: str = "teal") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def unknown() -> str:
    return new_id()


def complaint(answer: httpx.Response, status: int) -> Mapping[str, Any]:
    """The error of an answer, after checking that it is one in the studio's shape."""
    assert answer.status_code == status, (answer.status_code, answer.text[:300])
    error = answer.json()["error"]
    assert set(error) == {"message", "hint", "field"}
    assert error["message"].endswith(".") and error["hint"].endswith(".")
    assert "Traceback" not in answer.text and str(ROOT) not in answer.text
    return error


def answer_of(connection: socket.socket) -> bytes:
    """Everything until the server closes or is silent."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
            if b"\r\n\r\n" in part:
                connection.settimeout(0.3)
    except (TimeoutError, ConnectionResetError):
        pass
    return b"".join(parts)
