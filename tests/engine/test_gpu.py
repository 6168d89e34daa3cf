"""What only a GPU can show. Run with `-m gpu`; STUDIO_TEST_DEVICE=cuda takes the tests around there too."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.checkpoints.catalog import Catalog
from studio.checkpoints.hashes import Hashes
from studio.costs.plan import Plan
from studio.engine import transfer
from studio.engine.device import Device, choose, release_memory, vram
from studio.engine.gauge import Gauge
from studio.engine.manager import Manager
from studio.engine.runner import JobTools
from studio.engine.slabs import Slab, arranged
from studio.engine.transfer import Uploads
from studio.engine.weights import Blob
from studio.families._family import Role
from studio.paths import CONFIGS
from tests.bench.engine import Engine
from tests.engine.adapters import ATTENTION, TEXT, save_kohya
from tests.engine.desk import REQUEST
from tests.engine.tiny import save_tiny_sd

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
SIZE = 200 << 20


@pytest.fixture(scope="module")
def gpu() -> Device:
    return choose("cuda")


def filled(size: int = SIZE) -> Blob:
    """Random bytes on their way."""
    places, end = arranged([("it", (size,), torch.uint8)])
    slab = Slab(end)
    slab.bytes.random_(0, 255)
    return Blob(slab, places, device="cuda")


@contextmanager
def at_most(size_bytes: int) -> Iterator[None]:
    """So much of the GPU's memory is this process's."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(size_bytes / torch.cuda.mem_get_info()[1])
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_what_arrives_is_what_was_sent_while_the_gpu_computes(gpu: Device) -> None:
    uploads, blob = Uploads(gpu), filled()
    busy = torch.randn(4096, 4096, device="cuda")
    for _ in range(5):
        for _ in range(20):
            busy = torch.nn.functional.normalize(busy @ busy)
        blob.leave_device()
        uploads.bring(blob, lambda: None)
        # queued behind the copy, without waiting for it here
        total = blob.bound["it"].to(torch.int64).sum()
        assert int(total) == int(blob.host["it"].to(torch.int64).sum())
        blob.device_slab.zero_()


def test_pinned_memory_is_given_back_before_the_system_takes_it(gpu: Device) -> None:
    for _ in range(20):
        blob = filled(64 << 20)
        slab = blob.slab
        assert slab is not None and transfer._register(slab)
        address = slab.bytes.data_ptr()
        blob.drop()
        del blob, slab
        again = Slab(64 << 20)  # the system hands out the same addresses again
        again.bytes.fill_(1)
        assert transfer._register(again), hex(address)


def test_a_refusal_to_pin_is_forgotten(gpu: Device) -> None:
    slab = Slab(1 << 20)
    assert transfer._register(slab) and not transfer._register(slab)
    assert float(torch.ones(8, device="cuda").sum()) == 8.0


