"""What the web process may say while a job runs: stop, and whether somebody watches."""

import threading
from collections.abc import Callable


class JobCancelled(Exception):
    """Ends a job from inside a step. Never shown to a person."""


class Control:
    """Flags set by the thread that reads and looked at by the one that paints."""

    def __init__(self) -> None:
        self.watched = False
        self.ahead: Callable[[str], None] = lambda checkpoint_id: None
        """Hears which checkpoint will be wanted next. Must be quick, and raise nothing."""
        self.at_end: Callable[[], None] = lambda: None
        """Puts away what must not stay behind when the process exits. Takes seconds at most."""
        self._lock = threading.Lock()
        self._expected: set[str] = set()
        self._cancelled: set[str] = set()

    def expected(self, job: str) -> None:
        """This job was sent and will be run; from now on it can be cancelled."""
        with self._lock:
            self._expected.add(job)

    def cancel(self, job: str) -> None:
        """Stops a job at its next step, or before its first. One that has ended is left alone."""
        with self._lock:
            if job in self._expected:
                self._cancelled.add(job)

    def ended(self, job: str) -> None:
        with self._lock:
            self._expected.discard(job)
            self._cancelled.discard(job)

    def check(self, job: str) -> None:
        """Raises `JobCancelled` if the job was."""
        if job in self._cancelled:
            raise JobCancelled
