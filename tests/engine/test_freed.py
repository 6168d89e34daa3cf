"""Memory that is freed is kept for the next call, and goes back between jobs."""

import ctypes
import resource
import sys
from collections.abc import Iterator

import pytest
import torch

from studio.engine.device import Device, keep_freed, trim
from studio.engine.gauge import Gauge
from studio.engine.selfcheck import anonymous_bytes


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


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have no such calls")
def test_what_is_freed_is_used_again_counted_and_given_back(device: Device) -> None:
    gauge = Gauge(device=device)
    assert min(faults() for _ in range(4)) < 100
    before = gauge.begin()
    faults()
    assert gauge.peak(before) > 80e6
    kept = anonymous_bytes()
    trim()
    assert kept - anonymous_bytes() > 80e6
