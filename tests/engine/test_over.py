"""Painting over pictures with real diffusers pipelines: what is kept, to the byte, and what is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from studio import samplers
from studio.core import masks
from studio.paths import BUILTIN_CHECKPOINT
from tests.engine.desk import Desk

FOUR = ("sd", "v", "two", "xl")
"""Checkpoints whose denoiser sees latents alone."""
NINE = ("sd9", "xl9")
"""Those that are told what is around the mask."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def desk(make_desk: Callable[..., Desk], shelf: Path) -> Desk:
    """One for all: nothing that was painted before changes a picture."""
    return make_desk(shelf)


def photo(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    """Something with edges and colours in it."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([columns * 5 % 256, rows * 7 % 256, (rows + columns) * 3 % 256], -1)
    image = Image.fromarray(pixels.astype(np.uint8))
    if mode == "RGBA":
        image.putalpha(Image.fromarray(((columns * 9) % 256).astype(np.uint8)))
    return image


def disc(width: int = 96, height: int = 64) -> Image.Image:
    drawn = Image.new("L", (width, height))
    ImageDraw.Draw(drawn).ellipse((width // 4, height // 4, width // 2, height // 2 + 8), fill=255)
    return drawn


def array(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image).astype(int)


class TestImageToImage:
    @pytest.mark.parametrize("checkpoint", FOUR)
    def test_the_more_strength_the_less_is_left_of_the_picture(
        self, desk: Desk, folder: Path, checkpoint: str
    ) -> None:
        """Two pictures painted over with the same noise grow alike."""
        refs = [
            desk.put(Image.new("RGB", (64, 64), colour), folder)
            for colour in ((200, 120, 40), (20, 60, 190))
        ]
        apart = []
        for strength in (0.0, 0.1, 1.0):
            ask = {"checkpoint": checkpoint, "steps": 10, "strength": strength}
            one, other = (array(desk.pictures("img2img", image=ref, **ask)[0]) for ref in refs)
            apart.append(np.abs(one - other).mean())
        assert apart[0] == np.mean([180, 60, 150])
        assert apart[1] > 2 * apart[2]

    def test_same_request_same_pixels_whatever_was_painted_before(
        self, desk: Desk, folder: Path
    ) -> None:
        ref = desk.put(photo(64, 64), folder)
        ask: dict[str, Any] = {"image": ref, "strength": 0.7, "steps": 4}
        first = desk.paint(task="img2img", count=2, **ask)
        desk.paint(seed=99)
        assert desk.paint(task="img2img", **{**ask, "seed": 8}) == first[1:]

    def test_it_counts_the_steps_that_it_takes(self, desk: Desk, folder: Path) -> None:
        ref = desk.put(photo(64, 64), folder)
        desk.paint(task="img2img", image=ref, strength=0.5, steps=8)
        told = [(frame["step"], frame["steps"]) for frame in desk.frames("progress")]
        assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]

    @pytest.mark.parametrize("steps", [1, 7, 49])
    def test_the_least_strength_takes_one_step(self, desk: Desk, folder: Path, steps: int) -> None:
        ref = desk.put(photo(64, 64), folder)
        desk.paint(task="img2img", image=ref, strength=0.001, steps=steps)
        assert [frame["steps"] for frame in desk.frames("progress")] == [1]

    @pytest.mark.parametrize("way", ["stretch", "crop", "pad"])
    def test_it_has_the_size_asked_for(self, desk: Desk, folder: Path, way: str) -> None:
        ref = desk.put(photo(200, 50), folder)
        [made] = desk.pictures("img2img", image=ref, strength=0.5, width=64, height=72, resize=way)
        assert made.size == (64, 72)

    @pytest.mark.parametrize("name", samplers.DIFFUSION)
    def test_every_sampler_starts_from_a_picture(self, desk: Desk, folder: Path, name: str) -> None:
        ref = desk.put(photo(64, 64), folder)
        for task, more in (("img2img", {}), ("inpaint", {"mask": desk.put(disc(64, 64), folder)})):
            [made] = desk.pictures(
                task, image=ref, sampler=name, steps=4, strength=0.6, checkpoint="v", **more
            )
            assert array(made).std() > 0


class TestInpaint:
    @pytest.mark.parametrize("checkpoint", FOUR + NINE)
    @pytest.mark.parametrize("content", ["original", "fill", "noise", "nothing"])
    def test_only_what_the_mask_touches_changes(
        self, desk: Desk, folder: Path, checkpoint: str, content: str
    ) -> None:
        source, drawn = photo(), disc()
        ask = {"image": desk.put(source, folder), "mask": desk.put(drawn, folder)}
        [made] = desk.pictures(
            "inpaint", checkpoint=checkpoint, content=content, strength=1.0, feather_px=4, **ask
        )
        used = masks.effective(np.asarray(drawn), invert=False, grow_px=0, feather_px=4)
        changed = (array(made) != array(source)).any(-1)
        assert not changed[used == 0].any()
        assert changed[used == 255].mean() > 0.9

    def test_the_four_contents_differ(self, desk: Desk, folder: Path) -> None:
        ask = {"image": desk.put(photo(), folder), "mask": desk.put(disc(), folder)}
        made = {
            desk.paint(task="inpaint", content=content, strength=0.7, steps=6, **ask)[0]
            for content in ("original", "fill", "noise", "nothing")
        }
        assert len(made) == 4

    def test_a_single_pixel_is_painted_too(self, desk: Desk, folder: Path) -> None:
        """diffusers looks at one pixel of each 8 × 8 square, and would leave this one out."""
        drawn = Image.new("L", (64, 64))
        drawn.putpixel((37, 21), 255)
        ask = {"image": desk.put(photo(64, 64), folder), "mask": desk.put(drawn, folder)}
        [made] = desk.pictures("inpaint", area="whole", strength=1.0, feather_px=0, **ask)
        changed = np.argwhere((array(made) != array(photo(64, 64))).any(-1)).tolist()
        assert changed == [[21, 37]]

    def test_a_transparent_picture_keeps_its_transparency(self, desk: Desk, folder: Path) -> None:
        source = photo(mode="RGBA")
        ask = {"image": desk.put(source, folder), "mask": desk.put(disc(), folder)}
        [made] = desk.pictures("inpaint", strength=1.0, feather_px=0, **ask)
        inside = np.asarray(disc()) > 0
        assert made.mode == "RGBA"
        assert (array(made)[~inside] == array(source)[~inside]).all()
        assert (array(made)[inside][:, 3] == 255).all()

    def test_strength_0_changes_nothing(self, desk: Desk, folder: Path) -> None:
        source = photo(64, 64)
        ask = {"image": desk.put(source, folder), "mask": desk.put(disc(64, 64), folder)}
        [made] = desk.pictures("inpaint", strength=0.0, area="whole", **ask)
        assert made.tobytes() == source.tobytes()

    def test_a_picture_that_is_gone_is_said(self, desk: Desk) -> None:
        ending = desk.run(task="img2img", image="0" * 64)
        assert ending["op"] == "failed"
        assert "gone" in ending["message"]


class TestOutpaint:
    @pytest.mark.parametrize("checkpoint", FOUR + NINE)
    def test_it_grows_and_keeps_what_was_there(
        self, desk: Desk, folder: Path, checkpoint: str
    ) -> None:
        source = photo()
        [made] = desk.pictures(
            "outpaint",
            checkpoint=checkpoint,
            image=desk.put(source, folder),
            left=10,
            bottom=33,
            feather_px=6,
        )
        assert made.size == (106, 97)
        kept = array(made)[: 64 - 6, 10 + 6 : 106]
        assert (kept == array(source)[: 64 - 6, 6:]).all()
        assert array(made)[64:].std() > 0

    def test_the_same_request_goes_on_in_the_same_way(self, desk: Desk, folder: Path) -> None:
        ask = {"task": "outpaint", "image": desk.put(photo(), folder), "right": 40, "top": 9}
        first = desk.paint(checkpoint="v", **ask)
        desk.paint(seed=99)
        assert desk.paint(checkpoint="v", **ask) == first

    def test_it_goes_on_in_the_tones_of_the_picture(
        self, desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask = {"task": "outpaint", "image": desk.put(photo(), folder), "right": 40}
        tuned = desk.paint(checkpoint="v", **ask)
        monkeypatch.setattr(masks, "harmonised", lambda new, drawn_out, mask: drawn_out)
        assert desk.paint(checkpoint="v", **ask) != tuned


SKIES = {
    "day": ((120, 170, 235), (120, 170, 235)),
    "night": ((14, 20, 52), (14, 20, 52)),
    "noon": ((60, 120, 215), (190, 220, 245)),
    "dusk": ((5, 8, 30), (40, 50, 90)),
}
"""Colours at the top and at the bottom."""


def sky(name: str, side_px: int) -> Image.Image:
    top, bottom = map(np.array, SKIES[name])
    share = np.linspace(0, 1, side_px)[:, None, None]
    pixels = np.broadcast_to(top * (1 - share) + bottom * share, (side_px, side_px, 3))
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def across(pixels: np.ndarray[Any, Any], side: str) -> np.ndarray[Any, Any]:
    """[depth, along the seam, 3]: the old part first, then what was added."""
    turned = pixels.swapaxes(0, 1) if side in {"left", "right"} else pixels
    return turned[::-1] if side in {"left", "top"} else turned


@pytest.mark.slow
@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
@pytest.mark.parametrize("name", SKIES)
def test_the_built_in_model_goes_on_with_a_plain_sky_without_a_seam(
    make_desk: Callable[..., Desk], folder: Path, name: str, side: str
) -> None:
    desk = make_desk(BUILTIN_CHECKPOINT.parent)
    painter = desk.runner.catalog.get(BUILTIN_CHECKPOINT.name)
    old_px = painter.native_px
    old = sky(name, old_px)
    ask = {
        "prompt": "a night sky" if name in {"night", "dusk"} else "a blue sky",
        "checkpoint": painter.id,
        "width": old_px,
        "height": old_px,
        "steps": 2 * painter.defaults.steps,
        "guidance": painter.defaults.guidance,
        "sampler": painter.defaults.sampler,
        "image": desk.put(old, folder),
        side: old_px // 2,
    }
    [made] = desk.pictures("outpaint", **ask)
    rows = across(array(made), side)
    assert (rows[: old_px - 16] == across(array(old), side)[: old_px - 16]).all()
    near = rows[old_px - 32 : old_px + 24]
    # a moon may stand in it, so the median of what lies along the seam counts
    steps = np.median(np.abs(near[6:] - near[:-6]).max(-1), axis=1)
    within = steps[:10].max()
    assert steps.max() <= within + 6


SIZES = st.tuples(st.integers(1, 150), st.integers(1, 150))


@st.composite
def asks(draw: st.DrawFn) -> dict[str, Any]:
    """A picture, a mask over it, and every setting there is."""
    size = draw(SIZES)
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    mask = Image.new("L", size)
    pen = ImageDraw.Draw(mask)
    for _ in range(draw(st.integers(1, 4))):
        corners = sorted(rng.integers(0, size[0], 2)), sorted(rng.integers(0, size[1], 2))
        box = (corners[0][0], corners[1][0], corners[0][1], corners[1][1])
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape(tuple(map(int, box)), fill=int(rng.integers(1, 256)))
    channels = draw(st.sampled_from([3, 4]))
    pixels = rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return {
        "picture": Image.fromarray(pixels),
        "drawn": mask,
        "invert": draw(st.booleans()),
        "grow_px": draw(st.integers(-6, 20)),
        "feather_px": draw(st.integers(0, 30)),
        "area": draw(st.sampled_from(["masked", "whole"])),
        "padding_px": draw(st.integers(0, 200)),
        "content": draw(st.sampled_from(["original", "fill", "noise", "nothing"])),
        "strength": draw(st.floats(0, 1)),
        "width": draw(st.sampled_from([64, 72, 128])),
        "height": draw(st.sampled_from([64, 96])),
    }


def outside_is_kept(desk: Desk, folder: Path, ask: dict[str, Any]) -> None:
    source, drawn = ask.pop("picture"), ask.pop("drawn")
    used = masks.effective(
        np.asarray(drawn),
        invert=ask["invert"],
        grow_px=ask["grow_px"],
        feather_px=ask["feather_px"],
    )
    files = {"image": desk.put(source, folder), "mask": desk.put(drawn, folder)}
    ending = desk.run(task="inpaint", **files, **ask)
    if not used.any():
        assert ending["op"] == "failed" and "empty" in ending["message"]
        return
    assert ending["op"] == "done", ending
    [(frame, blob)] = [sent for sent in desk.sent if sent[0]["op"] == "picture"]
    made = Image.frombytes("RGBA" if frame["alpha"] else "RGB", source.size, blob)
    assert made.mode == source.mode
    assert (np.asarray(made)[used == 0] == np.asarray(source)[used == 0]).all()


ANYTHING = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(ANYTHING, max_examples=50)
@given(ask=asks(), checkpoint=st.sampled_from(["sd", "v", "sd9"]))
def test_every_pixel_outside_is_kept_to_the_byte(
    desk: Desk, folder: Path, ask: dict[str, Any], checkpoint: str
) -> None:
    outside_is_kept(desk, folder, {**ask, "checkpoint": checkpoint, "steps": 2})


@pytest.mark.slow
@settings(ANYTHING, max_examples=150)
@given(ask=asks(), checkpoint=st.sampled_from(["sd", "v", "sd9"]))
def test_every_pixel_outside_is_kept_whatever_is_asked(
    desk: Desk, folder: Path, ask: dict[str, Any], checkpoint: str
) -> None:
    outside_is_kept(desk, folder, {**ask, "checkpoint": checkpoint, "steps": 2})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_outside_is_kept_on_photographs_by_the_built_in_model(
    make_desk: Callable[..., Desk], folder: Path, name: str
) -> None:
    skimage = pytest.importorskip("skimage.data")
    desk = make_desk(BUILTIN_CHECKPOINT.parent)
    picture = Image.fromarray(getattr(skimage, name)())
    rng = np.random.default_rng(len(name))
    for number in range(6):
        drawn = Image.new("L", picture.size)
        centre = rng.integers(0, picture.size)
        radius = int(rng.integers(4, 120))
        box = (*(centre - radius), *(centre + radius))
        ImageDraw.Draw(drawn).ellipse(tuple(map(int, box)), fill=255)
        outside_is_kept(
            desk,
            folder,
            {
                "picture": picture,
                "drawn": drawn,
                "invert": False,
                "grow_px": 0,
                "feather_px": int(rng.integers(0, 40)),
                "area": "masked" if number % 2 else "whole",
                "padding_px": 32,
                "content": ("original", "fill", "noise", "nothing")[number % 4],
                "strength": 0.8,
                "width": 128,
                "height": 128,
                "checkpoint": BUILTIN_CHECKPOINT.name,
                "steps": 4,
            },
        )
