"""The tunnel that gives the studio an address on the internet (`--share`).

Gradio's own service and program are used. The program is checked against its known hash before
every start, not only after its download, so a file that was swapped on disk is never run.
"""

import hashlib
import secrets
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from studio.core.errors import Refused, Unavailable


@dataclass(frozen=True, slots=True)
class Tunnel:
    """An open tunnel; everything the server answers can be reached through it."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    def close(self) -> None:
        """Ends the tunnel; the address stops working at once. Closing twice is fine."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def watch(self, ended: Callable[[], None]) -> None:
        """Calls `ended` from another thread when the tunnel is gone, whoever ended it."""

        def wait() -> None:
            self.process.communicate()  # reads what it prints, or it would block once pipes are full
            ended()

        Thread(target=wait, name="tunnel", daemon=True).start()


def open_tunnel(port: int) -> Tunnel:
    """A tunnel to `port` of this machine. Takes up to a minute.

    The current folder must be writable: the service's certificate is put into it. Raises `Refused`
    when the program is not the one it should be, `Unavailable` when there is no tunnel to be had;
    then nothing is left running.
    """
    import httpx
    from gradio import networking, tunneling  # heavy, and only sharing needs it
    from gradio.exceptions import ChecksumMismatchError, ShareCertificateWriteError

    before = tuple(tunneling.CURRENT_TUNNELS)
    try:
        check(Path(tunneling.BINARY_PATH), tunneling.CHECKSUMS.get(tunneling.BINARY_URL))
        url = networking.setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except ChecksumMismatchError:
        raise _swapped() from None
    except (
        httpx.HTTPError,
        ShareCertificateWriteError,
        RuntimeError,
        ValueError,
        OSError,
    ) as error:
        for half_open in _taken(tunneling, before):
            half_open.close()
        raise Unavailable(
            "No share link could be made.",
            "Check the network connection; the studio goes on without it.",
        ) from error
    return Tunnel(url, _taken(tunneling, before)[0].process)


def _taken(tunneling: Any, before: tuple[Any, ...]) -> list[Tunnel]:
    """The processes that Gradio has started since, which it then no longer ends, or talks about."""
    taken: list[Tunnel] = []
    for opened in tunneling.CURRENT_TUNNELS:
        if opened not in before and opened.proc is not None:
            taken.append(Tunnel(opened.url or "", opened.proc))
            opened.proc = None
    return taken


def check(program: Path, expected: str | None) -> None:
    """Raises `Refused` when a tunnel program is there and is not the one that Gradio published."""
    if not program.exists():
        return
    if expected is None or hashlib.sha256(program.read_bytes()).hexdigest() != expected:
        raise _swapped()


def _swapped() -> Refused:
    return Refused(
        "The tunnel program on this machine is not the one that Gradio published.",
        "Delete the folder gradio/frpc in the Hugging Face cache and start again.",
    )
