"""A request as the guard sees it, before anybody has read its body."""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from studio.api.access import Access, Hosts

Scope = Mapping[str, Any]

OWNER = "pochade_owner"
"""Key of the ASGI scope that says whose visit this is; "" before a login."""

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    method: str
    path: str
    """Percent-decoded, as routes match it."""
    query: str
    headers: Mapping[str, str]
    """By lower-case name; several of one name are joined by commas."""
    header_lines: int
    host: str
    """Host header without its port; empty if there is none, or more than one."""
    https: bool
    address: str
    """Of the peer; behind our own tunnel the one that the tunnel names."""

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def reads(self) -> bool:
        return self.method in {"GET", "HEAD"}

    @property
    def wants_page(self) -> bool:
        """True for a browser going to a page, as opposed to a script or a picture in one."""
        for_scripts = not self.reads or self.path.startswith(("/api/", "/gradio_api/"))
        if for_scripts and self.headers.get("sec-fetch-mode") != "navigate":
            return False
        if self.headers.get("sec-fetch-dest", "document") != "document":
            return False
        return "text/html" in self.headers.get("accept", "")


def visit_of(scope: Scope, hosts: Hosts, *, https: bool = False) -> Visit:
    """`https` says that a proxy in front speaks https for every name."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    host = host_of(headers.get("host", ""))
    tunnelled = hosts.https(host)
    return Visit(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        header_lines=len(scope["headers"]),
        host=host,
        https=https or tunnelled or scope["scheme"] == "https",
        address=_address(scope, headers.get("x-forwarded-for", "") if tunnelled else ""),
    )


def host_of(netloc: str) -> str:
    """The name in `name`, `name:port` or `[v6]:port`; empty for anything else."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return ""
    if parts.netloc != netloc or parts.username is not None or not netloc.isascii():
        return ""
    return parts.hostname or ""


def same_origin(origin: str, host_header: str) -> bool:
    """True if a page from `origin` was served under the name that this request asks for."""
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host_header}")
        page_port, here_port = page.port, here.port
    except ValueError:
        return False
    if page.scheme not in _PORTS or page.path or page.query or page.fragment:
        return False
    default = _PORTS[page.scheme]
    # a tunnel ends https for us, so the scheme that we see says nothing
    return page.hostname == here.hostname and (page_port or default) == (here_port or default)


def cookie(visit: Visit, name: str) -> str:
    """Value of a cookie, empty if it was not sent."""
    for pair in visit.headers.get("cookie", "").replace(",", ";").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""


def cookie_name(access: Access) -> str:
    """Cookies are shared by all ports of a name, so two studios on one machine need two names."""
    return f"pochade-{hashlib.sha256(b'name' + access.secret).hexdigest()[:8]}"


def sign(access: Access, purpose: str, value: str) -> str:
    return f"{value}.{_signature(access, purpose, value)}"


def signed(access: Access, purpose: str, text: str) -> str | None:
    """The value that `sign` signed for the same purpose with this install's secret."""
    value, _, signature = text.rpartition(".")
    expected = _signature(access, purpose, value)
    return value if value and hmac.compare_digest(signature.encode(), expected.encode()) else None


def set_cookie(access: Access, visit: Visit, value: str, seconds: int) -> str:
    """A Set-Cookie header; 0 seconds delete it."""
    secure = "; Secure" if visit.https else ""
    return (
        f"{cookie_name(access)}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}"
    )


def _signature(access: Access, purpose: str, value: str) -> str:
    told = f"{purpose}\0{value}".encode(errors="surrogatepass")
    return hmac.new(access.secret, told, hashlib.sha256).hexdigest()[:32]


def _address(scope: Scope, forwarded: str) -> str:
    peer = scope["client"][0] if scope.get("client") else "unknown"
    try:
        # only the last entry was written by our tunnel, the ones before it by anybody
        found = ipaddress.ip_address((forwarded.rpartition(",")[2].strip()) or peer)
    except ValueError:
        return str(peer)
    if found.version == 6:
        # one line has a whole /64, so that is one address here
        return str(ipaddress.ip_network((found, 64), strict=False).network_address)
    return str(found)
