"""Large checkpoints compute in short numbers where a processor is quick with them; what is small, and
what makes pixels, in float32."""

import gc
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from studio.checkpoints.header import Damaged
from studio.costs import machine
from studio.engine import device as devices
from studio.engine import reading
from studio.engine.device import Device, choose
from studio.engine.layouts import trace
from studio.engine.loading import _sources
from studio.engine.schedulers import build
from studio.engine.slabs import Slab, arranged, outstanding
from studio.engine.upscaling import Networks
from studio.families._family import Role
from studio.samplers import find
from tests.engine.desk import Desk

SHORT: dict[str, Any] = {"dtype": torch.bfloat16, "exact": torch.float32}
WIDE: dict[str, Any] = {"dtype": torch.float32, "exact": torch.float32}


def on(desk: Desk, how: dict[str, Any]) -> Desk:
    manager = desk.runner.manager
    manager.device = manager._store.device = replace(manager.device, **how)
    return desk


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint counts as large."""
    monkeypatch.setattr(machine, "LARGE", 0)


@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpmpp_2m", "flow_euler"])
def test_a_little_noise_is_not_rounded_away(sampler: str) -> None:
    scheduler = build(find(sampler), {"beta_start": 0.00085, "beta_end": 0.012})
    scheduler.set_timesteps(20)
    mix = getattr(scheduler, "scale_noise", None)
    picture, noise = torch.ones(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    last = scheduler.timesteps[-1:]

    def under(kind: torch.dtype) -> torch.Tensor:
        one, other = picture.to(kind), noise.to(kind)
        return mix(one, last, other) if mix else scheduler.add_noise(one, other, last)

    found = under(torch.bfloat16)
    assert found.dtype is torch.bfloat16 and found.float().std() > 0
    assert torch.allclose(found.float(), under(torch.float32), atol=0.01)


@pytest.mark.usefixtures("large")
def test_a_large_one_is_painted_in_short_numbers_and_decoded_in_long_ones(desk: Desk) -> None:
    [wanted] = on(desk, WIDE).paint()
    assert desk.frames("picture")[0]["facts"]["dtype"] == "float32"
    desk.runner.manager.unload_all()
    desk.runner.manager._known.clear()
    [found] = on(desk, SHORT).paint()
    assert desk.frames("picture")[0]["facts"]["dtype"] == "bfloat16"
    formats = {part: net.dtype for part, net in desk.networks().items()}
    assert formats == {
        "unet": torch.bfloat16, "text_encoder": torch.bfloat16, "vae": torch.float32,
    }  # fmt: skip
    near = np.frombuffer(found, np.uint8).astype(int) - np.frombuffer(wanted, np.uint8)
    assert found != wanted and abs(near).mean() < 1
    # the same bytes whatever was painted before, and in whatever batch
    assert desk.paint(seed=6, count=3)[1] == found == desk.paint()[0]


def test_a_small_one_is_as_exact_as_ever(desk: Desk) -> None:
    wanted = on(desk, WIDE).paint()
    desk.runner.manager.unload_all()
    desk.runner.manager._known.clear()
    assert on(desk, SHORT).paint() == wanted
    assert desk.frames("picture")[0]["facts"]["dtype"] == "float32"


def test_what_is_made_for_a_checkpoint_computes_as_it_does(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = on(desk, SHORT).runner.manager
    checkpoint = desk.runner.catalog.get("sd")
    file = next(checkpoint.path.glob("unet/*.safetensors"))

    def found() -> torch.dtype:
        with (
            manager.use(checkpoint, Role.TEXT) as lease,
            manager.use_networks("a:b", "'b'", file, lambda: {"b": net}, lease) as lent,
        ):
            assert lease.pipeline.unet.dtype == lent["b"].weight.dtype
            return lent["b"].weight.dtype

    net = torch.nn.Linear(2, 2)
    assert found() is torch.float32
    monkeypatch.setattr(machine, "LARGE", 0)
    manager._known.pop("sd")
    assert found() is torch.bfloat16


def test_a_processor_says_what_it_is_quick_with(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    for able, quick in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"avx2": True}, torch.float32),
    ):
        monkeypatch.setattr(devices.torch.cpu, "get_capabilities", lambda able=able: able)
        found = choose("cpu")
        assert (found.dtype, found.exact) == (quick, torch.float32)
        assert found.for_pixels.dtype is torch.float32
        asked = choose("cpu", "bfloat16")
        assert (asked.dtype, asked.exact) == (torch.bfloat16, None)
        assert asked.for_pixels.dtype is torch.bfloat16
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "kinds", [(torch.float16, torch.bfloat16), (torch.bfloat16, torch.float16)]
)
def test_one_half_precision_is_read_as_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: tuple[torch.dtype, torch.dtype]
) -> None:
    monkeypatch.setattr(reading, "CHUNK", 256)  # several parts, and the last one shorter
    stored = torch.randn(1001).to(kinds[0])
    save_file({"a": stored}, tmp_path / "a.safetensors")
    sources = _sources((tmp_path / "a.safetensors",))
    found = torch.empty(1001, dtype=kinds[1])
    layout = trace(lambda state: state, sources.shapes())
    reading.FileFeed(sources, layout).pour({"a": found}, lambda: None)
    assert torch.equal(found, stored.to(kinds[1]))


def test_several_read_what_one_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READERS", 3)
    monkeypatch.setattr(reading, "WORTH_SHARING", 64)
    stored = {name: torch.randn(4, 50) for name in "abcdefg"}
    save_file(stored, tmp_path / "a.safetensors")
    sources = _sources((tmp_path / "a.safetensors",))
    feed = reading.FileFeed(sources, trace(lambda state: state, sources.shapes()))
    found = {name: torch.empty(4, 50) for name in stored}
    seen: set[int] = set()

    def slowly() -> None:
        seen.add(threading.get_ident())
        time.sleep(0.02)

    feed.pour(found, slowly)
    assert len(seen) > 1 and threading.get_ident() not in seen
    assert all(torch.equal(found[name], stored[name]) for name in stored)

    def stopped() -> None:
        raise KeyError("stopped")

    with pytest.raises(KeyError):
        feed.pour(found, stopped)
    assert feed.equals(found)
    found["d"][3, 49] += 1
    assert not feed.equals(found)
    with (tmp_path / "a.safetensors").open("rb+") as file:
        file.truncate(sources.begins[0] + 5000)
    with pytest.raises(Damaged):
        feed.pour(found, lambda: None)


def test_several_fill_what_was_made_without_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READERS", 3)
    monkeypatch.setattr(reading, "WORTH_SHARING", 64)
    stored = {name: torch.randn(4, 50) for name in "abcdefg"}
    save_file(stored, tmp_path / "a.safetensors")
    sources = _sources((tmp_path / "a.safetensors",))
    turned = trace(lambda state: {k: v.t() for k, v in state.items()}, sources.shapes())
    with torch.inference_mode():
        found = {name: torch.empty(50, 4) for name in stored}
        reading.FileFeed(sources, turned).pour(found, lambda: None)
    assert all(torch.equal(found[name], stored[name].t()) for name in stored)


def test_several_that_are_stopped_let_go_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READERS", 3)
    monkeypatch.setattr(reading, "WORTH_SHARING", 64)
    save_file({name: torch.randn(4, 50) for name in "abcdefg"}, tmp_path / "a.safetensors")
    sources = _sources((tmp_path / "a.safetensors",))
    feed = reading.FileFeed(sources, trace(lambda state: state, sources.shapes()))

    def stopped() -> None:
        raise KeyError("stopped")

    def read() -> None:
        places, size = arranged((name, (4, 50), torch.float32) for name in "abcdefg")
        feed.pour(Slab(size).tensors(places), stopped)

    before = outstanding()
    gc.disable()
    try:
        with suppress(KeyError):
            read()
        assert outstanding() == before
    finally:
        gc.enable()


def test_upscalers_make_pixels(device: Device) -> None:
    assert Networks(replace(device, **SHORT), None)._device.dtype is torch.float32  # type: ignore[arg-type]
