"""What maps show: edges where edges are, the near brighter than the far, and so on."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pictures import photograph


def made(name: str, image: Image.Image, **params: Any) -> np.ndarray:
    entry = import_module(f"studio.preprocessors.{name}").PREPROCESSOR
    return np.asarray(entry.run(image, entry.params(**params)).image).astype(float)


def disc() -> Image.Image:
    """A light disc of 60 px around (128, 128) on dark."""
    rows, columns = np.indices((256, 256))
    inside = np.hypot(rows - 128, columns - 128) < 60
    return Image.fromarray(np.where(inside, 220, 40).astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize("name", ["canny", "xdog", "soft_edges", "scribble"])
class TestEdges:
    def test_lie_on_the_outline_and_nowhere_else(self, name: str) -> None:
        found = made(name, disc())[..., 0]
        rows, columns = np.indices(found.shape)
        off = np.abs(np.hypot(rows - 128, columns - 128) - 60)
        # all round: in each of 36 directions there is something bright near the outline
        angle = np.degrees(np.arctan2(rows - 128, columns - 128)) // 10
        for way in np.unique(angle):
            assert found[(angle == way) & (off < 6)].max() > 100, way
        assert found[off > 14].max(initial=0) < 40

    def test_are_white_on_black(self, name: str) -> None:
        found = made(name, photograph("astronaut"))
        assert np.ptp(found, axis=-1).max() == 0, "grey"
        assert 0.005 < (found > 127).mean() < 0.3

    def test_agree_with_where_the_picture_is_steep(self, name: str) -> None:
        grey = np.asarray(photograph("astronaut").convert("L"), float)
        steep = np.hypot(*np.gradient(grey))
        found = made(name, photograph("astronaut"))[..., 0]
        assert steep[found > 127].mean() > 2.5 * steep[found < 10].mean()


def test_less_is_drawn_as_thresholds_rise() -> None:
    image = photograph("coffee")
    for name, setting, values in (
        ("canny", "high", (100, 300, 600)),
        ("xdog", "least", (0.002, 0.01, 0.05)),
        ("scribble", "least", (0.1, 0.3, 0.6)),
    ):
        drawn = [made(name, image, **{setting: value}).mean() for value in values]
        assert drawn[0] > drawn[1] > drawn[2], name


class TestDepth:
    def test_ground_is_near_below_and_far_above(self) -> None:
        near = made("depth_estimate", photograph("rocket"))[..., 0]
        assert near[-40:].mean() > near[40:120, 200:500].mean() + 80

    def test_what_is_in_a_cup_is_no_hole_to_the_horizon(self) -> None:
        near = made("depth_estimate", photograph("coffee"))[..., 0]
        coffee, rim, far_table = near[130:170, 240:300], near[30:40, 230:300], near[5:60, 500:590]
        assert coffee.mean() > far_table.mean() + 60
        assert abs(float(coffee.mean()) - float(rim.mean())) < 60

    def test_who_stands_before_a_wall_is_nearer(self) -> None:
        near = made("depth_estimate", photograph("astronaut"))[..., 0]
        suit, wall = near[300:400, 100:200], near[20:100, 280:350]
        assert suit.mean() > wall.mean() + 80

    def test_it_agrees_with_a_measured_scene(self) -> None:
        """A stereo pair whose depth was measured (Middlebury's motorcycle)."""
        from pathlib import Path

        from scipy.stats import spearmanr
        from skimage import data

        folder = Path(data.__path__[0])
        image = Image.open(folder / "motorcycle_left.png").convert("RGB")
        with np.load(folder / "motorcycle_disp.npz") as stored:
            shift = stored[stored.files[0]].astype(float)
        known = np.isfinite(shift) & (shift > 0)
        near = made("depth_estimate", image)[..., 0]
        assert spearmanr(near[known], shift[known])[0] > 0.55

    def test_invert_turns_it_round(self) -> None:
        image = photograph("rocket")
        both = made("depth_estimate", image) + made("depth_estimate", image, invert=True)
        assert np.abs(both - 255).max() <= 1


class TestNormals:
    def test_a_ramp_to_the_right_faces_left(self) -> None:
        ramp = Image.linear_gradient("L").rotate(90).convert("RGB")  # nearer to the right
        found = made("normals", ramp, from_depth=True)[100:150, 100:150].mean(axis=(0, 1))
        assert found[0] < 110 and abs(found[1] - 127.5) < 3 and found[2] > 200

    def test_a_wall_faces_the_viewer(self) -> None:
        wall = Image.new("RGB", (80, 60), (90, 90, 90))
        assert np.allclose(made("normals", wall, from_depth=True), [127.5, 127.5, 255], atol=1)


def test_segments_are_flat_and_few() -> None:
    found = made("segments", photograph("coffee")).reshape(-1, 3)
    assert len(np.unique(found, axis=0)) < 200
    original = np.asarray(photograph("coffee"), float).reshape(-1, 3)
    assert np.abs(found - original).mean() < 25


def test_tile_and_blur_keep_the_colours_and_lose_the_detail() -> None:
    image = photograph("coffee")
    original = np.asarray(image, float)
    for name in ("tile", "blur"):
        found = made(name, image)
        assert np.abs(found.mean(axis=(0, 1)) - original.mean(axis=(0, 1))).max() < 2
        assert (
            np.abs(np.diff(found, axis=1)).mean() < 0.6 * np.abs(np.diff(original, axis=1)).mean()
        )


def test_shuffle_keeps_the_colours_and_its_seed_decides() -> None:
    image = photograph("coffee")
    one, two = made("shuffle", image), made("shuffle", image, seed=1)
    assert np.abs(one - two).mean() > 20
    original = np.asarray(image, float)
    assert np.abs(one.mean(axis=(0, 1)) - original.mean(axis=(0, 1))).max() < 25
    grey, was = one.mean(axis=-1), original.mean(axis=-1)
    assert abs(np.corrcoef(grey.ravel(), was.ravel())[0, 1]) < 0.4
