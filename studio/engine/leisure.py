"""Work on weights in memory that waits until nobody needs the machine."""

import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

from studio.engine.store import Entry, Store

log = logging.getLogger("pochade.engine")

PATIENCE_S = 0.1

Work = Callable[[Store, Entry], None]


class Leisure:
    """Does one thing after another, in a thread that lets those that paint go first. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], tuple[weakref.ref[Store], Entry, Work]] = {}
        self._thread: threading.Thread | None = None

    def later(self, name: str, work: Work, store: Store, entry: Entry) -> None:
        """Remembers work on a component; once, however often it is asked for until then."""
        with self._lock:
            self._waiting[name, entry.key] = (weakref.ref(store), entry, work)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="leisure", daemon=True)
                self._thread.start()

    def finish(self) -> None:
        """Waits until nothing is left to do."""
        if (thread := self._thread) is not None:
            thread.join()

    def _work(self) -> None:
        gently()
        threading.Event().wait(PATIENCE_S)
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                found, entry, work = self._waiting.pop(next(iter(self._waiting)))
            if (store := found()) is not None:
                try:
                    work(store, entry)
                except Exception:
                    log.exception("work on the %s that could wait failed", entry.part)


def wait_until_idle(store: Store, ended: threading.Event | None = None) -> None:
    """Returns when nothing is on loan, or what waits is ended."""
    while any(row.leases for row in store.rows()) and not (ended and ended.is_set()):
        threading.Event().wait(PATIENCE_S)


def gently() -> None:
    """Lets threads that paint go before this one, where the system has priorities for threads: others
    would take its number for that of a process."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
