"""People by rule, and what is known of every picture: the same for the same seed, and true."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")

from studio.training import compose, figures, scenes, shards
from tests.training import toys

POSES = [pose.name for pose in figures.POSES]


@pytest.mark.parametrize("name", POSES)
def test_joints_lie_on_the_figure(name: str) -> None:
    rng = np.random.default_rng(POSES.index(name))
    for style in compose.DRAWN_STYLES:
        drawn = figures.draw(figures.imagine(rng, name), 128, style)
        seen = [point for point in drawn.person.points if point.confidence > 0]
        assert len(seen) >= 14, "only what the face turns away may be missing"
        for point in seen:
            assert drawn.sprite[int(point.y), int(point.x), 3] > 128


def test_a_figure_follows_the_seed_and_fills_its_sprite() -> None:
    first, again = (figures.imagine(np.random.default_rng(5)) for _ in range(2))
    assert first == again
    one, other = figures.draw(first, 96, "3d render"), figures.draw(again, 96, "3d render")
    np.testing.assert_array_equal(one.sprite, other.sprite)
    assert one.person == other.person
    assert max(one.sprite.shape[:2]) == pytest.approx(96, abs=1)
    rows, columns = np.nonzero(one.sprite[..., 3])
    assert rows.min() <= 3
    assert columns.min() <= 3


def test_left_and_right_are_the_persons_own() -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):
        drawn = figures.draw(figures.imagine(rng, "hands on hips"), 128, "flat vector")
        right, left = drawn.person.points[2], drawn.person.points[5]
        # Seen from the front, a person's right is on the left.
        assert right.x < left.x


def test_the_far_arm_is_hidden_from_the_side() -> None:
    rng = np.random.default_rng(1)
    hidden = [
        sum(point.confidence == figures.HIDDEN for point in figures.draw(figure, 128, "sticker").person.points)
        for figure in (figures.imagine(rng, name) for name in ("waving", "walking") for _ in range(6))
    ]  # fmt: skip
    assert sum(hidden[6:]) > sum(hidden[:6])


def test_captions_keep_to_the_grammar() -> None:
    rng, grammar = np.random.default_rng(2), re.compile(figures.grammar())
    said = {figures.imagine(rng).caption for _ in range(2000)}
    assert len(said) > 800
    assert [text for text in said if not grammar.fullmatch(text)] == []


@pytest.mark.parametrize("scene", scenes.SCENES, ids=lambda s: f"{s.place.name}-{s.hour.name}")
def test_ground_comes_nearer_downwards(scene: scenes.Scene) -> None:
    painted = scenes.paint(scene, np.random.default_rng(0))
    assert painted.depth[0].max() <= 90, "what is at the top is sky, or far"
    if not scene.place.afloat:
        low = painted.depth[110:].mean(1)
        assert (np.diff(low) >= 0).all()
        assert low[-1] > 200
        assert painted.at(0.95) > painted.at(0.8) > painted.at(0.7)


def test_who_stands_lower_is_nearer_and_covers() -> None:
    rng, library = np.random.default_rng(3), toys.library()
    figure = figures.imagine(rng, "hands on hips")
    behind = compose.Placed(figure=figure, x=0.5, ground=0.8, size=0.5)
    before = compose.Placed(figure=figure, x=0.5, ground=0.97, size=0.7)
    scene = next(s for s in scenes.SCENES if s.place.name == "meadow")
    plan = compose.Plan(
        items=(),
        scene=scene,
        plain=(255, 255, 255),
        style="flat vector",
        caption="",
        people=(before, behind),
    )
    made = compose.rendered(plan, library, rng)
    far, near = made.people

    def depth_at(person: figures.Person) -> int:
        neck = person.points[1]
        return int(made.depth[int(neck.y), int(neck.x)])

    assert depth_at(near) > made.depth[10, 5]
    assert near.points[10].y > far.points[10].y
    assert far.points[9].confidence == figures.HIDDEN, "his knee is behind the other one"
    alone = compose.rendered(
        compose.replace(plan, people=(behind,)), library, np.random.default_rng(3)
    )
    assert depth_at(near) > alone.depth[int(far.points[1].y), int(far.points[1].x)]


def test_truth_is_stored_beside_pictures_only_where_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "load", lambda _folder: toys.library())
    monkeypatch.setattr(shards, "SHARD", 6)
    shards.build(tmp_path, 1, people=0.6)
    before = shards.pixel_path(tmp_path, 0).read_bytes()
    assert shards.with_truth(tmp_path) == []
    assert len(list((tmp_path / "pictures").iterdir())) == 2

    shards.build(tmp_path, 2, truth=True, people=0.6)
    assert shards.pixel_path(tmp_path, 0).read_bytes() == before
    assert shards.numbers(tmp_path) == shards.with_truth(tmp_path) == [0, 1]
    made = compose.draw(0, 6, toys.library(), 0.6)
    np.testing.assert_array_equal(shards.depth(tmp_path, 0), made.depth)
    assert [len(people) for people in shards.people(tmp_path, 0)] == [len(p) for p in made.people]
    assert any(made.people)
    with pytest.raises(ValueError, match="another folder"):
        shards.people_path(tmp_path, 0).unlink()
        shards.build(tmp_path, 1, truth=True, people=0.0)
