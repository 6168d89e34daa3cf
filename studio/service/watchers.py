"""Who looks at the moment, and what has changed since."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchers:
    """Counts both by owner. Every method is thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[str, int] = {}
        self._everyone = 0
        self._watching: dict[str, int] = {}

    def changed(self, owner: str) -> None:
        """Something of this owner's moved; "" is for everybody."""
        with self._lock:
            if owner:
                self._versions[owner] = self._versions.get(owner, 0) + 1
            else:
                self._everyone += 1

    def version(self, owner: str) -> int:
        with self._lock:
            return self._versions.get(owner, 0) + self._everyone

    def watched(self, owner: str) -> bool:
        return self._watching.get(owner, 0) > 0

    @contextmanager
    def watch(self, owner: str, look: Callable[[], None]) -> Iterator[None]:
        with self._lock:
            self._watching[owner] = self._watching.get(owner, 0) + 1
        look()
        try:
            yield
        finally:
            with self._lock:
                self._watching[owner] -= 1
                if not self._watching[owner]:
                    del self._watching[owner]
            look()
