"""Uploads, told by a stream that only writes down what is asked of it."""

from contextlib import nullcontext

import pytest
import torch

from studio.engine import transfer
from studio.engine.device import Device
from studio.engine.slabs import Slab, arranged
from studio.engine.transfer import Uploads
from studio.engine.weights import Blob


class Stream:
    def __init__(self, blob: Blob) -> None:
        self.blob, self.ready_when_waited_for = blob, list[bool]()

    def wait_stream(self, _: object) -> None:
        pass

    def synchronize(self) -> None:
        self.ready_when_waited_for.append(self.blob.is_ready)


@pytest.fixture
def blob() -> Blob:
    """Two chunks and a half, in memory that counts as pinned."""
    places, size = arranged([("a", (3, 100), torch.float16), ("b", (41,), torch.float32)])
    slab = Slab(size)
    slab.bytes.copy_(torch.arange(size) % 251)
    slab.pinned = True
    return Blob(slab, places, device="cuda")


@pytest.fixture
def stream(blob: Blob, monkeypatch: pytest.MonkeyPatch) -> Stream:
    made = Stream(blob)
    monkeypatch.setattr(transfer, "CHUNK", 400)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: made)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: made)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: None)
    return made


def test_a_network_is_made_ready_while_its_last_bytes_are_under_way(
    device: Device, blob: Blob, stream: Stream
) -> None:
    Uploads(device).bring(blob, lambda: None)
    assert stream.ready_when_waited_for == [True]
    assert blob.device_slab is not None
    assert torch.equal(blob.device_slab, blob.slab.bytes)  # type: ignore[union-attr]
    for name, tensor in blob.host.items():
        assert blob.bound[name].is_contiguous()
        assert torch.equal(blob.bound[name].view(torch.uint8), tensor.view(torch.uint8))


def test_memory_that_is_read_by_the_device_is_not_let_go_of_by_a_stop(
    device: Device, blob: Blob, stream: Stream
) -> None:
    asked = iter(range(2))

    def check() -> None:
        if next(asked, None) is None:
            raise KeyError("stopped")

    with pytest.raises(KeyError):
        Uploads(device).bring(blob, check)
    assert stream.ready_when_waited_for == [False] and not blob.is_ready
