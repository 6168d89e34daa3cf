"""`serve`: the studio in the browser, and for scripts over its API.

The server is up before the engine is started, so that torch never delays the page.
"""

import errno
import gc
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from studio import __version__
from studio.api.access import Access, make_access
from studio.app import App, compose
from studio.commands.exit_codes import OK
from studio.core.errors import InvalidRequest, StorageFailed, StudioError
from studio.core.hosts import is_loopback
from studio.datadir import announce, claim, new_token
from studio.service.studio import Studio
from studio.settings import Settings, has_screen, load, prepare_environment
from studio.share import open_tunnel

PORTS = 100
"""How many ports after the wanted one are tried."""
LAST_S = 9.5
"""A server that was asked to end is gone after this, whatever hangs."""
ANYWHERE = frozenset({"0.0.0.0", "::"})

log = logging.getLogger("studio")


def serve(options: Mapping[str, Any]) -> int:
    """Serves until SIGINT or SIGTERM; 0 then. Raises `StudioError` when it cannot start."""
    settings = load(options)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    with claim(settings.data_dir, "serve"), listening(settings) as listener:
        prepare_environment(settings)
        _enter_empty_folder(settings.data_dir / "cache" / "empty")
        app = compose(settings)
        try:
            _serve(settings, app, listener)
        finally:
            app.close()
    print("Stopped.", flush=True)
    return OK


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """A listening socket on the wanted port or the next free one. Raises `InvalidRequest`."""
    host = settings.bind_host
    last = min(settings.port + PORTS, 65535)
    for port in range(settings.port, last + 1):
        try:
            listener = _listen(host, port)
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES} and port < last:
                continue
            raise InvalidRequest(
                f"The studio cannot listen on {host}, port {port} ({error.strerror or error}).",
                "Choose another address with --host or another port with --port.",
                field="host",
            ) from None
        if port != settings.port:
            print(f"Port {settings.port} is taken; using {port}.", flush=True)
        with listener:
            yield listener
        return


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def _enter_empty_folder(folder: Path) -> None:
    """Gradio may hand out files of the current folder, so it is one with nothing in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
    except OSError as error:
        raise StorageFailed(
            f"The data folder cannot be written to ({error.strerror}).",
            "Make it writable or choose another one with --data-dir.",
        ) from None


def _serve(settings: Settings, app: App, listener: socket.socket) -> None:
    from studio.api.server import WebServer, build
    from studio.ui.shell import mount

    host, port = listener.getsockname()[:2]
    keys = Keys.for_(settings)
    access = make_access(
        data_dir=settings.data_dir,
        host=host,
        users=dict(settings.auth),
        one_time_tokens=keys.own,
        guest_tokens=keys.guests,
        public=settings.public,
        shared=settings.share,
        extra_hosts=settings.allowed_hosts,
        local_token=keys.local,
        secure_cookies=settings.secure_cookies,
    )
    web = build(app.studio, access, mount)
    addresses = Addresses.of(host, port)
    with ExitStack() as opened:
        opened.callback(access.sharing.stop)

        def up() -> None:
            announce(settings.data_dir, addresses.here, keys.local)
            print(welcome(addresses, settings, keys), flush=True)
            app.start()
            if settings.open_browser and has_screen():
                webbrowser.open(keys.enter(addresses.here))
            if settings.share:
                _share(serving, settings, port, app.studio, access, keys)

        def ready() -> None:
            gc.freeze()
            gc.enable()
            threading.Thread(target=up, name="up", daemon=True).start()

        serving = WebServer(web, host, port, ready)
        with _ending(serving):
            serving.run(sockets=[listener])


@contextmanager
def _ending(server: uvicorn.Server) -> Iterator[None]:
    """Makes every signal that asks for an end end the server, in `LAST_S` at most.

    uvicorn raises the signal again once it has ended, which must then do nothing: there is still
    something to close.
    """
    ask = server.handle_exit

    def end(sig: int, frame: FrameType | None) -> None:
        if not server.should_exit:
            last = threading.Timer(LAST_S, os._exit, (OK,))
            last.daemon = True
            last.start()
        ask(sig, frame)

    server.handle_exit = end
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), end) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@dataclass(frozen=True, slots=True)
class Keys:
    """Secrets that live as long as this process."""

    local: str
    """For the command line of the same person, through a file only they can read."""
    printed: str = ""
    """One-time token of the link that is printed; empty where none is needed."""
    opened: str = ""
    """One-time token for the browser that is opened on this machine."""
    for_guests: bool = False
    """Whoever opens the printed link has a space of their own: it leaves the house."""

    @classmethod
    def for_(cls, settings: Settings) -> "Keys":
        if not settings.needs_login or settings.auth:
            return cls(new_token())
        return cls(
            new_token(), secrets.token_urlsafe(24), secrets.token_urlsafe(24), settings.share
        )

    @property
    def own(self) -> tuple[str, ...]:
        mine = (self.opened,) if self.for_guests else (self.printed, self.opened)
        return tuple(token for token in mine if token)

    @property
    def guests(self) -> tuple[str, ...]:
        return (self.printed,) if self.for_guests and self.printed else ()

    def enter(self, url: str) -> str:
        """Where the browser on this machine is sent."""
        return f"{url}/enter?token={self.opened}" if self.opened else url


@dataclass(frozen=True, slots=True)
class Addresses:
    here: str
    """For a browser on this machine."""
    network: tuple[str, ...] = ()
    """For others, as far as this machine knows how they reach it."""

    @classmethod
    def of(cls, host: str, port: int) -> "Addresses":
        if host in ANYWHERE:
            there = tuple(f"http://{_bracketed(found)}:{port}" for found in network_addresses())
            return cls(f"http://127.0.0.1:{port}", there)
        url = f"http://{_bracketed(host)}:{port}"
        return cls(url, () if is_loopback(host) else (url,))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def network_addresses() -> tuple[str, ...]:
    """The address this machine has on its network. Nothing is sent to find it."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # a documentation address: it only chooses the route
        found = str(probe.getsockname()[0])
        return () if is_loopback(found) else (found,)
    return ()


