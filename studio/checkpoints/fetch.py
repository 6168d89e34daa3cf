"""Fetches one file: resumable, checked, bounded, and never from where it should not.

Only https, and plain http from this machine itself. A redirect is followed `REDIRECTS` times at most,
never from the internet into a private network; the address that was looked at is the one that is
connected to.
"""

import hashlib
import ipaddress
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from studio.checkpoints.header import MAX_HEADER_BYTES, readable
from studio.checkpoints.streams import put, require_free
from studio.core.errors import InvalidRequest, Refused, StorageFailed, Unavailable
from studio.core.hosts import is_loopback

REDIRECTS = 5
TRIES = 5
"""How often a broken or stalled connection is taken up again, each time from where it broke."""
STALL_S = 30.0
"""A connection on which next to nothing arrives for so long is taken up again."""
LEAST_BYTES = 32 << 10
"""What has to arrive within `STALL_S`: 1 kB a second. Fewer are next to nothing."""
CONNECT_S = 15.0
ANSWER_S = 60.0
"""How long a server may take to say what it is about to send, however steadily it says it."""
BLOCK = 1 << 20
AGENT = "pochade"

_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which trying again may help."""


class Stopped(Exception):
    """Somebody asked for an end. What has arrived is kept."""


class Changed(InvalidRequest):
    """Under this address lies another file than the one that was planned or begun."""


class _Drips(Exception):
    """Next to nothing arrives on a connection."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """A file as its server tells of it, before anything was fetched."""

    url: str
    size_bytes: int
    name: str
    """What the server or the address calls it; not to be trusted."""
    tag: str = ""
    """A strong ETag or a date: what tells whether it is still the same file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manners:
    """How the internet is gone about; tests are less patient."""

    stall_s: float = STALL_S
    least_bytes: int = LEAST_BYTES
    answer_s: float = ANSWER_S
    tries: int = TRIES
    pause_s: float = 1.0
    """Before the second try; doubled before each further one."""
    private: bool = True
    """Whether the first address may lie in a private network: so it may for the person who runs
    the studio."""
    clock: Callable[[], float] = time.monotonic
    """Seconds, by which it is judged whether enough arrives."""


USUAL = Manners()


def look(url: str, headers: Mapping[str, str] | None = None, manners: Manners = USUAL) -> Remote:
    """Size and name of what lies there. Raises `InvalidRequest`, `Refused` or `Unavailable`."""
    try:
        return _look(url, headers or {}, manners)
    except (httpx.HTTPError, _Drips) as error:
        raise _silent(url) from error


def _look(url: str, headers: Mapping[str, str], manners: Manners) -> Remote:
    with _client(manners) as client, _answer(client, url, headers, 0, "", manners) as answer:
        size = _whole_size(answer)
        if "text/html" in answer.headers.get("content-type", ""):
            raise InvalidRequest(
                "A web page lies at this address, not a file.",
                "Take the address of the download itself.",
                field="source",
            )
        if size is None:
            raise InvalidRequest(
                "The server does not say how large the file is.",
                "Download it with a browser and put it into the folder 'checkpoints'.",
                field="source",
            )
        return Remote(url=url, size_bytes=size, name=_name(answer, url), tag=_tag(answer))


def read_small(url: str, headers: Mapping[str, str], most: int, manners: Manners = USUAL) -> bytes:
    """The whole of a file of at most `most` bytes. Raises as `look`."""
    data = b""
    try:
        with _client(manners) as client, _answer(client, url, headers, 0, "", manners) as answer:
            pace = _Pace(manners)
            for block in answer.iter_bytes():
                pace.more(len(block))
                data += block
                if len(data) > most:
                    raise InvalidRequest(
                        "A file there is larger than it can be.", "Take another.", field="source"
                    )
    except (httpx.HTTPError, _Drips) as error:
        raise _silent(url) from error
    return data


