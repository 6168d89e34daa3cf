"""Pictures made larger: the right pixels, without seams, within memory, and no stranger's code."""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from studio.checkpoints.hashes import Hashes
from studio.core.errors import StudioError
from studio.engine import upscaling
from studio.engine.device import Device
from studio.engine.painter import _Steps
from studio.engine.upscaling import Networks
from studio.tasks._task import Span
from studio.upscalers._shelf import Shelf
from studio.upscalers._upscaler import Upscaler
from tests.engine.desk import REQUEST, Desk


@pytest.fixture
def networks(device: Device) -> Networks:
    return Networks(device, Hashes(None))


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    from skimage import data

    return Image.fromarray(data.astronaut()).crop((160, 20, 290, 140))


def enlarged(
    networks: Networks,
    upscaler: Upscaler | str,
    image: Image.Image,
    size: tuple[int, int],
    check: Callable[[], None] = lambda: None,
) -> tuple[Image.Image, list[tuple[int, int, float | None]], Any]:
    said: list[tuple[int, int, float | None]] = []
    entry = Shelf().get(upscaler) if isinstance(upscaler, str) else upscaler
    done, facts = networks.enlarge(
        entry,
        image,
        size,
        check=check,
        tell=lambda *words: said.append(words),
        loading=lambda what: None,
    )
    assert done.size == size and done.mode == image.mode
    return done, said, facts


def apart(one: Image.Image, other: Image.Image) -> np.ndarray:
    return np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int))


def tiny_state(scale: int = 2, colours: int = 3, **changes: Any) -> dict[str, torch.Tensor]:
    """Weights of a small network of Real-ESRGAN's compact kind: convolutions and PReLUs in turn."""
    random = torch.Generator().manual_seed(5)
    widths = [colours, 8, 8, 8, colours * scale**2]
    state: dict[str, torch.Tensor] = {}
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        kernel = torch.randn(outputs, inputs, 3, 3, generator=random) / 20
        state |= {
            f"body.{2 * number}.weight": kernel,
            f"body.{2 * number}.bias": kernel[:, 0, 0, 0],
        }
        if number < len(widths) - 2:
            state[f"body.{2 * number + 1}.weight"] = torch.full((outputs,), 0.2)
    return {name: values.clone() for name, values in state.items()} | changes


def stored(folder: Path, state: Any, name: str = "net.safetensors") -> Upscaler:
    """A network in the upscaler folder, as the shelf lists it."""
    file = folder / name
    if name.endswith(".safetensors"):
        save_file(state, file)
    else:
        torch.save(state, file)
    [found] = [entry for entry in Shelf((folder,)).all() if entry.id == name]
    return found


# The right pixels


@pytest.mark.parametrize("name", ["real-esrgan-quick", "real-esrgan-anime", "real-esrgan"])
def test_every_network_paints_the_same_picture_larger(
    networks: Networks, photograph: Image.Image, name: str
) -> None:
    """A wrong weight would give noise, a wrong order of rows another place."""
    small = photograph.crop((20, 20, 52, 44))
    done, said, facts = enlarged(networks, name, small, (128, 96))
    assert apart(done.resize(small.size, Image.Resampling.BOX), small).mean() < 8
    softer = small.resize((128, 96), Image.Resampling.LANCZOS)
    assert apart(done, softer).mean() > 1
    assert said[-1][:2] == (1, 1)
    assert facts["id"] == name and facts["scale"] == 4 and len(facts["sha256"]) == 64


def test_lanczos_is_pillows(networks: Networks, photograph: Image.Image) -> None:
    done, said, facts = enlarged(networks, "lanczos", photograph, (333, 307))
    assert np.array_equal(done, photograph.resize((333, 307), Image.Resampling.LANCZOS))
    assert said == [(1, 1, 0.0)] and facts == {"id": "lanczos", "label": "Lanczos"}


