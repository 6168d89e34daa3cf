"""Memory that is freed is kept for the next call, and goes back between jobs."""

import ctypes
import resource
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from studio.engine import device as devices
from studio.engine.device import Device, keep_freed, trim
from studio.engine.gauge import Gauge
from studio.engine.selfcheck import anonymous_bytes

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="other C libraries have no such calls"
)


@pytest.fixture(autouse=True)
def _as_in_an_engine() -> Iterator[None]:
    keep_freed()
    yield
    for parameter, usual in ((-3, 32 << 20), (-1, 64 << 20)):  # what the C library ends up with
        ctypes.CDLL(None).mallopt(parameter, usual)
    trim()


def faults() -> int:
    """Pages that are cleared for a tensor of 80 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(20 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_what_is_freed_is_used_again_counted_and_given_back(device: Device) -> None:
    gauge = Gauge(device=device)
    assert min(faults() for _ in range(4)) < 100
    before = gauge.begin()
    faults()
    assert gauge.peak(before) > 80e6
    kept = anonymous_bytes()
    trim()
    assert kept - anonymous_bytes() > 80e6


@pytest.mark.parametrize(("most", "set_to"), [(1 << 40, [-3, -1]), (32 << 20, [-3, -1]), (0, [])])
def test_the_c_library_may_refuse(
    monkeypatch: pytest.MonkeyPatch, most: int, set_to: list[int]
) -> None:
    """To set only when memory goes back would end its adapting, and have it go back at once."""
    taken: list[int] = []

    def mallopt(parameter: int, size: int) -> int:
        if parameter == -3 and size > most:
            return 0
        taken.append(parameter)
        return 1

    monkeypatch.setattr(devices.sys, "platform", "linux")
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    keep_freed()
    monkeypatch.undo()
    assert taken == set_to
