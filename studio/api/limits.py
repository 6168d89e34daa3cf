"""Who may ask how often, and how much at once. All clocks are monotonic."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from studio.core.errors import Busy

MOST_KEYS = 10_000
"""Owners or addresses remembered; the ones unseen for longest are forgotten, so memory is bounded."""

Clock = Callable[[], float]


class Rate:
    """A token bucket per key: `burst` at once, `per_second` in the long run."""

    def __init__(self, per_second: float, burst: float, clock: Clock = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Takes one; returns 0.0, or the seconds to wait when there was none."""
        now = self._clock()
        with self._lock:
            left, seen = self._buckets.pop(key, (self._burst, now))
            left = min(self._burst, left + (now - seen) * self._per_second)
            allowed = left >= 1
            self._buckets[key] = (left - 1 if allowed else left, now)
            if len(self._buckets) > MOST_KEYS:
                self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_second


class Strikes:
    """At most `most` failures per key within `seconds`."""

    def __init__(self, most: int, seconds: float, clock: Clock = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Seconds until another try is allowed; 0.0 if one is allowed now."""
        now = self._clock()
        with self._lock:
            failures = self._failures.get(key)
            if not failures or len(failures) < self._most:
                return 0.0
            return max(0.0, failures[0] + self._seconds - now)

    def add(self, key: str) -> None:
        with self._lock:
            failures = self._failures.setdefault(key, deque(maxlen=self._most))
            failures.append(self._clock())
            self._failures.move_to_end(key)
            if len(self._failures) > MOST_KEYS:
                self._failures.popitem(last=False)


class Gauge:
    """How much of something is going on per key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}

    def held(self, key: str) -> int:
        return self._held.get(key, 0)

    @contextmanager
    def hold(self, key: str, most: int, what: str) -> Iterator[None]:
        """Counts the body of the `with`. Raises `Busy` if `most` of them are going on already."""
        with self._lock:
            if self._held.get(key, 0) >= most:
                raise Busy(f"You already have {most} {what} open.", "Close one and try again.")
            self._held[key] = self._held.get(key, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._held[key] -= 1
                if not self._held[key]:
                    del self._held[key]
