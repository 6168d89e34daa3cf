"""What every stylizer promises, and what the neural one does to a picture."""

from functools import cache

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.requests import parse, schema
from studio.discovery import open_drawer
from studio.paths import STYLES
from studio.stylizers import neural
from studio.stylizers._colours import lab, recoloured
from studio.stylizers._stylizer import Style, Stylizer, Watch
from tests.pictures import photograph

ALL = open_drawer("studio.stylizers", Stylizer)
ENTRIES = {name: entry for name, entry in ALL.items() if entry.run is not None}
"""Those that work on pixels; the others paint with a checkpoint, see tests/engine/test_restyling.py."""
EVERY = pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.id)
NAMES = ("night", "glass", "pencil", "mosaic", "autumn", "dots")


@cache
def example(name: str) -> Image.Image:
    with Image.open(STYLES / f"{name}.webp") as image:
        return image.convert("RGB")


@cache
def content() -> Image.Image:
    return photograph("astronaut").resize((384, 384))


def run(entry: Stylizer, image: Image.Image, *names: str, strength: float = 1.0) -> Image.Image:
    styles = tuple(Style(example(name), 1 / len(names)) for name in names)
    return entry.run(image, styles, strength, entry.params())


@EVERY
class TestEvery:
    @pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3), (97, 61)])
    def test_the_result_is_rgb_of_the_same_size(self, entry: Stylizer, size) -> None:
        made = run(entry, photograph("coffee").resize(size), "night")
        assert (made.mode, made.size) == ("RGB", size)

    def test_the_same_again_gives_the_same_bytes(self, entry: Stylizer) -> None:
        first = run(entry, content(), "glass")
        assert first.tobytes() == run(entry, content(), "glass").tobytes()
        assert first.tobytes() != content().tobytes()

    def test_no_strength_keeps_the_picture_and_more_takes_it_further(self, entry) -> None:
        kept = run(entry, content(), "night", strength=0.0)
        assert kept.tobytes() == content().tobytes()
        off = [
            np.abs(
                pixels(run(entry, content(), "night", strength=share)) - pixels(content())
            ).mean()
            for share in (0.1, 0.5, 1.0)
        ]
        assert off[0] < off[1] < off[2]

    def test_weights_decide_between_styles(self, entry: Stylizer) -> None:
        def mixed(share: float) -> np.ndarray:
            styles = (Style(example("night"), share), Style(example("glass"), 1 - share))
            return pixels(entry.run(content(), styles, 1.0, entry.params()))

        alone = pixels(run(entry, content(), "night"))
        assert np.abs(mixed(0.9) - alone).mean() < np.abs(mixed(0.1) - alone).mean()

    def test_a_grey_picture_and_a_flat_style_do_no_harm(self, entry: Stylizer) -> None:
        grey = content().convert("L").convert("RGB")
        flat = Style(Image.new("RGB", (40, 30), (20, 120, 90)), 1.0)
        made = entry.run(grey, (flat,), 1.0, entry.params())
        assert made.size == grey.size


@pytest.mark.parametrize("entry", ALL.values(), ids=lambda entry: entry.id)
def test_params_are_told_and_bounded(entry: Stylizer) -> None:
    for name, rule in schema(entry.params).get("properties", {}).items():
        assert rule["description"]
        if "enum" in rule:
            continue
        with pytest.raises(InvalidRequest):
            parse(entry.params, {name: rule["maximum"] + 1})
        with pytest.raises(InvalidRequest):
            parse(entry.params, {name: rule["minimum"] - 1})


def test_each_does_one_of_the_two() -> None:
    assert all((entry.run is None) != (entry.repaint is None) for entry in ALL.values())


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, float)


def texture(image: Image.Image) -> np.ndarray:
    """Means and correlations of colours and of how they change at three scales: a Gram matrix of
    plain filters, in logarithms, since they differ by orders of magnitude."""
    import cv2

    colours = lab(image.resize((256, 256))) / 100
    layers = [colours]
    for sigma in (1.0, 2.0, 4.0):
        soft = cv2.GaussianBlur(colours, (0, 0), sigma)
        layers += [np.abs(np.gradient(soft, axis=axis)) * 8 for axis in (0, 1)]
    flat = np.concatenate(layers, axis=-1).reshape(256 * 256, -1)
    found = np.concatenate([flat.mean(axis=0), (flat.T @ flat / len(flat)).ravel()])
    return np.log(np.abs(found) + 1e-3)


