"""Locks between programs: a file that one of them holds, until it lets go or ends, however it ends."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 0.05

if sys.platform == "win32":
    import msvcrt

    def take(descriptor: int) -> bool:
        """Locks an open file; False if another program has. Closing it lets go."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def take(descriptor: int) -> bool:
        """Locks an open file; False if another program has. Closing it lets go."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


@contextmanager
def alone(file: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether nobody else is inside, here or in another program; with `wait` once that is so.

    The file is made if it is not there, and stays. Raises `OSError`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not (taken := take(descriptor)) and wait:
            time.sleep(PATIENCE_S)
        yield taken
    finally:
        os.close(descriptor)
