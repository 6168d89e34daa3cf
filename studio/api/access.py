"""Who may come in, under which name of this machine, and how much they may ask."""

import os
import secrets
import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from studio.api.sharing import Sharing
from studio.core.errors import Refused, StorageFailed
from studio.core.hosts import bare, is_address, is_loopback

MB = 1024 * 1024
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Budgets of one person ("owner") and of one network address."""

    json_bytes: int = MB
    upload_bytes: int = 32 * MB
    event_bytes: int = 2 * MB
    """A Gradio event: the form's values."""
    body_idle_s: float = 15.0
    """Longest silence while a body is being sent."""
    body_total_s: float = 120.0
    requests_per_s: float = 100.0
    burst: int = 1500
    """Requests that an owner may make at once: a fast scroll through a long gallery."""
    address_factor: float = 5.0
    """How much more than one owner a network address may ask: people behind one router."""
    streams: int = 4
    streams_per_address: int = 256
    uploads: int = 4
    pages: int = 24
    """Gradio connections of an owner at once: two a tab."""
    sessions_per_minute: int = 60
    """New Gradio pages of an owner."""
    visitors_per_minute: int = 120
    """New visitors of a public studio from one address."""
    wrong_logins_per_minute: int = 10
    logins: int = 2000
    """Logins remembered in all; the oldest go first."""
    login_days: int = 30


SHARED = Limits()
ALONE = Limits(
    requests_per_s=2000, burst=10_000, streams=128, pages=256, sessions_per_minute=600, uploads=16
)
"""For a studio that only its own machine can reach: scripts may be as quick as they like."""


class Hosts:
    """The names that the studio answers to, and which of them are reached by https.

    A share link is added when its tunnel stands and ended when it closes. Any other name is
    refused, so that a foreign page cannot reach the studio by pointing its own name at it.
    """

    def __init__(self, names: Iterable[str] = LOOPBACK_NAMES, *, any_address: bool = False) -> None:
        """`any_address` also answers to every bare IP address: nobody can point those elsewhere."""
        self._lock = threading.Lock()
        self._https = {bare(name): False for name in names}
        self._any_address = any_address
        self._ended: set[str] = set()

    def add(self, name: str, *, https: bool) -> None:
        with self._lock:
            self._https[bare(name)] = https
            self._ended.discard(bare(name))

    def end(self, name: str) -> None:
        """Answers to this name no longer, but for saying so."""
        with self._lock:
            self._https.pop(bare(name), None)
            self._ended.add(bare(name))

    def ended(self, name: str) -> bool:
        return bare(name) in self._ended

    def knows(self, name: str) -> bool:
        return bare(name) in self._https or (self._any_address and is_address(name))

    def https(self, name: str) -> bool:
        """True if this name is reached through a tunnel or proxy that speaks https for us."""
        return self._https.get(bare(name), False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Built once at the start by `make_access`."""

    secret: bytes
    """Signs every cookie; per install, so cookies of another studio are worth nothing here."""
    hosts: Hosts = field(default_factory=Hosts)
    users: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Password by name."""
    one_time_tokens: tuple[str, ...] = ()
    """Each opens the studio once at /enter?token=…, as its owner "local" or as a guest."""
    guest_tokens: frozenset[str] = frozenset()
    """Those of them that open a space of one's own: for the links that are sent to others."""
    local_token: str | None = None
    """Sent as `X-Pochade-Local` by the command line of the person who runs the server."""
    public: bool = False
    """Anybody may come in and gets a space of their own."""
    secure_cookies: bool = False
    """True behind a proxy of one's own that speaks https."""
    logins_file: Path | None = None
    """Where logins outlive a restart; None keeps them in memory."""
    limits: Limits = SHARED
    sharing: Sharing = field(default_factory=Sharing)
    """Whether a link lets guests in at the moment."""

    @property
    def needs_login(self) -> bool:
        return bool(self.users or self.one_time_tokens) and not self.public

    @property
    def alone(self) -> bool:
        """Everybody who gets here is the machine's own person."""
        return not self.needs_login and not self.public


def make_access(
    *,
    data_dir: Path,
    host: str = "127.0.0.1",
    users: Mapping[str, str] | None = None,
    one_time_tokens: Iterable[str] = (),
    guest_tokens: Iterable[str] = (),
    local_token: str | None = None,
    public: bool = False,
    shared: bool = False,
    extra_hosts: Iterable[str] = (),
    secure_cookies: bool = False,
    limits: Limits | None = None,
) -> Access:
    """What the guard goes by. `host` is the address listened on, `shared` says a tunnel will open.

    Raises `Refused` if others could reach the studio and nothing was said about who may.
    """
    guests = frozenset(guest_tokens)
    tokens = (*one_time_tokens, *guests)
    beyond = shared or not is_loopback(host)
    if beyond and not (users or tokens or public):
        raise Refused(
            "Others could reach the studio and no login is set.",
            "Set one with --auth name:password, or say --public to let everybody in.",
        )
    for name, password in (users or {}).items():
        if not name or not password:
            raise Refused("A login needs a name and a password.", "Write --auth name:password.")
    alone = not (users or tokens or public)
    return Access(
        secret=install_secret(data_dir),
        hosts=Hosts(
            (*LOOPBACK_NAMES, *(own_names(host) if not is_loopback(host) else ()), *extra_hosts),
            any_address=not is_loopback(host),
        ),
        users=MappingProxyType(dict(users or {})),
        one_time_tokens=tokens,
        guest_tokens=guests,
        local_token=local_token,
        public=public,
        secure_cookies=secure_cookies,
        logins_file=data_dir / ".logins.json",
        limits=limits or (ALONE if alone else SHARED),
    )


def install_secret(data_dir: Path) -> bytes:
    """The signing secret of this install, made on the first start, readable by its owner alone.

    Raises `StorageFailed` if it can be neither read nor written.
    """
    path = data_dir / ".secret"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        try:
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            kept = path.read_bytes()
            if len(kept) == SECRET_BYTES:
                path.chmod(0o600)
                return kept
            path.unlink()
            return install_secret(data_dir)
        with os.fdopen(made, "wb") as file:
            secret = secrets.token_bytes(SECRET_BYTES)
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        return secret
    except OSError as error:
        raise StorageFailed(
            "The data folder cannot be written.", "Choose another one with --data-dir."
        ) from error


def own_names(host: str) -> tuple[str, ...]:
    """Names by which others on the network may call this machine."""
    name = socket.gethostname()
    plain = name.split(".")[0]
    given = () if host in {"", "0.0.0.0", "::"} else (host,)
    return tuple(dict.fromkeys(found for found in (*given, name, plain, f"{plain}.local") if plain))