def test_an_upload_that_finds_no_room_leaves_none_of_it(gpu: Device) -> None:
    uploads, blob = Uploads(gpu), filled()
    uploads._pays()
    before = torch.cuda.memory_allocated()
    with at_most(SIZE // 2), pytest.raises(torch.OutOfMemoryError):
        uploads.bring(blob, lambda: None)
    assert torch.cuda.memory_allocated() == before and not blob.is_ready
    uploads.bring(blob, lambda: None)
    assert torch.equal(blob.bound["it"].cpu(), blob.host["it"])


def test_an_upload_that_is_stopped_leaves_none_of_it(gpu: Device) -> None:
    uploads, blob = Uploads(gpu), filled()
    before, asked = torch.cuda.memory_allocated(), iter(range(2))

    def check() -> None:
        if next(asked, None) is None:
            raise KeyError("stopped")

    with pytest.raises(KeyError):
        uploads.bring(blob, check)
    assert torch.cuda.memory_allocated() == before and not blob.is_ready


def test_the_gauge_knows_what_this_process_may_have(gpu: Device) -> None:
    whole = vram()[1]
    with at_most(1 << 30):
        free, most = vram()
        assert abs(most - (1 << 30)) < 1 << 20 and free <= most < whole
        gauge = Gauge(device=gpu)
        assert gauge.total() == most and gauge.free() <= most
        taken = torch.empty(512 << 20, dtype=torch.uint8, device="cuda")
        assert vram()[0] <= 512 << 20
        del taken
        assert vram()[0] >= 900 << 20


def test_swaps_leave_the_memory_as_it_was(gpu: Device, twins: Path) -> None:
    """With room for one denoiser, and another stream's copies among them."""
    catalog = Catalog((twins,))
    manager = Manager(replace(gpu, vram_budget_bytes=1), CONFIGS, Hashes(None))
    seen: list[int] = []
    for number in range(20):
        with manager.use(catalog.get("ab"[number % 2]), Role.TEXT) as lease:
            assert lease.pipeline.unet.device.type == "cuda"
            seen.append(torch.cuda.memory_allocated())
    assert len(set(seen[2:])) == 1
    manager.unload_all()
    release_memory()
    assert torch.cuda.memory_allocated() < seen[-1]


@pytest.fixture(scope="module")
def shelf_of_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    save_tiny_sd(folder / "sd")
    return folder


def painted(engine: Engine, **changes: object) -> np.ndarray:
    engine.seconds({**REQUEST, **changes})
    return np.frombuffer(engine.pictures[0], np.uint8).astype(int)


@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_twice_the_same_picture_which_is_that_of_the_processor(
    shelf_of_one: Path, dtype: str
) -> None:
    if dtype == "auto" and not torch.equal(noise(torch.float16), noise(torch.float32).half()):
        pytest.skip("this torch draws another noise in half precision")
    near = Engine(Catalog((shelf_of_one,)), device="cuda", dtype=dtype)
    far = Engine(Catalog((shelf_of_one,)))
    for sampler in ("euler", "dpmpp_2m_karras", "euler_a"):
        one = painted(near, sampler=sampler)
        assert (one == painted(near, sampler=sampler)).all()
        assert abs(one - painted(far, sampler=sampler)).mean() < 3


def noise(dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(256, generator=torch.Generator().manual_seed(7), dtype=dtype)


PLANS = {
    "tiles": Plan(tile_px=32),
    "split": Plan(split=True),
    "drop": Plan(drop_text=True),
    "fp8": Plan(kept="fp8"),
    "blocks": Plan(kept="blocks"),
}


@pytest.mark.parametrize("name", PLANS)
def test_plans_paint_there_and_leave_nothing(
    name: str, shelf_of_one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(Catalog((shelf_of_one,)), device="cuda")
    plain = painted(engine)
    before = torch.cuda.memory_allocated()
    monkeypatch.setattr("studio.engine.plan.ladder", lambda work, means: (PLANS[name],))
    monkeypatch.setattr(JobTools, "_ways", lambda self, found: ("whole", "fp8", "blocks"))
    frugal = painted(engine)
    assert (frugal == painted(engine)).all()
    far = {"tiles": 30, "fp8": 40}.get(name, 1.5)
    assert abs(frugal - plain).mean() < far
    monkeypatch.undo()
    assert (painted(engine) == plain).all()
    assert torch.cuda.memory_allocated() <= before + (1 << 20)


def test_a_lora_leaves_the_weights_as_they_were(gpu: Device, shelf_of_one: Path) -> None:
    catalog, manager = Catalog((shelf_of_one,)), Manager(gpu, CONFIGS, Hashes(None))
    from studio.engine.adapters import load_adapter, swaps
    from studio.tasks._task import Added

    with manager.use(catalog.get("sd"), Role.TEXT) as lease:
        parts = dict(lease.weights.components)
        file = save_kohya(
            shelf_of_one / "loras" / "it.safetensors",
            {"lora_unet": (parts["unet"], ATTENTION), "lora_te": (parts["text_encoder"], TEXT)},
        )
        adapter = load_adapter(file).half().to("cuda")
        unet, words = parts["unet"], torch.zeros(1, 77, 32, dtype=torch.float16, device="cuda")
        sample = torch.randn(1, 4, 8, 8, dtype=torch.float16, device="cuda")
        before = {name: one.clone() for name, one in unet.state_dict().items()}
        with torch.inference_mode():
            plain = unet(sample, 5, words).sample
            worn = swaps([(adapter, Added(id="it", weight=1.0, text_weight=1.0))], parts, {})
            with worn.applied():
                assert not torch.equal(unet(sample, 5, words).sample, plain)
            assert torch.equal(unet(sample, 5, words).sample, plain)
        assert all(torch.equal(one, before[name]) for name, one in unet.state_dict().items())
