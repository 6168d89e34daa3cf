"""Two ways to the same studio for the command line: in this process, or the one that runs already.

Both speak in the JSON of the API, so a command cannot tell them apart.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import Any, Protocol
from urllib.parse import quote

from studio.core.errors import Busy, StudioError, Unavailable
from studio.datadir import Server
from studio.service.studio import Studio
from studio.service.views import record_json

OWNER = "local"
HEADER = "X-Pochade-Local"
TIMEOUT_S = 30.0
TRIES = 30
"""How often a question is asked again that came too soon, a second apart."""


class Door(Protocol):
    """What a command needs of a studio. Every method raises `StudioError`."""

    def submit(self, task: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Queues a job; its JSON."""
        ...

    def add_input(self, data: bytes) -> str:
        """Stores a picture; its ref."""
        ...

    def job(self, job_id: str) -> dict[str, Any]: ...

    def cancel(self, job_id: str) -> None: ...

    def live(self) -> dict[str, Any]:
        """Active jobs with their progress."""
        ...

    def record(self, image_id: str) -> dict[str, Any]: ...

    def picture(self, image_id: str) -> tuple[str, bytes]:
        """The file's own name and its bytes as they were saved."""
        ...


class Inside:
    """A studio composed in this process."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def submit(self, task: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        return self._studio.job_json(self._studio.submit(OWNER, task, fields))

    def add_input(self, data: bytes) -> str:
        return self._studio.add_input(OWNER, data)

    def job(self, job_id: str) -> dict[str, Any]:
        return self._studio.job_json(self._studio.job(OWNER, job_id))

    def cancel(self, job_id: str) -> None:
        self._studio.cancel(OWNER, job_id)

    def live(self) -> dict[str, Any]:
        return self._studio.live(OWNER)

    def record(self, image_id: str) -> dict[str, Any]:
        return record_json(self._studio.record(OWNER, image_id))

    def picture(self, image_id: str) -> tuple[str, bytes]:
        file = self._studio.file(OWNER, image_id)
        return file.name, file.read_bytes()


class Answered(StudioError):
    """What the running server answered instead of a result."""


class Beside:
    """The server that runs on the same data folder, asked over its API as the local owner."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # no proxy: the server is on this machine, whatever the environment says about the rest
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def submit(self, task: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        created = self._json("POST", "/api/jobs", {"task": task, **fields})
        return self.job(str(created["id"]))

    def add_input(self, data: bytes) -> str:
        _, answer = self._send("POST", "/api/inputs", data, "application/octet-stream")
        return str(json.loads(answer)["ref"])

    def job(self, job_id: str) -> dict[str, Any]:
        return self._json("GET", f"/api/jobs/{quote(job_id)}")

    def cancel(self, job_id: str) -> None:
        self._send("DELETE", f"/api/jobs/{quote(job_id)}")

    def live(self) -> dict[str, Any]:
        return self._json("GET", "/api/live")

    def record(self, image_id: str) -> dict[str, Any]:
        return self._json("GET", f"/api/images/{quote(image_id)}")

    def picture(self, image_id: str) -> tuple[str, bytes]:
        headers, data = self._send("GET", f"/api/images/{quote(image_id)}/file")
        # a name is a name: whatever the answer says, it does not choose a folder
        name = (headers.get_filename() or "").replace("\\", "/").rpartition("/")[2]
        return name if name.endswith(".png") else f"{image_id}.png", data

    def _json(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        return json.loads(self._send(method, path, data)[1])

    def _send(
        self, method: str, path: str, data: bytes | None = None, kind: str = "application/json"
    ) -> tuple[Message, bytes]:
        request = urllib.request.Request(
            self._server.url + path,
            method=method,
            data=data,
            headers={HEADER: self._server.token, "Content-Type": kind},
        )
        for patience in reversed(range(TRIES)):
            try:
                with self._open(request, timeout=TIMEOUT_S) as answer:
                    return answer.headers, answer.read()
            except urllib.error.HTTPError as error:
                # too many questions at once: a look can wait, a new job is for the person to decide
                if method != "GET" or error.code != Busy.status or not patience:
                    raise _told(error) from None
                time.sleep(1.0)
            except (OSError, ValueError) as error:
                raise Unavailable(
                    "The studio that uses this data folder does not answer.",
                    f"Stop process {self._server.pid} or choose another folder with --data-dir.",
                ) from error
        raise AssertionError("the last try answers or raises")


def _told(answer: urllib.error.HTTPError) -> StudioError:
    """The server's own sentence and hint."""
    try:
        error = json.loads(answer.read())["error"]
        found = Answered(str(error["message"]), str(error["hint"]), field=error.get("field"))
    except (OSError, ValueError, KeyError, TypeError):
        found = Answered(
            f"The running studio answered with status {answer.code}.",
            "Its own log says more.",
        )
    found.status = answer.code
    return found