@pytest.mark.parametrize("size", [(520, 480), (429, 396), (140, 130), (130, 120), (780, 720)])
def test_tiles_leave_no_seam(
    networks: Networks,
    photograph: Image.Image,
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the network's own scale, between, below and beyond it."""
    whole, _, _ = enlarged(networks, "real-esrgan-quick", photograph, size)
    monkeypatch.setitem(upscaling.SIDE_PX, "cpu", 48)
    tiled, said, _ = enlarged(networks, "real-esrgan-quick", photograph, size)
    assert len(said) == 9
    assert apart(tiled, whole).max() <= 2


def test_a_network_of_another_scale_is_brought_to_the_one_asked_for(
    networks: Networks, photograph: Image.Image, tmp_path: Path
) -> None:
    for scale in (1, 2, 3):
        net = stored(tmp_path, tiny_state(scale), f"x{scale}.safetensors")
        own, _, facts = enlarged(networks, net, photograph, (130 * scale, 120 * scale))
        assert facts["scale"] == scale
        other, _, _ = enlarged(networks, net, photograph, (260, 240))
        assert apart(other, own.resize((260, 240), Image.Resampling.LANCZOS)).max() <= 2


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (17, 16)])
def test_the_smallest_pictures(networks: Networks, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (200, 40, 90))
    done, _, _ = enlarged(networks, "real-esrgan-quick", image, (size[0] * 8, size[1] * 8))
    assert apart(done, Image.new("RGB", done.size, (200, 40, 90))).max() < 12


