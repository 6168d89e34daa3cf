"""Painting over a picture with a pipeline that paints from words alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.checkpoints.catalog import families
from studio.families._family import OVER, Role
from tests.engine.desk import Desk
from tests.engine.test_families import ask, drawer
from tests.engine.test_over import array, photo

__all__ = ["drawer"]  # fixture

BEGUN = [(id_, role) for id_, family in families().items() for role in sorted(family.begun)]


def with_words_alone(monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """Takes a family's pipelines for pictures away."""
    known = families()[family]
    changed = replace(known, pipelines=dict.fromkeys(Role, known.pipelines[Role.TEXT]), begun=OVER)
    monkeypatch.setitem(families(), family, changed)


def assert_same(ours: list[list[bytes]], theirs: list[list[bytes]]) -> None:
    """But for a number's last bits: noise may have been scaled, and scaled back."""
    for [one], [other] in zip(ours, theirs, strict=True):
        apart = np.frombuffer(one, "u1").astype(int) - np.frombuffer(other, "u1")
        assert np.abs(apart).max() <= 1


@pytest.mark.parametrize(
    "sampler",
    [
        "ddim",
        "dpmpp_2m_sde_karras",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("euler", "euler_a", "dpmpp_2m", "heun", "unipc")
        ),
    ],
)
def test_it_paints_what_pipelines_for_pictures_paint(
    sampler: str,
    shelf: Path,
    make_desk: Callable[..., Desk],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = make_desk(shelf)
    wishes = [
        {"sampler": sampler, "steps": 6, **ask(role, desk, tmp_path, 64)} for role in sorted(OVER)
    ]
    theirs = [desk.paint(**wish) for wish in wishes]
    with_words_alone(monkeypatch, "sd15")
    ours = [desk.paint(**wish) for wish in wishes]
    assert_same(ours, theirs)
    assert desk.frames("progress")[-1]["step"] == desk.frames("progress")[-1]["steps"] == 5


@pytest.mark.parametrize("sampler", ["flow_euler", "flow_dpmpp_2m"])
def test_so_it_does_along_a_flow(
    sampler: str,
    drawer: Callable[[str], Path],
    make_desk: Callable[..., Desk],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = make_desk(drawer("sd3"))
    wishes = [
        {"checkpoint": "sd3", "sampler": sampler, "steps": 5, **ask(role, desk, tmp_path, 64)}
        for role in sorted(OVER)
    ]
    theirs = [desk.paint(**wish) for wish in wishes]
    with_words_alone(monkeypatch, "sd3")
    assert_same([desk.paint(**wish) for wish in wishes], theirs)


def wish(family: str, desk: Desk) -> dict[str, Any]:
    found = desk.runner.catalog.get(family)
    return {
        "checkpoint": family,
        "width": 64,
        "height": 64,
        "steps": 10,
        "guidance": found.defaults.guidance,
        "sampler": found.defaults.sampler,
    }


@pytest.mark.parametrize("family", [id_ for id_, role in BEGUN if role is Role.IMAGE])
def test_the_more_strength_the_less_is_left_of_the_picture(
    family: str, drawer: Callable[[str], Path], make_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    desk = make_desk(drawer(family))
    refs = [
        desk.put(Image.new("RGB", (64, 64), colour), tmp_path)
        for colour in ((200, 120, 40), (20, 60, 190))
    ]
    apart = []
    for strength in (0.0, 0.1, 0.6):
        one, other = (
            array(desk.pictures("img2img", image=ref, strength=strength, **wish(family, desk))[0])
            for ref in refs
        )
        apart.append(np.abs(one - other).mean())
    assert apart[0] == np.mean([180, 60, 150])
    assert apart[1] > 1.3 * apart[2]
    [whole] = desk.paint(task="img2img", image=refs[0], strength=1.0, **wish(family, desk))
    assert desk.paint(**wish(family, desk)) == [whole]


@pytest.mark.parametrize("family", [id_ for id_, role in BEGUN if role is Role.INPAINT])
def test_what_is_around_the_mask_is_seen_and_stays(
    family: str, drawer: Callable[[str], Path], make_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    desk = make_desk(drawer(family))
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle((0, 0, 31, 31), fill=255)
    drawn = desk.put(mask, tmp_path)
    painted = []
    for colour in ((200, 120, 40), (20, 60, 190)):
        picture = photo(64, 64)
        picture.paste(colour, (32, 0, 64, 64))
        [made] = desk.pictures(
            "inpaint",
            image=desk.put(picture, tmp_path),
            mask=drawn,
            strength=1.0,
            feather_px=0,
            area="whole",
            **wish(family, desk),
        )
        kept = np.asarray(mask) == 0
        assert np.array_equal(np.asarray(made)[kept], np.asarray(picture)[kept])
        painted.append(np.asarray(made)[~kept])
    # its own pixels are all new, so only what lies around them can have told them apart
    assert not np.array_equal(*painted)
