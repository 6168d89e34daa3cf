"""Notices when files of weights come, change or go, by looking at names, sizes and times."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from studio.checkpoints.scan import Found, scan

EVERY_S = 2.0
SHARE = 0.02
"""Of the time that may be spent looking: a slow disk is looked at less often."""


class Watch:
    """Looks at folders in a thread of its own, from `start` to `close`."""

    def __init__(
        self, folders: tuple[Path, ...], changed: Callable[[], None], every_s: float = EVERY_S
    ) -> None:
        """`changed` is called from the thread, once what has changed has come to rest."""
        self._folders = folders
        self._changed = changed
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        told = before = self._look()
        pause = self._every_s
        while not self._ended.wait(pause):
            begun = time.monotonic()
            now = self._look()
            pause = max(self._every_s, (time.monotonic() - begun) / SHARE)
            # a file that is still being copied grows from one look to the next
            if now == before and now != told:
                told = now
                self._changed()
            before = now

    def _look(self) -> tuple[tuple[Found, ...], ...]:
        return tuple(scan(folder) for folder in self._folders)
