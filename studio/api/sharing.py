"""The share link: until when it is open, and its end."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from studio.api.errors import Gone


@dataclass(frozen=True, slots=True)
class Link:
    url: str
    until: float
    """Seconds since 1970."""


class Sharing:
    """Whether the studio is shared by a link at the moment. Thread-safe.

    What is over stays over: the tokens of its guests open nothing any more, and a new link comes
    with the next start.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells seconds since 1970."""
        self._clock = clock
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._end: Callable[[], None] = lambda: None
        self._timer: threading.Timer | None = None
        self._stopped = False

    def begin(self, url: str, seconds: float, end: Callable[[], None]) -> None:
        """The link is open, for that long at most. `end` is called once, whoever stops it."""
        with self._lock:
            stopped = self._stopped
            if not stopped:
                self._link, self._end = Link(url, self._clock() + seconds), end
                self._timer = threading.Timer(seconds, self.stop)
                self._timer.daemon = True
                self._timer.start()
        if stopped:  # while the link was being made
            end()

    @property
    def link(self) -> Link | None:
        """The open link; None before and after."""
        return None if self.over else self._link

    @property
    def over(self) -> bool:
        """True once it was stopped, or its time is up: timers sleep when the machine does."""
        link = self._link
        return self._stopped or (link is not None and self._clock() >= link.until)

    def stop(self) -> None:
        """Closes the link; closing it twice is fine."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
        if self._timer:
            self._timer.cancel()
        self._end()


def no_longer_shared() -> Gone:
    return Gone("This studio is no longer shared.", "Ask whoever sent you the link for a new one.")