def edges(image: Image.Image) -> np.ndarray:
    import cv2

    grey = cv2.GaussianBlur(np.asarray(image.convert("L"), np.float32), (0, 0), 2)
    return np.hypot(*np.gradient(grey)).ravel()


def test_painting_moves_towards_the_style_and_keeps_the_content() -> None:
    ratios: dict[str, float] = {}
    for name in NAMES:
        made = run(ENTRIES["neural"], content(), name)
        wanted, before = texture(example(name)), texture(content())
        ratios[name] = np.abs(texture(made) - wanted).mean() / np.abs(before - wanted).mean()
        assert ratios[name] < 1, ratios
        assert np.corrcoef(edges(made), edges(content()))[0, 1] > 0.5, name
        theirs = edges(example(name).resize(made.size))
        assert abs(np.corrcoef(edges(made), theirs)[0, 1]) < 0.15, name
    assert np.mean(list(ratios.values())) < 0.6, ratios


def test_a_large_picture_keeps_its_fine_detail() -> None:
    """Painted at half the size, it is not as soft as if that were simply enlarged."""
    large = photograph("astronaut").resize((768, 768), Image.Resampling.LANCZOS)
    styles = (Style(example("night"), 1.0),)
    made = neural.run(large, styles, 1.0, neural.Neural(detail_px=384))
    half = large.resize((384, 384), Image.Resampling.LANCZOS)
    plain = neural.run(half, styles, 1.0, neural.Neural(detail_px=384)).resize(large.size)

    def fine(image: Image.Image) -> np.ndarray:
        grey = pixels(image.convert("L"))
        return grey - pixels(image.convert("L").resize((256, 256)).resize(image.size))

    def kept(image: Image.Image) -> float:
        return float(np.corrcoef(fine(image).ravel(), fine(large).ravel())[0, 1])

    assert kept(made) > kept(plain) + 0.1


def test_a_pass_of_the_network_is_stopped_in_the_middle() -> None:
    told: list[int] = []

    def check() -> None:
        if told:
            raise InterruptedError

    large = np.zeros((1536, 1536, 3), np.float32)
    look = neural.numbers(example("night"))
    with pytest.raises(InterruptedError):
        watch = Watch(check=check, tell=lambda done, steps, left: told.append(done))
        neural.painted(large, look, watch)
    assert len(told) == 1 and told[0] < neural.PARTS


def test_how_far_it_is_is_told_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    watch = Watch(tell=lambda done, steps, left: told.append((done, steps)))
    styles = (Style(example("night"), 1.0),)
    ENTRIES["neural"].run(content(), styles, 1.0, neural.Neural(), watch)
    assert told == sorted(set(told))
    assert told[-1] == (neural.PARTS, neural.PARTS)


def test_colours_take_mean_and_spread() -> None:
    made = lab(run(ENTRIES["colours"], content(), "night")).reshape(-1, 3)
    wanted = lab(example("night")).reshape(-1, 3)
    before = lab(content()).reshape(-1, 3)
    for of in (np.mean, np.std):
        assert (
            np.abs(of(made, axis=0) - of(wanted, axis=0)).sum()
            < 0.45 * np.abs(of(before, axis=0) - of(wanted, axis=0)).sum()
        )


def test_a_poster_has_as_many_colours_as_asked() -> None:
    entry = ENTRIES["poster"]
    made = entry.run(content(), (Style(example("mosaic"), 1.0),), 1.0, entry.params(colours=5))
    assert 2 <= len(np.unique(pixels(made).reshape(-1, 3), axis=0)) <= 5


def test_kept_colours_are_those_of_the_picture() -> None:
    made = run(ENTRIES["neural"], content(), "night")
    kept = lab(recoloured(made, content()))
    assert np.median(np.abs(kept[..., 1:] - lab(content())[..., 1:])) < 2
    assert np.median(np.abs(kept[..., 0] - lab(made)[..., 0])) < 2
