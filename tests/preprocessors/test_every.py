"""What every preprocessor promises, whoever adds one."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.requests import dump, parse, schema
from studio.discovery import open_drawer
from studio.preprocessors._preprocessor import Kind, Preprocessor
from studio.tasks._over import flat
from tests.pictures import photograph

ENTRIES = open_drawer("studio.preprocessors", Preprocessor)
OFFLINE = [entry for entry in ENTRIES.values() if entry.needs is None]


def named(entry: Preprocessor) -> str:
    return entry.id


def striped(width: int, height: int) -> Image.Image:
    rows, columns = np.indices((height, width))
    red = (rows * 7 + columns * 13) % 256
    return Image.fromarray(np.stack([red, columns % 256, rows % 256], -1).astype(np.uint8))


def see_through() -> Image.Image:
    image = striped(60, 40).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return flat(image)


PICTURES = {
    "a single pixel": Image.new("RGB", (1, 1), (200, 10, 30)),
    "thin": striped(3, 2000),
    "flat": striped(2000, 3),
    "grey all over": Image.new("RGB", (64, 48), (128, 128, 128)),
    "grey": striped(70, 50).convert("L").convert("RGB"),
    "see-through": see_through(),
    "odd": striped(97, 61),
}


def run(entry: Preprocessor, image: Image.Image, **params: Any) -> Image.Image | None:
    """The map; None where a pose found nobody, which is the right answer for most pictures."""
    assert entry.run is not None
    try:
        return entry.run(image, entry.params(**params)).image
    except InvalidRequest:
        assert entry.kind is Kind.POSE
        return None


SLOW = ("depth_estimate", "normals", "pose", "scribble", "segments", "soft_edges", "xdog")
"""Those that take longer than a few seconds for the largest pictures."""


@pytest.mark.parametrize("name", SLOW)
def test_one_that_takes_long_can_be_left(name: str) -> None:
    def check() -> None:
        raise InterruptedError

    entry = ENTRIES[name]
    assert entry.run is not None
    with pytest.raises(InterruptedError):
        entry.run(striped(97, 61), entry.params(), check)


@pytest.mark.parametrize("entry", OFFLINE, ids=named)
class TestEvery:
    @pytest.mark.parametrize("picture", PICTURES)
    def test_a_map_is_rgb_of_the_same_size(self, entry: Preprocessor, picture: str) -> None:
        image = PICTURES[picture]
        before = image.tobytes()
        made = run(entry, image)
        assert image.tobytes() == before, "the picture itself was changed"
        if made is not None:
            assert (made.mode, made.size) == ("RGB", image.size)

    def test_the_same_again_gives_the_same_bytes(self, entry: Preprocessor) -> None:
        image = photograph("astronaut")
        first, second = run(entry, image), run(entry, image)
        assert first is not None and second is not None
        assert first.tobytes() == second.tobytes()
        assert first.tobytes() != image.tobytes()

    def test_large_pictures_are_looked_at_smaller(self, entry: Preprocessor) -> None:
        if not issubclass(entry.params, _detail()):
            pytest.skip("has no detail to leave out")
        image = photograph("astronaut")
        coarse = run(entry, image, detail_px=64)
        assert coarse is not None
        assert coarse.size == image.size
        assert coarse.tobytes() != run(entry, image).tobytes()  # type: ignore[union-attr]


def _detail() -> type:
    from studio.preprocessors._preprocessor import Detail

    return Detail


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=named)
class TestContract:
    def test_it_can_run_or_says_what_it_needs(self, entry: Preprocessor) -> None:
        assert (entry.run is None) == (entry.needs is not None) == (entry.load is not None)

    def test_params_are_frozen_told_and_kept(self, entry: Preprocessor) -> None:
        params = entry.params()
        assert dataclasses.is_dataclass(params)
        assert entry.params.__dataclass_params__.frozen
        assert parse(entry.params, dump(params)) == params
        silent = [
            name
            for name, rule in schema(entry.params).get("properties", {}).items()
            if not rule.get("description")
        ]
        assert not silent

    def test_params_out_of_bounds_are_refused(self, entry: Preprocessor) -> None:
        for name, value in _outside(entry):
            with pytest.raises(InvalidRequest) as caught:
                parse(entry.params, {name: value})
            assert caught.value.field == name
        with pytest.raises(InvalidRequest):
            parse(entry.params, {"nothing_of_that_name": 1})

    def test_every_number_has_bounds(self, entry: Preprocessor) -> None:
        for name, rule in schema(entry.params).get("properties", {}).items():
            if rule.get("type") in {"number", "integer"}:
                assert {"minimum", "maximum"} <= set(rule), name

    def test_it_is_described(self, entry: Preprocessor) -> None:
        assert entry.label
        assert entry.about.endswith(".")


def _outside(entry: Preprocessor) -> Iterator[tuple[str, Any]]:
    for name, rule in schema(entry.params).get("properties", {}).items():
        if "maximum" in rule:
            yield name, rule["maximum"] + 1
            yield name, rule["minimum"] - 1
            yield name, float("nan")
        yield name, "a word"
