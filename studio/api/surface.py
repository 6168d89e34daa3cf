"""What of Gradio can be reached from outside, as data. Everything else of it answers 404 or 403.

Gradio brings some 80 routes: uploads, a file server, a fetch proxy, recordings, code editing. The
pages need the few below; a new Gradio version cannot open more than these.
"""

import json
import re
import threading
from collections import OrderedDict
from typing import Any

from studio.core.errors import NotFound, Refused, StudioError

GRADIO = "/gradio_api"
MOST_SESSIONS = 10_000

PAGES = frozenset({"/", "/config", "/theme.css", "/favicon.ico", "/manifest.json"})
STATIC = ("/assets/", "/static/", "/svelte/")
"""Files of the frontend: no secrets in them, many of them in a page."""

EVENTS = frozenset({f"{GRADIO}/queue/join", f"{GRADIO}/run/predict", f"{GRADIO}/cancel"})
"""POST, JSON with a `session_hash`."""
FEEDS = frozenset({f"{GRADIO}/queue/data"})
"""GET, open for long, `session_hash` in the query."""
BEAT = re.compile(rf"{GRADIO}/heartbeat/([A-Za-z0-9_-]{{1,64}})")
LOOKS = frozenset({f"{GRADIO}/startup-events", f"{GRADIO}/app_id", f"{GRADIO}/theme.css"})
"""GET, asked by the page after a lost connection."""

FORBIDDEN = (f"{GRADIO}/component_server", f"{GRADIO}/file", f"{GRADIO}/proxy", f"{GRADIO}/upload")
"""Known ways to read files, fetch addresses or fill the disk: refused by name, the rest is absent."""

_BUILT = re.compile(r"/assets/[^/]+-[A-Za-z0-9_-]{8,}\.(?:js|css|woff2?|ttf|wasm)")
_HASH = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_static(path: str) -> bool:
    return path.startswith(STATIC) or path == "/theme.css"


def never_changes(path: str) -> bool:
    """True for a file of Gradio's frontend whose name carries the hash of what is in it. A page
    loads a hundred of them, and a browser that may keep them keeps what it compiled, too."""
    return _BUILT.fullmatch(path) is not None


def is_feed(path: str) -> bool:
    """True for a connection of Gradio's that stays open."""
    return path in FEEDS or BEAT.fullmatch(path) is not None


def closed(method: str, path: str) -> StudioError | None:
    """Why a path that is not ours cannot be reached; None if the pages need it."""
    if method in {"GET", "HEAD"} and (path in PAGES or path.startswith(STATIC)):
        return None
    if method == "GET" and (path in FEEDS | LOOKS or BEAT.fullmatch(path)):
        return None
    if method == "POST" and path in EVENTS:
        return None
    if path.startswith(FORBIDDEN):
        return Refused("This part of the studio is closed.", "Use the page itself, or /api.")
    return NotFound("There is nothing here.", "Go to the start page.")


class PageSessions:
    """Binds Gradio's `session_hash` to the owner who brought it first.

    The hash comes from the browser's `Math.random`, and whoever knows it could read that page's
    events or stop them; for anybody but its owner it does not exist.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: OrderedDict[str, str] = OrderedDict()

    def claim(self, session: str, owner: str) -> bool:
        """Binds the session if it is free; returns whether it was. Raises `NotFound` if taken."""
        if not _HASH.fullmatch(session):
            raise NotFound("There is no such page.", "Reload it.")
        with self._lock:
            known = self._owners.get(session)
            if known is not None and known != owner:
                raise NotFound("There is no such page.", "Reload it.")
            self._owners[session] = owner
            self._owners.move_to_end(session)
            if len(self._owners) > MOST_SESSIONS:
                self._owners.popitem(last=False)
        return known is None


def session_of_event(body: bytes) -> str:
    """The `session_hash` of a Gradio event. Raises `StudioError` if the body is no event."""
    try:
        event: Any = json.loads(body)
    except (ValueError, RecursionError):
        event = None
    session = event.get("session_hash") if isinstance(event, dict) else None
    if not isinstance(session, str):
        raise StudioError("The page sent something unreadable.", "Reload it.")
    return session
