"""How much memory something takes at its peak."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STATUS = Path("/proc/self/status")


@contextmanager
def peak_below(megabytes: int) -> Iterator[None]:
    """Fails if the process grew by more than this, at any moment of the body."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    except OSError:
        pytest.skip("the peak of memory can only be read on Linux")
    before = _kilobytes("VmRSS")
    yield
    grown = (_kilobytes("VmHWM") - before) / 1024
    assert grown < megabytes, f"grew by {grown:.0f} MB"


def _kilobytes(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text())
    assert found
    return int(found[1])
