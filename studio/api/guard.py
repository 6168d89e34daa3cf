"""In front of everything: our routes, Gradio's, and whatever Gradio will bring next.

Every request passes the same gates in the same order: the name it asks for, where it comes from,
its shape, what of Gradio is open at all, how often, who it is, whether that may come in, how much
at once. Then its body is metered and its answer gets the headers that a browser needs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import RedirectResponse, Response

from studio.api import pages, surface
from studio.api.access import MB, Access, Limits
from studio.api.errors import (
    BadRange,
    Incident,
    NotSignedIn,
    TooManyHeaders,
    TooOften,
    TooSlow,
    answer,
    incident,
)
from studio.api.limits import Gauge, Rate
from studio.api.login import OPEN, VISIT, Doorman, login_path
from studio.api.sharing import no_longer_shared
from studio.api.sse import Closing
from studio.api.visit import OWNER, Visit, same_origin, visit_of
from studio.core.errors import Refused, StudioError, TooLarge

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_HEADERS = 100
MOST_RANGES = 8
DRAIN_BYTES = 64 * MB
"""Of a refused body, so that a browser reads the answer instead of a broken connection."""
DRAIN_S = 10.0

OURS = ("/api/", "/assets/ui/")
OUR_PAGES = frozenset({"/api", "/login", "/logout", "/enter", "/robots.txt"})

FORWARDED = (
    b"x-forwarded-",
    b"x-gradio-",
    b"x-real-ip",
    b"forwarded",
    b"x-original-",
    b"x-rewrite-",
)
"""Headers that a proxy would write, and that Gradio believes from anybody."""

STUDIO_CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self' blob: data:; worker-src 'self' blob:; font-src 'self' data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Gradio's components need eval, so this keeps foreign servers out, not foreign script: every text
of a person's is escaped where it is shown."""
PAGE_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
DATA_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"


class Guard:
    """The outermost ASGI app."""

    def __init__(self, app: App, access: Access, doorman: Doorman, closing: Closing) -> None:
        self.app = app
        self.access = access
        self.closing = closing
        self._doorman = doorman
        limits = access.limits
        factor = limits.address_factor
        self._by_owner = Rate(limits.requests_per_s, limits.burst)
        self._by_address = Rate(limits.requests_per_s * factor, limits.burst * factor)
        self._new_pages = Rate(limits.sessions_per_minute / 60, limits.sessions_per_minute)
        self._open = Gauge()
        self._pages = surface.PageSessions()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = visit_of(scope, self.access.hosts, https=self.access.secure_cookies)
        meter = Meter(receive, body_limit(visit, self.access.limits), self.access.limits)
        reply = Reply(send, visit, meter)
        try:
            self._check(visit)
            owner, reply.cookie = self._who(visit)
            if not owner and visit.path not in OPEN:
                await self._ask_for_login(visit, meter, reply)
                return
            with ExitStack() as held:
                self._hold(visit, owner, held)
                meter.check_announced(visit)
                source: Receive = meter
                if visit.path in surface.EVENTS:
                    source = await self._claimed_event(meter, owner)
                inner = {**scope, OWNER: owner, VISIT: visit, "headers": _clean(scope)}
                inner["scheme"] = "https" if visit.https else scope["scheme"]
                if reply.bodiless:
                    inner["method"] = "GET"
                await self.app(inner, source, reply)
            if meter.tripped:
                raise meter.tripped
            if reply.broken:
                raise RuntimeError("Gradio answered with a bare 500")
        except StudioError as error:
            await self._refuse(visit, error, meter, reply)
        except Exception as error:  # noqa: BLE001 - the last place that can answer
            await self._refuse(visit, meter.tripped or incident(error), meter, reply)

    def _check(self, visit: Visit) -> None:
        """Everything that can be told without knowing whose visit it is."""
        trusted_host(visit, self.access)
        own_origin(visit)
        sane_headers(visit)
        if not _is_ours(visit.path) and (error := surface.closed(visit.method, visit.path)):
            raise error
        if not surface.is_static(visit.path):
            _slow_down(self._by_address.take(visit.address))

    def _who(self, visit: Visit) -> tuple[str, str]:
        """The owner, "" without a login, and the cookie to set."""
        if self.access.public and (surface.is_static(visit.path) or visit.path in OPEN):
            return "visitor:", ""
        known = self._doorman.know(visit)
        if known.owner and not surface.is_static(visit.path):
            _slow_down(self._by_owner.take(known.owner))
        return known.owner, known.cookie

    def _hold(self, visit: Visit, owner: str, held: ExitStack) -> None:
        """Counts what stays open, and binds Gradio's sessions to owners."""
        limits = self.access.limits
        if is_stream(visit):
            everyone = f"streams from {visit.address}"
            hold = self._open.hold
            held.enter_context(hold(f"streams of {owner}", limits.streams, "live views"))
            held.enter_context(hold(everyone, limits.streams_per_address, "live views"))
        elif is_upload(visit):
            hold = self._open.hold
            held.enter_context(hold(f"uploads of {owner}", limits.uploads, "uploads"))
        elif surface.is_feed(visit.path):
            self._claim(_session_of_feed(visit), owner)
            held.enter_context(self._open.hold(f"pages of {owner}", limits.pages, "pages"))

    def _claim(self, session: str, owner: str) -> None:
        if self._pages.claim(session, owner):
            _slow_down(self._new_pages.take(owner))

    async def _claimed_event(self, meter: "Meter", owner: str) -> Receive:
        """A Gradio event whose session is its owner's; the body is read here and played again."""
        body = await meter.whole()
        self._claim(surface.session_of_event(body), owner)
        return Replay(body, meter)

    async def _ask_for_login(self, visit: Visit, meter: "Meter", reply: "Reply") -> None:
        if visit.wants_page and visit.reads:
            await RedirectResponse(login_path(visit), 303)({"type": "http"}, meter, reply)
            return
        error = NotSignedIn(
            "This studio asks for a login.", "Open it in a browser, or send HTTP Basic."
        )
        await self._refuse(visit, error, meter, reply)

    async def _refuse(
        self, visit: Visit, error: StudioError, meter: "Meter", reply: "Reply"
    ) -> None:
        if reply.started:
            return
        told: Response = pages.trouble(error) if visit.wants_page else answer(error)
        if "expect" in visit.headers or not await meter.drained():
            told.headers["Connection"] = "close"
        reply.refusing = True
        await told({"type": "http"}, meter, reply)