def sticker() -> Image.Image:
    """A red disc; what is transparent around it is black."""
    across, down = np.meshgrid(np.arange(60), np.arange(50))
    inside = (across - 30) ** 2 + (down - 25) ** 2 < 400
    pixels = np.zeros((50, 60, 4), np.uint8)
    pixels[inside] = (230, 20, 20, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", ["real-esrgan-quick", "lanczos"])
def test_what_is_transparent_stays_so_and_has_no_dark_rim(networks: Networks, name: str) -> None:
    done, _, _ = enlarged(networks, name, sticker(), (240, 200))
    pixels = np.asarray(done)
    assert pixels[0, 0, 3] == 0 and pixels[100, 120, 3] == 255
    rim = (pixels[..., 3] > 100) & (pixels[..., 3] < 255)
    assert rim.any()
    assert pixels[rim][:, 0].min() > 190


# Progress, Stop and memory


def test_each_tile_is_told_and_stop_is_heard_before_the_next(
    networks: Networks, photograph: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(upscaling.SIDE_PX, "cpu", 48)
    _, said, _ = enlarged(networks, "real-esrgan-quick", photograph, (260, 240))
    assert [words[:2] for words in said] == [(n, 9) for n in range(1, 10)]
    assert said[0][2] > 0 and said[-1][2] == 0
    assert networks.steps(Shelf().get("real-esrgan-quick"), photograph.size) == 9
    asked: list[int] = []

    class Stopped(Exception):
        pass

    def check() -> None:
        asked.append(1)
        if len(asked) == 4:
            raise Stopped

    with pytest.raises(Stopped):
        enlarged(networks, "real-esrgan-quick", photograph, (260, 240), check)
    assert len(asked) == 4


def test_where_memory_runs_out_smaller_tiles_are_tried(
    networks: Networks, photograph: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm, _, _ = enlarged(networks, "real-esrgan-quick", photograph, (520, 480))
    net = networks.get(Shelf().get("real-esrgan-quick"), lambda what: None)
    sides: list[int] = []
    forward = net.descriptor.model.forward

    def greedy(values: torch.Tensor) -> torch.Tensor:
        sides.append(values.shape[-1])
        if values.shape[-1] > 80:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(values)

    monkeypatch.setattr(net.descriptor.model, "forward", greedy)
    done, said, _ = enlarged(networks, "real-esrgan-quick", photograph, (520, 480))
    assert max(sides) > 80 >= sides[-1]
    assert apart(done, calm).max() <= 2
    assert said[-1][0] == said[-1][1] == networks.steps(net.upscaler, photograph.size)


def test_a_network_is_read_once_and_anew_when_its_file_changes(
    networks: Networks, photograph: Image.Image, tmp_path: Path
) -> None:
    net = stored(tmp_path, tiny_state())
    first = networks.get(net, lambda what: None)
    assert networks.get(net, lambda what: pytest.fail("read again")) is first
    changed = {name: values * 2 for name, values in tiny_state().items()}
    net = stored(tmp_path, changed)
    assert networks.get(net, lambda what: None).sha256 != first.sha256
    networks.drop()
    said: list[str] = []
    networks.get(net, said.append)
    assert said == ["Reading net"]
    net.file.unlink()
    with pytest.raises(StudioError, match="no longer there"):
        networks.get(net, said.append)


# Other people's files


def test_a_pth_is_read_however_it_is_packed(
    networks: Networks, photograph: Image.Image, tmp_path: Path
) -> None:
    plain, _, _ = enlarged(networks, stored(tmp_path, tiny_state()), photograph, (260, 240))
    packs: list[Any] = [tiny_state(), {"params_ema": tiny_state(), "iter": 5}]
    packs.append({"state_dict": OrderedDict(tiny_state())})
    for number, pack in enumerate(packs):
        net = stored(tmp_path, pack, f"{number}.pth")
        done, _, _ = enlarged(networks, net, photograph, (260, 240))
        assert np.array_equal(done, plain)
    old = tmp_path / "old.pth"
    torch.save(tiny_state(), old, _use_new_zipfile_serialization=False)
    [net] = [entry for entry in Shelf((tmp_path,)).all() if entry.id == "old.pth"]
    assert np.array_equal(enlarged(networks, net, photograph, (260, 240))[0], plain)


class Bomb:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


@pytest.mark.parametrize("old", [False, True])
def test_code_in_a_pickle_is_not_run(networks: Networks, tmp_path: Path, old: bool) -> None:
    trace = tmp_path / "it-ran"
    torch.save(
        {"params": tiny_state(), "more": Bomb(trace)},
        tmp_path / "bomb.pth",
        _use_new_zipfile_serialization=not old,
    )
    [net] = [entry for entry in Shelf((tmp_path,)).all() if entry.file]
    with pytest.raises(StudioError) as caught:
        networks.get(net, lambda what: None)
    assert not trace.exists()
    assert "holds more than weights" in caught.value.message
    assert "run code" in caught.value.hint and str(tmp_path) not in str(caught.value)
    # the bomb would have gone off for anybody less careful
    pickle.loads(pickle.dumps(Bomb(trace)))
    assert trace.exists()


def expanded() -> dict[str, torch.Tensor]:
    """A tensor that claims a terabyte and stores four bytes."""
    return tiny_state(**{"body.0.weight": torch.zeros(1).expand(64, 3, 40_000, 40_000)})


@pytest.mark.parametrize(
    ("state", "name", "says"),
    [
        ({"foo": torch.zeros(4)}, "net.safetensors", "no upscaler of a kind that the studio knows"),
        ({"foo": torch.zeros(4)}, "net.pth", "no upscaler of a kind that the studio knows"),
        ([1, 2, 3], "net.pth", "no upscaler of a kind that the studio knows"),
        (
            {"body.0.weight": torch.zeros(4, 3, 3, 3), "body.1.weight": torch.zeros(9)},
            "net.safetensors",
            "no upscaler of a kind that the studio knows",
        ),
        (expanded(), "net.pth", "announces more than its file holds"),
        (
            {"body.99999999.rdb1.conv1.weight": torch.zeros(4)},
            "net.safetensors",
            "announces more than its file holds",
        ),
    ],
    ids=["unknown", "unknown-pth", "no-dict", "wrong-shapes", "expanded", "a-million-blocks"],
)
def test_what_is_no_upscaler_is_said(
    networks: Networks, tmp_path: Path, state: Any, name: str, says: str
) -> None:
    net = stored(tmp_path, state, name)
    with pytest.raises(StudioError, match=says) as caught:
        networks.get(net, lambda what: None)
    assert caught.value.hint.endswith(".")


def test_grey_networks_are_refused(networks: Networks, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="pictures of 1 channels"):
        networks.get(stored(tmp_path, tiny_state(colours=1)), lambda what: None)


def test_numbers_that_are_not_finite_are_no_picture(
    networks: Networks, photograph: Image.Image, tmp_path: Path
) -> None:
    broken = {name: values * float("nan") for name, values in tiny_state().items()}
    with pytest.raises(StudioError, match="not finite"):
        enlarged(networks, stored(tmp_path, broken), photograph, (260, 240))


def test_a_file_that_was_cut_off_after_it_was_listed(networks: Networks, tmp_path: Path) -> None:
    for name in ("net.safetensors", "net.pth"):
        net = stored(tmp_path, tiny_state(), name)
        net.file.write_bytes(net.file.read_bytes()[:-100])
        with pytest.raises(StudioError, match="damaged"):
            networks.get(net, lambda what: None)


def test_a_zip_with_half_of_its_tensors(networks: Networks, tmp_path: Path) -> None:
    net = stored(tmp_path, tiny_state(), "net.pth")
    rest = io.BytesIO()
    with zipfile.ZipFile(net.file) as whole, zipfile.ZipFile(rest, "w") as part:
        for entry in whole.infolist():
            if not entry.filename.endswith("data/0"):
                part.writestr(entry.filename, whole.read(entry))
    net.file.write_bytes(rest.getvalue())
    with pytest.raises(StudioError, match="damaged"):
        networks.get(net, lambda what: None)


# Whole jobs


def upscale(desk: Desk, image: Image.Image, folder: Path, **changes: Any) -> dict[str, Any]:
    """Runs one resolved upscale request; its ending."""
    fields = {"image": desk.put(image, folder), "upscaler": "lanczos", "scale": 2.0, **changes}
    desk.sent.clear()
    desk.control.expected("job")
    desk.runner.run("job", "upscale", fields, desk.files)
    desk.control.ended("job")
    return desk.sent[-1][0]


DETAILS = {name: REQUEST[name] for name in ("prompt", "checkpoint", "steps", "guidance", "sampler")}
DETAILS |= {"seed": 7, "steps": 4, "strength": 0.5}


def picture(desk: Desk) -> tuple[dict[str, Any], Image.Image]:
    [(frame, blob)] = [(frame, blob) for frame, blob in desk.sent if frame["op"] == "picture"]
    mode = "RGBA" if frame["alpha"] else "RGB"
    return frame, Image.frombytes(mode, (frame["width"], frame["height"]), blob)


def test_an_upscale_job(desk: Desk, photograph: Image.Image, tmp_path: Path) -> None:
    assert upscale(desk, photograph, tmp_path, scale=2.5)["op"] == "done"
    frame, done = picture(desk)
    assert np.array_equal(done, photograph.resize((325, 300), Image.Resampling.LANCZOS))
    assert frame["seed"] == 0 and frame["facts"]["upscaler"]["id"] == "lanczos"
    assert frame["facts"]["versions"]["torch"] == torch.__version__
    assert upscale(desk, sticker(), tmp_path, upscaler="real-esrgan-quick")["op"] == "done"
    frame, done = picture(desk)
    assert done.mode == "RGBA" and len(frame["facts"]["upscaler"]["sha256"]) == 64
    assert [frame["step"] for frame in desk.frames("progress")] == [1]


def test_what_enlarging_took_is_told_but_not_what_reading_the_network_did(
    desk: Desk, tmp_path: Path
) -> None:
    for _ in range(2):
        upscale(desk, Image.new("RGB", (20, 10)), tmp_path, upscaler="real-esrgan-quick")
    desk.runner.account()
    [row] = desk.frames("account")[-1]["measured"]
    told = (row["checkpoint"], row["pixels"], row["calls"], row["parameters"])
    assert told == ("upscaler:real-esrgan-quick", 800, 1, 0) and row["call_s"] > 0


def test_what_enlarging_took_is_known_by_the_numbers_that_it_computes_in(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = desk.runner.manager
    short = replace(manager.device, dtype=torch.bfloat16, exact=torch.float32)
    monkeypatch.setattr(manager, "device", short)
    upscale(desk, Image.new("RGB", (20, 10)), tmp_path, upscaler="lanczos")
    assert desk.frames("picture")[0]["facts"]["dtype"] == "float32"
    desk.runner.account()
    assert [row["dtype"] for row in desk.frames("account")[-1]["measured"]] == ["float32"]


def test_details_are_painted_tile_by_tile(
    desk: Desk, photograph: Image.Image, tmp_path: Path
) -> None:
    small = photograph.resize((65, 60))
    assert upscale(desk, small, tmp_path, scale=4.0, **DETAILS)["op"] == "done"
    frame, done = picture(desk)
    assert done.size == (260, 240) and frame["facts"]["tiles"] == 9
    assert upscale(desk, small, tmp_path, scale=4.0, weights="blocks", **DETAILS)["op"] == "done"
    kept, again = picture(desk)
    assert np.array_equal(again, done)
    assert kept["facts"]["plan"] == ["Blocks of the denoiser brought in one after another."]
    told = [(frame["step"], frame["steps"]) for frame in desk.frames("progress")]
    assert told == [(n, 1 + 9 * 2) for n in range(1, 20)]
    assert frame["facts"]["checkpoint"]["id"] == "sd" and frame["facts"]["upscaler"]
    again = upscale(desk, small, tmp_path, scale=4.0, **DETAILS)
    assert again["op"] == "done" and np.array_equal(picture(desk)[1], done)
    upscale(desk, small, tmp_path, scale=4.0, **DETAILS | {"seed": 8})
    assert not np.array_equal(picture(desk)[1], done)


def test_details_leave_alpha_as_it_was_enlarged(desk: Desk, tmp_path: Path) -> None:
    upscale(desk, sticker(), tmp_path)
    _, plain = picture(desk)
    upscale(desk, sticker(), tmp_path, **DETAILS)
    _, done = picture(desk)
    assert np.array_equal(done.getchannel("A"), plain.getchannel("A"))


def test_a_cancelled_upscale_makes_no_picture(
    desk: Desk, photograph: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(upscaling.SIDE_PX, "cpu", 48)
    desk.put(photograph, tmp_path)
    check, calls = desk.control.check, []

    def counted(job: str) -> None:
        calls.append(job)
        if len(calls) == 5:
            desk.control.cancel(job)
        check(job)

    monkeypatch.setattr(desk.control, "check", counted)
    assert upscale(desk, photograph, tmp_path, upscaler="real-esrgan-quick")["op"] == "cancelled"
    assert not desk.frames("picture") and 0 < len(desk.frames("progress")) < 9


# The second pass of txt2img

HIRES = {"factor": 2.0, "upscaler": "lanczos", "strength": 0.5, "steps": 4}


def test_a_second_pass_paints_over_the_enlarged_first(desk: Desk) -> None:
    [small] = desk.pictures("txt2img")
    [kept] = desk.pictures("txt2img", hires=HIRES | {"strength": 0.0})
    assert np.array_equal(kept, small.resize((128, 128), Image.Resampling.LANCZOS))
    [large] = desk.pictures("txt2img", hires=HIRES)
    assert large.size == (128, 128) and not np.array_equal(large, kept)
    [frame] = desk.frames("picture")
    assert frame["facts"]["first"]["size"] == [64, 64]
    assert frame["facts"]["upscaler"]["id"] == "lanczos"
    told = [(frame["step"], frame["steps"]) for frame in desk.frames("progress")]
    assert told == [(n, 3 + 1 + 2) for n in range(1, 7)]
    [again] = desk.pictures("txt2img", hires=HIRES)
    assert np.array_equal(again, large)


def test_a_second_pass_is_img2img_over_the_enlarged_picture(desk: Desk, tmp_path: Path) -> None:
    """The same bytes as by hand, one job after the other."""
    [small] = desk.pictures("txt2img")
    ref = desk.put(small.resize((128, 128), Image.Resampling.LANCZOS), tmp_path)
    by_hand = desk.pictures("img2img", image=ref, strength=0.5, width=128, height=128, steps=4)
    assert np.array_equal(by_hand[0], desk.pictures("txt2img", hires=HIRES)[0])


def test_pictures_with_a_second_pass_do_not_depend_on_each_other(desk: Desk) -> None:
    both = desk.pictures("txt2img", hires=HIRES, count=2)
    [second] = desk.pictures("txt2img", hires=HIRES, seed=8)
    assert np.array_equal(both[1], second)
    desk.pictures("txt2img", hires=HIRES, count=2)
    last = [frame for frame in desk.frames("progress") if frame["picture"] == 1][-1]
    assert last["step"] == last["steps"] and last["seconds_left"] == 0


def test_time_left_counts_the_passes_that_follow() -> None:
    """Of ten steps one is done, at a second each; 40 follow that cost four times as much, and a
    second picture like this one."""
    told: list[float | None] = []

    class Easel:
        watched = False

        def check(self) -> None:
            pass

        def progress(self, *, seconds_left: float | None, **_: int) -> None:
            told.append(seconds_left)

    steps = _Steps(
        steps=10,
        easel=Easel(),
        index=0,
        pictures=2,
        span=Span(after=40, weight=4.0),
        show=lambda: None,
        each_s=1.0,
    )
    steps(SimpleNamespace(num_timesteps=10), 0, None, {})
    assert told == [9 + 160 + 170]
