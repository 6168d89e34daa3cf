"""A real server on this machine that serves files as the internet does, with its faults."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@dataclass
class Web:
    """What it serves, and how badly. Paths have no leading slash."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Hugging Face repositories: bytes by file name."""
    ranges: bool = True
    etags: bool = True
    cut_after: int | None = None
    """Each answer breaks off after so many bytes of its body."""
    stall_after: int | None = None
    """The first answers stop there and say nothing more for a while."""
    stalls: int = 1
    """How many answers do."""
    stall_s: float = 1.0
    drips: int = 0
    """Each answer breaks off after so many bytes, which come one at a time."""
    endless_head: bool = False
    """Each answer has a header that goes on for ever, byte by byte."""
    announce: int = 0
    """Bytes that are announced beyond what there is."""
    silent_size: bool = False
    answers: list[tuple[str, str]] = field(default_factory=list)
    """(path, Range) of every question."""
    url: str = ""


@contextmanager
def serving(web: Web) -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionResetError):  # the client has heard enough
                super().handle()

        def do_GET(self) -> None:
            try:
                answer(self, web)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(to: BaseHTTPRequestHandler, web: Web) -> None:
    path = unquote(to.path.partition("?")[0].lstrip("/"))
    web.answers.append((path, to.headers.get("Range", "")))
    if web.endless_head:
        to.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            to.wfile.write(b"a")
            time.sleep(0.02)
    if path in web.redirects:
        head(to, 302, {"Location": web.redirects[path], "Content-Length": "0"})
        return
    if path.startswith("api/models/"):
        repo = path.removeprefix("api/models/").partition("/revision/")[0]
        if repo not in web.repos:
            missing = {"X-Error-Code": "RepoNotFound", "Content-Length": "0"}
            head(to, 404, missing)
            return
        body = json.dumps(told(repo, web.repos[repo])).encode()
        head(to, 200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        to.wfile.write(body)
        return
    data = web.files.get(path)
    for repo, files in web.repos.items():
        start = f"{repo}/resolve/abc/"
        if path.startswith(start):
            data = files.get(path.removeprefix(start))
    if data is None:
        head(to, 404, {"Content-Length": "0"})
        return
    send(to, web, data)


def send(to: BaseHTTPRequestHandler, web: Web, data: bytes) -> None:
    begin, tag = 0, f'"{hashlib.md5(data).hexdigest()}"'
    headers = {"Content-Type": "application/octet-stream"}
    if web.etags:
        headers["ETag"] = tag
    wanted = to.headers.get("Range", "")
    fits = to.headers.get("If-Range", tag) == tag
    if web.ranges and wanted and fits:
        begin = int(wanted.removeprefix("bytes=").partition("-")[0])
        headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
    if web.silent_size:
        headers["Connection"] = "close"
    else:
        headers["Content-Length"] = str(len(data) - begin + web.announce)
    head(to, 206 if begin or "Content-Range" in headers else 200, headers)
    body = data[begin:]
    if web.stall_after is not None:
        to.wfile.write(body[: web.stall_after])
        to.wfile.flush()
        web.stalls -= 1
        if not web.stalls:
            web.stall_after = None
        time.sleep(web.stall_s)
        to.close_connection = True
        return
    if web.drips:
        for byte in body[: web.drips]:
            to.wfile.write(bytes([byte]))
            time.sleep(0.002)
        to.close_connection = True
        return
    if web.cut_after is not None:
        to.wfile.write(body[: web.cut_after])
        to.close_connection = True
        return
    to.wfile.write(body)
    to.close_connection = bool(web.announce) or web.silent_size


def head(to: BaseHTTPRequestHandler, code: int, headers: dict[str, str]) -> None:
    to.send_response(code)
    for name, value in headers.items():
        to.send_header(name, value)
    to.end_headers()


def told(repo: str, files: dict[str, bytes]) -> dict:
    """What the hub's API says of a repository."""
    siblings = []
    for name, data in files.items():
        entry: dict = {"rfilename": name, "size": len(data), "blobId": "0"}
        if name.endswith(".safetensors"):
            digest = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 1}
        siblings.append(entry)
    return {
        "_id": "0",
        "id": repo,
        "modelId": repo,
        "sha": "abc",
        "private": False,
        "gated": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "cardData": {"license": "apache-2.0"},
        "siblings": siblings,
    }