class Meter:
    """A `receive` that counts bytes and seconds.

    Past a limit it raises, and remembers why in `tripped`: frameworks turn what is raised while a
    body is read into words of their own, and the guard says it better.
    """

    def __init__(self, receive: Receive, most_bytes: int, limits: Limits) -> None:
        self.tripped: StudioError | None = None
        self._receive = receive
        self._most = most_bytes
        self._limits = limits
        self._read = 0
        self._ended = False
        self._until: float | None = None

    async def __call__(self) -> Message:
        if self._ended:
            return await self._receive()
        if self.tripped:
            raise self.tripped
        now = time.monotonic()
        self._until = self._until or now + self._limits.body_total_s
        patience = min(self._limits.body_idle_s, self._until - now)
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, patience))
        except TimeoutError:
            self.tripped = TooSlow("The upload took too long.", "Try again on a better connection.")
            raise self.tripped from None
        if message["type"] != "http.request":
            self._ended = True
            return message
        self._read += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._read > self._most:
            self.tripped = too_large(self._read, self._most)
            raise self.tripped
        return message

    def check_announced(self, visit: Visit) -> None:
        """Raises `TooLarge` before the first byte where the length is told."""
        told = visit.headers.get("content-length", "")
        if told.isdigit() and int(told[:18]) > self._most:
            self.tripped = too_large(int(told[:18]), self._most)
            raise self.tripped

    async def whole(self) -> bytes:
        """The rest of the body. Raises `StudioError` past a limit."""
        parts = []
        while not self._ended:
            message = await self()
            if message["type"] == "http.disconnect":
                raise StudioError("The connection was closed.", "Try again.")
            parts.append(message.get("body", b""))
        return b"".join(parts)

    async def drained(self) -> bool:
        """Reads away what is left of a refused body; False if it is too much or too slow."""
        until = time.monotonic() + (0 if isinstance(self.tripped, TooSlow) else DRAIN_S)
        while not self._ended:
            try:
                message = await asyncio.wait_for(self._receive(), until - time.monotonic())
            except TimeoutError:
                return False
            self._read += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if self._read > DRAIN_BYTES:
                return False
        return True


class Replay:
    """A `receive` that gives a body already read, then goes on with the connection."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        message = {"type": "http.request", "body": self._body, "more_body": False}
        self._body = None
        return message


class Reply:
    """A `send` that adds the guard's headers, and is silent once the guard answers itself."""

    def __init__(self, send: Send, visit: Visit, meter: Meter) -> None:
        self.started = False
        self.refusing = False
        self.broken = False
        """Gradio gave up with its bare "Internal Server Error", which was not passed on."""
        self.bodiless = visit.method == "HEAD" and _is_ours(visit.path)
        """Routes of ours know GET alone; a HEAD is answered as one of those, up to its body."""
        self.cookie = ""
        self._send = send
        self._visit = visit
        self._meter = meter

    async def __call__(self, message: Message) -> None:
        if not self.refusing:
            self.broken = self.broken or _gave_up(message)
            if self.broken or (self._meter.tripped and not self.started):
                return
        if message["type"] == "http.response.start":
            self.started = True
            sent = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            found = message["status"] == 200
            message = {**message, "headers": dressed(self._visit, sent, self.cookie, found)}
        elif self.bodiless:
            return
        await self._send(message)
        if self.bodiless:
            # this ends the request, so that a stream behind it hears that nobody listens
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _gave_up(message: Message) -> bool:
    """True for the answer of an app that raised; an error that was caught is JSON."""
    if message.get("status") != Incident.status:
        return False
    headers = {bytes(name).lower(): bytes(value) for name, value in message.get("headers", ())}
    return headers.get(b"content-type", b"").startswith(b"text/plain")


