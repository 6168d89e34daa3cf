"""People: found where they are, drawn and written as OpenPose does, and never made up."""

import json

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.preprocessors import _blazepose, dwpose, pose
from studio.preprocessors._people import (
    ABSENT,
    COLOURS,
    POINTS,
    Person,
    Point,
    draw,
    from_json,
    to_json,
)
from tests.pictures import photograph

FACE = {
    "nose": (224, 124),
    "right eye": (206, 107),
    "left eye": (243, 106),
    "right shoulder": (120, 228),
    "left shoulder": (308, 235),
}
"""Where a person sees them in the astronaut's photograph, in pixels."""


def people(image: Image.Image) -> tuple[Person, ...]:
    return pose.run(image, pose.Pose()).people


def place(person: Person, name: str) -> tuple[float, float]:
    point = person.points[POINTS.index(name)]
    assert point.confidence > 0.5, name
    return point.x, point.y


class TestFound:
    def test_face_and_shoulders_are_where_they_are(self) -> None:
        (one,) = people(photograph("astronaut"))
        for name, (x, y) in FACE.items():
            found = place(one, name)
            assert np.hypot(found[0] - x, found[1] - y) < 22, (name, found)

    def test_she_has_no_knees_in_this_picture(self) -> None:
        (one,) = people(photograph("astronaut"))
        for name in ("right knee", "left knee", "right ankle", "left ankle"):
            assert one.points[POINTS.index(name)] == ABSENT

    def test_a_mirror_swaps_left_and_right(self) -> None:
        mirrored = photograph("astronaut").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        (one,) = people(mirrored)
        assert place(one, "left shoulder")[0] > place(one, "right shoulder")[0]

    def test_a_large_picture_gives_the_same_points(self) -> None:
        (small,) = people(photograph("astronaut"))
        (large,) = people(photograph("astronaut").resize((1536, 1536)))
        for name in FACE:
            near, far = place(small, name), place(large, name)
            assert np.hypot(near[0] * 3 - far[0], near[1] * 3 - far[1]) < 45, name

    def test_several_people_are_told_apart(self) -> None:
        one = photograph("astronaut")
        both = Image.new("RGB", (1024, 512))
        both.paste(one, (0, 0))
        both.paste(one, (512, 0))
        found = people(both)
        assert sorted(place(person, "nose")[0] // 512 for person in found) == [0, 1]

    @pytest.mark.parametrize("picture", ["coffee", "chelsea", "rocket"])
    def test_nobody_is_said_and_no_empty_map_made(self, picture: str) -> None:
        with pytest.raises(InvalidRequest, match="No person was found"):
            people(photograph(picture))

    def test_what_is_hardly_anybody_is_not_looked_at_without_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[object] = []
        monkeypatch.setattr(_blazepose, "_looked_at", lambda _, view: seen.append(view))
        pixels = np.asarray(Image.effect_noise((200, 200), 90).convert("RGB"))
        assert _blazepose.find(pixels, most=8, least=0.0) == ()
        assert len(seen) == _blazepose.LOOKED_AT


class TestDrawn:
    person = Person((Point(40, 10, 0.9), Point(40, 30, 0.8), Point(20, 30, 0.7), *[ABSENT] * 15))

    def test_in_openpose_s_colours(self) -> None:
        image = np.asarray(draw([self.person], (80, 60)))
        assert tuple(image[10, 40]) == COLOURS[0]
        assert tuple(image[30, 40]) == COLOURS[1]
        limb = tuple(int(part * 0.6) for part in COLOURS[0])
        assert tuple(image[30, 30]) == limb, "from neck to right shoulder"
        assert not image[50:].any()

    def test_what_is_absent_is_not_joined(self) -> None:
        apart = Person((ABSENT, Point(40, 30, 0.8), *[ABSENT] * 16))
        assert np.count_nonzero(np.asarray(draw([apart], (80, 60))).any(axis=-1)) < 12

    def test_far_outside_of_the_picture_is_no_harm(self) -> None:
        draw([Person((Point(1e9, -1e9, 1.0),) * 18)], (80, 60))


class TestWritten:
    def test_there_and_back(self) -> None:
        written = json.loads(json.dumps(to_json([TestDrawn.person], (80, 60))))
        assert len(written["people"][0]["pose_keypoints_2d"]) == 54
        assert from_json(written, (80, 60)) == (TestDrawn.person,)

    def test_it_follows_the_size_of_the_picture(self) -> None:
        (larger,) = from_json(to_json([TestDrawn.person], (80, 60)), (160, 180))
        assert larger.points[0] == Point(80, 30, 0.9)

    def test_shares_of_the_canvas_become_pixels(self) -> None:
        shares = [value for _ in range(18) for value in (0.5, 0.25, 1.0)]
        (one,) = from_json({"people": [{"pose_keypoints_2d": shares}]}, (200, 80))
        assert one.points[0] == Point(100, 20, 1.0)

    def test_nobody_is_left_out_silently(self) -> None:
        crowd = to_json([TestDrawn.person] * 65, (80, 60))
        with pytest.raises(InvalidRequest, match="65 people"):
            from_json(crowd, (80, 60))
        crowd["people"].pop()
        assert len(from_json(crowd, (80, 60))) == 64

    def test_of_25_points_the_18_are_taken(self) -> None:
        numbers = [value for index in range(25) for value in (index, 0.0, 1.0)]
        (one,) = from_json({"people": [{"pose_keypoints_2d": numbers}]}, (200, 80))
        assert [point.x for point in one.points] == [*range(8), *range(9, 19)]

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"people": [{}]},
            {"people": 3},
            {"people": [{"pose_keypoints_2d": [1, 2]}]},
            {"people": [{"pose_keypoints_2d": ["a"] * 54}]},
            {"people": [{"pose_keypoints_2d": [float("nan")] * 54}]},
            {"people": [], "canvas_width": "wide"},
        ],
    )
    def test_nonsense_is_refused(self, data: dict) -> None:
        with pytest.raises(InvalidRequest, match="no pose"):
            from_json(data, (10, 10))


class Session:
    """An onnxruntime session that answers what it was told to, since DWPose's files are not here:
    this shows that boxes and points end up where such answers say, not that the answers are right.
    """

    def __init__(self, *answers: np.ndarray) -> None:
        self.answers = list(answers)
        self.given: np.ndarray | None = None

    def get_inputs(self):
        return [self]

    name = "input"

    def run(self, _, given):
        self.given = given["input"]
        return self.answers


def test_dwpose_reads_its_networks_answers() -> None:
    raw = np.full((1, 8400, 85), 0.0, np.float32)
    # cell (10, 20) of the finest grid: middle at (164, 84) of 640, 80 × 160 large
    raw[0, 10 * 80 + 20] = 0
    raw[0, 10 * 80 + 20, :6] = [0.5, 0.5, np.log(10), np.log(20), 0.9, 0.9]
    detector = Session(raw)
    pixels = np.zeros((320, 320, 3), np.uint8)
    (box,) = dwpose.boxes(detector, pixels, 0.5)
    assert np.allclose(box, [62, 2, 102, 82])
    assert detector.given is not None
    assert detector.given.shape == (1, 3, 640, 640)

    across = np.zeros((1, 133, 576), np.float32)
    down = np.zeros((1, 133, 768), np.float32)
    across[0, :, 288] = down[0, :, 384] = 0.8
    across[0, 0, 288] = 0.1
    one = dwpose.person(Session(across, down), pixels, box, 0.3)
    assert one.points[0] == ABSENT, "below what counts as visible"
    assert np.allclose([one.points[1].x, one.points[1].y], [82, 42])
