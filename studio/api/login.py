"""Who a visit is from, and the pages on which people log in and out."""

import base64
import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from studio.api import pages
from studio.api.access import Access
from studio.api.errors import Gone, NotSignedIn, TooOften, headers_of
from studio.api.limits import Rate, Strikes
from studio.api.logins import DAY_S, Logins, Token
from studio.api.sharing import no_longer_shared
from studio.api.visit import OWNER, Visit, cookie, cookie_name, set_cookie, sign, signed
from studio.core.errors import Refused, StudioError, Unsupported

OPEN = frozenset({"/login", "/enter", "/logout", "/api/health", "/robots.txt", "/favicon.ico"})
"""What is answered without a login. Nothing of anybody's is in it."""
VISITOR_DAYS = 365
VISIT = "pochade_visit"
"""Key of the ASGI scope under which the login routes find the guard's view of the request."""


@dataclass(frozen=True, slots=True)
class Known:
    """Whose visit it is, and the cookie to hand out with the answer, if a new one is due."""

    owner: str
    cookie: str = ""


NOBODY = Known("")


class Doorman:
    """Tells owners apart. Thread-safe; wrong passwords are counted per address."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.logins = Logins(access)
        limits = access.limits
        self.strikes = Strikes(limits.wrong_logins_per_minute, 60)
        self._newcomers = Rate(limits.visitors_per_minute / 60, limits.visitors_per_minute)

    def know(self, visit: Visit) -> Known:
        """Whose visit this is; `NOBODY` if a login is missing. Raises `Busy` for too many tries."""
        access = self._access
        if access.alone:
            return Known("local")
        token = visit.headers.get("x-pochade-local", "")
        if access.local_token and _equal(token, access.local_token):
            return Known("local")
        if access.public:
            return self._visitor(visit)
        session = signed(access, "login", cookie(visit, cookie_name(access)))
        if session and (owner := self.logins.owner(session)):
            return Known(owner)
        return self._basic(visit)

    def enter_by_name(self, visit: Visit, name: str, password: str) -> str:
        """Set-Cookie of a new login. Raises `NotSignedIn`, or `Busy` after too many wrong ones."""
        self._try(visit)
        if not self.logins.check(name, password):
            self.strikes.add(visit.address)
            raise NotSignedIn("Name or password is wrong.", "Try again.")
        return self._session(visit, self.logins.open_for_user(name))

    def look_at_token(self, visit: Visit, token: str) -> None:
        """Raises `Gone` if the token opens nothing any more, `Refused` if it is none, `Busy` after
        too many of those. Spends nothing."""
        self._try(visit)
        worth = self.logins.token(token)
        if worth is Token.UNKNOWN:
            self.strikes.add(visit.address)
            raise Refused("This link is not valid.", "Take the one that the studio printed.")
        if worth is Token.ENDED:
            raise no_longer_shared()
        if worth is Token.SPENT:
            raise _used()

    def enter_by_token(self, visit: Visit, token: str) -> str:
        """Set-Cookie of a new login. Raises as `look_at_token`."""
        self.look_at_token(visit, token)
        session = self.logins.open_by_token(token)
        if session is None:  # somebody else was quicker
            raise _used()
        return self._session(visit, session)

    def leave(self, visit: Visit) -> str:
        """Ends the login on the server too; a Set-Cookie that removes it."""
        session = signed(self._access, "login", cookie(visit, cookie_name(self._access)))
        if session:
            self.logins.close(session)
        return set_cookie(self._access, visit, "", 0)

    def _session(self, visit: Visit, session: str) -> str:
        before = signed(self._access, "login", cookie(visit, cookie_name(self._access)))
        if before:
            self.logins.close(before)
        days = self._access.limits.login_days
        return set_cookie(self._access, visit, sign(self._access, "login", session), days * DAY_S)

    def _visitor(self, visit: Visit) -> Known:
        sent = cookie(visit, cookie_name(self._access))
        if visitor := signed(self._access, "visitor", sent):
            return Known(f"visitor:{visitor}")
        if wait := self._newcomers.take(visit.address):
            raise TooOften("Too many new visitors come from your network.", wait)
        visitor = secrets.token_hex(16)
        value = sign(self._access, "visitor", visitor)
        return Known(
            f"visitor:{visitor}", set_cookie(self._access, visit, value, VISITOR_DAYS * DAY_S)
        )

    def _basic(self, visit: Visit) -> Known:
        """`Authorization: Basic`, for scripts: no login is opened."""
        kind, _, coded = visit.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return NOBODY
        self._try(visit)
        try:
            name, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
        except ValueError:
            name = password = ""
        if not self.logins.check(name, password):
            self.strikes.add(visit.address)
            return NOBODY
        return Known(f"user:{name}")

    def _try(self, visit: Visit) -> None:
        if wait := self.strikes.wait(visit.address):
            raise TooOften("Too many wrong logins came from your network.", wait)


def login_router(access: Access, doorman: Doorman) -> APIRouter:
    """GET and POST /login and /enter, POST /logout, GET /robots.txt."""
    router = APIRouter(include_in_schema=False)

    def form(next_path: str, error: StudioError | None = None, name: str = "") -> Response:
        answer = pages.login(
            next_path=next_path,
            by_name=bool(access.users),
            by_token=bool(access.one_time_tokens),
            wrong=f"{error.message} {error.hint}" if error else "",
            name=name,
            status=error.status if error else 200,
        )
        answer.headers.update(headers_of(error) if error else {})
        return answer

    @router.get("/login")
    def show(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name in the address
        if not access.needs_login or request.scope[OWNER]:
            return _go(safe_next(next))
        return form(safe_next(next))

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        fields = await _form(request)
        next_path = safe_next(fields.get("next", "/"))
        if not access.needs_login:
            return _go(next_path)
        name = fields.get("name", "")[:200]
        visit: Visit = request.scope[VISIT]
        try:
            if "token" in fields:
                token = fields["token"].rpartition("token=")[2].strip()
                made = await run_in_threadpool(doorman.enter_by_token, visit, token)
            else:
                password = fields.get("password", "")
                made = await run_in_threadpool(doorman.enter_by_name, visit, name, password)
        except StudioError as error:
            return form(next_path, error, name)
        return _go(next_path, made)

    @router.post("/logout")
    def log_out(request: Request) -> Response:
        answer = _go("/login" if access.needs_login else "/")
        if access.needs_login:
            answer.headers["Set-Cookie"] = doorman.leave(request.scope[VISIT])
            # thumbnails may lie in the browser's cache
            answer.headers["Clear-Site-Data"] = '"cache"'
        return answer

    @router.get("/enter")
    def ask_in(request: Request, token: str = "", next: str = "/") -> Response:  # noqa: A002
        """Spends nothing: messengers and mail scanners open links before people do."""
        if not access.needs_login or request.scope[OWNER]:
            return _go(safe_next(next))
        try:
            doorman.look_at_token(request.scope[VISIT], token)
        except StudioError as error:
            return pages.trouble(error)
        return pages.come_in(token, safe_next(next))

    @router.post("/enter")
    async def enter(request: Request) -> Response:
        fields = await _form(request)
        next_path, visit = safe_next(fields.get("next", "/")), request.scope[VISIT]
        if not access.needs_login or request.scope[OWNER]:
            return _go(next_path)
        token = fields.get("token", "")
        try:
            return _go(next_path, await run_in_threadpool(doorman.enter_by_token, visit, token))
        except StudioError as error:
            return pages.trouble(error)

    @router.get("/robots.txt")
    def robots() -> Response:
        return Response("User-agent: *\nDisallow: /\n", media_type="text/plain")

    return router


def login_path(visit: Visit) -> str:
    """Where a browser without a login is sent, and how it comes back."""
    wanted = safe_next(visit.target)
    return "/login" if wanted == "/" else f"/login?next={quote(wanted, safe='/')}"


def safe_next(path: str) -> str:
    """`path` if it stays in the studio, else the start page.

    Browsers drop tabs and newlines from addresses and read a backslash as a slash, so that
    "/\\t/evil.example" or "/\\\\evil.example" would lead elsewhere.
    """
    stays = path.startswith("/") and not path.startswith("//") and len(path) <= 2000
    if not stays or "\\" in path or any(sign <= " " or sign == "\x7f" for sign in path):
        return "/"
    return path


def _go(path: str, made_cookie: str = "") -> RedirectResponse:
    answer = RedirectResponse(path, 303)
    if made_cookie:
        answer.headers["Set-Cookie"] = made_cookie
    return answer


def _used() -> Gone:
    return Gone(
        "This link has been used.", "It works once; start the studio again to get a new one."
    )


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8"), expected.encode("utf-8"))


async def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Unsupported("The login is a form.", "Use the page, or HTTP Basic for scripts.")
    try:
        fields = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=8)
    except ValueError:
        raise StudioError("The form could not be read.", "Reload the page.") from None
    return {name: values[0] for name, values in fields.items()}