def welcome(addresses: Addresses, settings: Settings, keys: Keys) -> str:
    lines = [f"Pochade {__version__} is at {addresses.here}"]
    lines += [f"On your network: {url}" for url in addresses.network]
    if keys.printed and not settings.share:
        lines += _link((*addresses.network, addresses.here)[0], keys)
    elif settings.auth:
        names = ", ".join(name for name, _ in settings.auth)
        lines.append(f"These may log in: {names}.")
    elif settings.public and settings.beyond_loopback:
        lines.append("Anybody who can reach it may use it (--public).")
    if settings.share:
        lines.append("Opening the share link …")
    lines += [
        f"There is no folder {folder} yet: nothing is read from it until there is."
        for folder in settings.missing_dirs
    ]
    return "\n".join([*lines, "Ctrl+C stops it."])


def _link(url: str, keys: Keys) -> Sequence[str]:
    what = "a guest, while sharing lasts" if keys.for_guests else "you, and for good"
    return (
        f"One-time link: {url}/enter?token={keys.printed}",
        f"It lets one browser in as {what}; the next start prints another one.",
    )


def _share(
    server: uvicorn.Server,
    settings: Settings,
    port: int,
    studio: Studio,
    access: Access,
    keys: Keys,
) -> None:
    """Opens the tunnel and prints its link; without one the studio goes on."""
    try:
        tunnel = open_tunnel(port)
    except StudioError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr, flush=True)
        if keys.printed:
            print("\n".join(_link(f"http://127.0.0.1:{port}", keys)), flush=True)
        return
    access.hosts.add(tunnel.host, https=True)

    def end() -> None:
        tunnel.close()
        access.hosts.end(tunnel.host)
        studio.dismiss_guests()
        if not server.should_exit:
            print("Sharing has stopped; on this machine the studio goes on.", flush=True)

    access.sharing.begin(tunnel.url, settings.share_hours * 3600, end)
    tunnel.watch(access.sharing.stop)
    print(f"On the internet: {tunnel.url}", flush=True)
    if keys.printed:
        print("\n".join(_link(tunnel.url, keys)), flush=True)
    print(f"It ends in {settings.share_hours} hours, or with Stop in the page's bar.", flush=True)