def trusted_host(visit: Visit, access: Access) -> None:
    """Refuses names that are not this studio's, so that no page can point its own name here."""
    if access.hosts.ended(visit.host):
        raise no_longer_shared()
    if not access.hosts.knows(visit.host):
        raise StudioError(
            "This address is not one of this studio's.",
            "Use the one it printed when it started, or add this one with --allow-host.",
        )


def own_origin(visit: Visit) -> None:
    """Refuses what another site's page asks for, but lets people follow links to the studio."""
    site = visit.headers.get("sec-fetch-site", "none")
    link = (
        visit.reads
        and visit.headers.get("sec-fetch-mode") == "navigate"
        and visit.headers.get("sec-fetch-dest", "document") == "document"
    )
    if link:
        return
    origin = visit.headers.get("origin")
    foreign = origin is not None and not same_origin(origin, visit.headers.get("host", ""))
    if foreign or site not in {"same-origin", "none"}:
        raise Refused("Another site asked for this.", "Use the studio's own page.")


def sane_headers(visit: Visit) -> None:
    if visit.header_lines > MOST_HEADERS:
        raise TooManyHeaders("The request has too many headers.", "Send fewer.")
    if visit.headers.get("range", "").count(",") >= MOST_RANGES:
        raise BadRange("Too many ranges were asked for.", "Ask for one.")


def body_limit(visit: Visit, limits: Limits) -> int:
    if is_upload(visit):
        return limits.upload_bytes + 64 * 1024  # what multipart adds
    return limits.event_bytes if visit.path in surface.EVENTS else limits.json_bytes


def is_upload(visit: Visit) -> bool:
    return visit.method == "POST" and visit.path in {"/api/inputs", "/api/settings-from-picture"}


def is_stream(visit: Visit) -> bool:
    """True for what stays open. A HEAD ends with its first line, whenever the app hears of it."""
    path = visit.path
    of_job = path.startswith("/api/jobs/") and path.endswith("/events")
    return visit.method == "GET" and (path == "/api/stream" or of_job)


def too_large(got: int, most: int) -> TooLarge:
    return TooLarge(
        f"The request is too large ({_mb(got)}, the limit is {_mb(most)}).",
        "Send a smaller picture or a shorter text.",
    )


def dressed(
    visit: Visit, sent: list[tuple[bytes, bytes]], cookie: str, found: bool
) -> list[tuple[bytes, bytes]]:
    """The app's headers without CORS and with what keeps browsers safe; `found` is 200."""
    kept = [
        (name, value)
        for name, value in sent
        if not name.lower().startswith(b"access-control-") and name.lower() not in _REPLACED
    ]
    names = {name.lower(): value for name, value in kept}
    is_page = names.get(b"content-type", b"").startswith(b"text/html")
    if not _is_ours(visit.path):
        policy = STUDIO_CSP
    elif visit.path.startswith("/assets/ui/"):
        policy = ""
    else:
        policy = PAGE_CSP if is_page else DATA_CSP
    if policy:
        kept.append((b"content-security-policy", policy.encode()))
    if b"cache-control" not in names or not (_is_ours(visit.path) or surface.is_static(visit.path)):
        kept = [(name, value) for name, value in kept if name.lower() != b"cache-control"]
        kept.append((b"cache-control", b"private, no-store"))
    if found and surface.never_changes(visit.path):
        kept = [(name, value) for name, value in kept if name.lower() != b"cache-control"]
        kept.append((b"cache-control", b"private, max-age=31536000, immutable"))
    if cookie:
        kept.append((b"set-cookie", cookie.encode("latin-1")))
    return [*kept, *_SAFE]


_SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_REPLACED = frozenset({name for name, _ in _SAFE} | {b"content-security-policy", b"server"})


def _clean(scope: Scope) -> list[tuple[bytes, bytes]]:
    return [
        (name, value) for name, value in scope["headers"] if not name.lower().startswith(FORWARDED)
    ]


def _is_ours(path: str) -> bool:
    return path.startswith(OURS) or path in OUR_PAGES


def _session_of_feed(visit: Visit) -> str:
    if beat := surface.BEAT.fullmatch(visit.path):
        return beat[1]
    return parse_qs(visit.query, max_num_fields=20).get("session_hash", [""])[0]


def _slow_down(wait_s: float) -> None:
    if wait_s:
        raise TooOften("You ask too often.", wait_s)


def _mb(size: int) -> str:
    return f"{size / MB:.1f} MB".replace(".0 ", " ")