def fetch(
    remote: Remote,
    part: Path,
    *,
    sha256: str = "",
    headers: Mapping[str, str] | None = None,
    progress: Callable[[int], None] = lambda done: None,
    stopped: Callable[[], bool] = lambda: False,
    manners: Manners = USUAL,
) -> str:
    """Fetches it into `part`, from where an earlier try ended; its SHA-256.

    `sha256` is what it must be; empty where nobody knows. Raises `Stopped`, `Unavailable` or
    `StorageFailed` and keeps what has arrived; raises `InvalidRequest`, of which `Changed` is one, or
    `Refused` and removes it.
    """
    try:
        return _Fetch(remote, part, headers or {}, progress, stopped, manners).run(sha256)
    except (InvalidRequest, Refused):
        forget(part)
        raise
    except OSError as error:
        raise StorageFailed(
            f"The disk cannot be written to ({error.strerror or error}).",
            "Free some space and go on; what has arrived is kept.",
        ) from error


def forget(part: Path) -> None:
    """Removes what has arrived."""
    for file in (part, _about(part)):
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _about(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


@dataclass
class _Fetch:
    remote: Remote
    part: Path
    headers: Mapping[str, str]
    progress: Callable[[int], None]
    stopped: Callable[[], bool]
    manners: Manners

    def run(self, sha256: str) -> str:
        self.part.parent.mkdir(parents=True, exist_ok=True)
        digest, done = self._begun()
        require_free(self.part, self.remote.size_bytes - done)
        left, pause, most = self.manners.tries, self.manners.pause_s, done
        with _client(self.manners) as client, self.part.open("ab") as out:
            out.truncate(done)
            while done < self.remote.size_bytes:
                try:
                    digest, done = self._go_on(client, out, digest, done)
                    continue
                except (httpx.HTTPError, Unavailable, _Drips) as error:
                    out.flush()
                    digest, done = self._begun()
                    if done >= most + self.manners.least_bytes:
                        left, pause, most = self.manners.tries, self.manners.pause_s, done
                    left -= 1
                    if not left:
                        raise _broke(error, done, self.remote.size_bytes) from error
                self._wait(pause)
                pause = min(pause * 2, 30.0)
            os.fsync(out.fileno())
        found = digest.hexdigest()
        if sha256 and found != sha256.lower():
            raise InvalidRequest(
                "The file's checksum does not match: it is not the one that was promised.",
                "Try again; if it stays so, take it from another place.",
                field="sha256",
            )
        return found

    def _begun(self) -> tuple[Any, int]:
        """The hash and count of what an earlier try has left of this very file."""
        digest, done = hashlib.sha256(), 0
        try:
            told = Remote(**json.loads(_about(self.part).read_bytes()))
            same = (told.url, told.size_bytes) == (self.remote.url, self.remote.size_bytes)
            if not same or not told.tag or self.remote.tag not in {"", told.tag}:
                return digest, 0
            if self.part.stat().st_size > told.size_bytes:
                return digest, 0
            self.remote = told
            with self.part.open("rb") as file:
                while block := file.read(BLOCK):
                    if self.stopped():
                        raise Stopped
                    digest.update(block)
                    done += len(block)
        except (OSError, ValueError, TypeError):
            return hashlib.sha256(), 0
        return digest, done

    def _go_on(self, client: httpx.Client, out: Any, digest: Any, done: int) -> tuple[Any, int]:
        """One connection's worth."""
        url, size = self.remote.url, self.remote.size_bytes
        with _answer(client, url, self.headers, done, self.remote.tag, self.manners) as answer:
            whole, tag = _whole_size(answer), _tag(answer)
            if whole != size or (self.remote.tag and tag != self.remote.tag):
                raise Changed(
                    "The file on the server is another one than it was.",
                    "Install it again from the beginning.",
                    field="source",
                )
            self.remote = replace(self.remote, tag=tag)
            put(_about(self.part), json.dumps(asdict(self.remote)).encode())
            if answer.status_code == 200 and done:  # this server cannot begin in the middle
                digest, done = hashlib.sha256(), 0
                out.seek(0)
                out.truncate()
                require_free(self.part, size)
            pace = _Pace(self.manners)
            for block in answer.iter_bytes():
                if self.stopped():
                    raise Stopped
                pace.more(len(block))
                if done + len(block) > size:
                    raise InvalidRequest(
                        "The server sends more than it announced.",
                        "Take the file from another place.",
                        field="source",
                    )
                if done < 9 <= done + len(block):
                    _require_weights(self.part, out, done, block)
                out.write(block)
                digest.update(block)
                done += len(block)
                self.progress(done)
            out.flush()
        return digest, done

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.stopped():
                raise Stopped
            time.sleep(0.05)


class _Pace:
    """Judges whether enough arrives on a connection."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._since, self._arrived = manners.clock(), 0

    def more(self, size_bytes: int) -> None:
        """Raises `_Drips` if fewer than `least_bytes` have arrived in `stall_s`."""
        self._arrived += size_bytes
        if self._arrived >= self._manners.least_bytes:
            self._since, self._arrived = self._manners.clock(), 0
        elif self._manners.clock() - self._since >= self._manners.stall_s:
            raise _Drips


def _require_weights(part: Path, out: Any, done: int, block: bytes) -> None:
    """The first nine bytes tell at once what must not take an hour to be refused."""
    out.flush()
    with part.open("rb") as file:
        begin = (file.read(done) + block)[:9]
    header_bytes = int.from_bytes(begin[:8], "little")
    name = part.name.removesuffix(".part").lower()
    for ending, kind, fits in (
        (".safetensors", "safetensors", header_bytes <= MAX_HEADER_BYTES and begin[8:] == b"{"),
        (".gguf", "GGUF", begin[:4] == b"GGUF"),
    ):
        if name.endswith(ending) and not fits:
            raise InvalidRequest(
                f"What lies there is no {kind} file.",
                "Only .safetensors and .gguf can be installed: other formats can run code.",
                field="source",
            )


def _client(manners: Manners) -> httpx.Client:
    timeout = httpx.Timeout(manners.stall_s, connect=min(CONNECT_S, manners.stall_s))
    # each question has a connection of its own, which `_Deadline` can end
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(timeout=timeout, limits=limits, follow_redirects=False)


@contextmanager
def _answer(
    client: httpx.Client,
    url: str,
    headers: Mapping[str, str],
    begin: int,
    tag: str,
    manners: Manners,
) -> Iterator[httpx.Response]:
    """A good answer to a GET from byte `begin` on, after redirects; its body is not read yet."""
    given = {**headers, "User-Agent": AGENT, "Accept-Encoding": "identity"}
    if begin and tag:
        given |= {"Range": f"bytes={begin}-", "If-Range": tag}
    private = manners.private
    for _ in range(REDIRECTS + 1):
        private, places = _require_allowed(url, private=private)
        try:
            with ExitStack() as opened:
                answer = _opened(opened, client, url, places, given, manners)
                if answer.status_code not in _REDIRECTED:
                    _require_good(answer)
                    yield answer
                    return
                target = urljoin(url, answer.headers.get("location", ""))
        except (httpx.InvalidURL, UnicodeError):
            raise _bad_address() from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _silent(url) from error
        if urlsplit(target).netloc != urlsplit(url).netloc:
            given.pop("Authorization", None)  # a token is for the host that it was given for
        url = target
    raise Unavailable("The server sends from one address to the next without end.", "Try another.")


def _opened(
    opened: ExitStack,
    client: httpx.Client,
    url: str,
    places: Sequence[str],
    headers: Mapping[str, str],
    manners: Manners,
) -> httpx.Response:
    """Asks at the first of these addresses that can be reached, and never at another: a name may lead
    elsewhere by now. The server is still the one of the name, and proves so."""
    parts = urlsplit(url)
    if not places or _goes_by_proxy(parts.scheme, parts.hostname or ""):
        return _asked(opened, client, url, headers, manners)
    named = {**headers, "Host": parts.netloc}
    for left, place in zip(range(len(places) - 1, -1, -1), places, strict=True):
        host = f"[{place}]" if ":" in place else place
        there = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
        try:
            return _asked(opened, client, there, named, manners, sni_hostname=parts.hostname)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if not left:
                raise
    raise _silent(url)


def _asked(
    opened: ExitStack,
    client: httpx.Client,
    url: str,
    headers: Mapping[str, str],
    manners: Manners,
    **extensions: Any,
) -> httpx.Response:
    """The answer to a GET, whose headers are all there. Raises `_Drips` if they take too long."""
    with _Deadline(manners.answer_s) as deadline:
        told = {**extensions, "trace": deadline.trace}
        try:
            return opened.enter_context(client.stream("GET", url, headers=headers, extensions=told))
        except httpx.HTTPError as error:
            if deadline.over:
                raise _Drips from error
            raise


class _Deadline:
    """Ends a connection from outside, once its time is over: what waits for its bytes then hears
    that there are no more. A timeout of the client's begins anew with each byte."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._socket is not None:
                self._socket.close()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Hears of a request of httpcore's; of a new connection a second handle is kept, since TLS
        takes over the first."""
        if event.endswith("connect_tcp.complete"):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket").dup()
                if self.over:
                    self._shut()

    def _end(self) -> None:
        with self._lock:
            self.over = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it is closed already
                self._socket.shutdown(socket.SHUT_RDWR)


def _goes_by_proxy(scheme: str, host: str) -> bool:
    """Then it is the proxy that finds the address."""
    proxies = getproxies()
    return bool(proxies.get(scheme) or proxies.get("all")) and not proxy_bypass(host)


def _silent(url: str) -> Unavailable:
    return Unavailable(
        f"{urlsplit(url).hostname} cannot be reached.",
        "Check the network, then try again; nothing else of the studio needs it.",
    )


def _require_good(answer: httpx.Response) -> None:
    code = answer.status_code
    if code in {200, 206}:
        return
    if code in {401, 403}:
        raise InvalidRequest(
            "The server gives this file only to people whom it knows.",
            "Accept its terms there, log in with 'hf auth login', or download it with a browser.",
            field="source",
        )
    if code in {404, 410}:
        raise InvalidRequest(
            "There is no such file at this address.", "Check the address.", field="source"
        )
    if code in _LATER or code == 416:
        raise Unavailable(f"The server answers with status {code}.", "Try again later.")
    raise InvalidRequest(
        f"The server answers with status {code}.", "Check the address.", field="source"
    )


def _require_allowed(url: str, *, private: bool) -> tuple[bool, tuple[str, ...]]:
    """Whether what comes after may lie in a private network too, and the addresses that this leads
    to, none of which is forbidden. Raises `InvalidRequest` or
    `Refused`."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _bad_address() from None
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
        raise _bad_address()
    places = addresses(host)
    inside = any(map(is_private, places))
    if inside and not private:
        raise Refused("This address cannot be used.", "Take one on the internet.", field="source")
    if parts.scheme == "http" and not is_loopback(host):
        raise InvalidRequest(
            "Files are only fetched over https.", "Use the address with https.", field="source"
        )
    return inside, places


def _bad_address() -> InvalidRequest:
    return InvalidRequest(
        "This is no address that a file can be fetched from.",
        "Write it like https://example.org/name.safetensors.",
        field="source",
    )


def addresses(host: str) -> tuple[str, ...]:
    """Where a name leads to now; nothing if nowhere."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_private(address: str) -> bool:
    """Whether an address is this machine's or one of a private network."""
    return not ipaddress.ip_address(address.partition("%")[0]).is_global


def _whole_size(answer: httpx.Response) -> int | None:
    ranged = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("content-range", ""))
    if answer.status_code == 206:
        return int(ranged[1]) if ranged else None
    length = answer.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _tag(answer: httpx.Response) -> str:
    """What If-Range takes: a strong ETag, else the date."""
    etag = answer.headers.get("etag", "")
    return etag if etag.startswith('"') else answer.headers.get("last-modified", "")


def _name(answer: httpx.Response, url: str) -> str:
    said = answer.headers.get("content-disposition", "")
    extended = re.search(r"filename\*=(?:UTF-8|utf-8)''([^;]+)", said)
    plain = re.search(r'filename="?([^";]+)', said)
    if extended:
        return unquote(extended[1])
    return plain[1] if plain else unquote(urlsplit(url).path.rpartition("/")[2])


def _broke(error: Exception, done: int, size: int) -> Unavailable:
    if isinstance(error, Unavailable) and not done:
        return error
    what = (
        "The server sends next to nothing" if isinstance(error, _Drips) else "The connection broke"
    )
    return Unavailable(
        f"{what} after {readable(done)} of {readable(size)}.",
        "Go on later; what has arrived is kept.",
    )
