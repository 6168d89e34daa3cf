"""Requests that start from pictures: what is decided, and what is refused in one sentence."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.app import App, compose
from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.core.records import Picture
from studio.core.requests import parse
from studio.service.studio import Studio
from studio.settings import Settings
from studio.tasks._units import Unit, idle
from studio.tasks.upscale import TASK, Upscale
from tests.engine.tiny import save_tiny_control

WANT = {"prompt": "a red fox", "checkpoint": "tiny"}


@pytest.fixture(scope="module")
def app(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A studio whose engine is never started."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        checkpoint_dirs=(checkpoints,),
        max_waiting_local=500,
    )
    save_tiny_control(settings.data_dir / "controlnet" / "tiny-union", checkpoints / "tiny")
    app = compose(settings)
    yield app
    app.close()


@pytest.fixture
def studio(app: App) -> Studio:
    return app.studio


def upload(studio: Studio, image: Image.Image, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, options.pop("format", "PNG"), **options)
    return studio.add_input("local", file.getvalue())


def picture(size: tuple[int, int] = (300, 200), mode: str = "RGB") -> Image.Image:
    drawn = Image.new(mode, size)
    ImageDraw.Draw(drawn).rectangle((0, 0, size[0] // 2, size[1] // 2), fill="white")
    return drawn


def refused(studio: Studio, task: str, **fields: Any) -> StudioError:
    with pytest.raises(StudioError) as caught:
        studio.submit("local", task, {**WANT, **fields})
    assert caught.value.message and caught.value.hint
    return caught.value


def test_a_picture_gives_its_shape_to_a_request_without_a_size(studio: Studio) -> None:
    ref = upload(studio, picture((400, 100)))
    request = studio.submit("local", "img2img", {**WANT, "image": ref}).request
    assert (request["width"], request["height"]) == (128, 64)
    own = {**WANT, "image": ref, "width": 80, "height": 96}
    request = studio.submit("local", "img2img", own).request
    assert (request["width"], request["height"]) == (80, 96)


def test_a_rotated_photograph_counts_as_it_is_shown(studio: Studio) -> None:
    sideways = Image.Exif()
    sideways[0x0112] = 6
    ref = upload(studio, picture((400, 100)), format="JPEG", exif=sideways)
    assert studio.seen_by("local").size(ref) == (100, 400)
    assert studio.seen_by("local").picture(ref).size == (100, 400)
    mask = upload(studio, picture((100, 400)))
    assert studio.mask("local", {"image": ref, "mask": mask}).share > 0


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGBA", "P", "1", "I;16", "LA"])
def test_every_mode_of_pixels_is_taken(studio: Studio, mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    drawn = picture().convert(mode)
    if mode == "I;16":  # white is 65535 there
        drawn = Image.fromarray(np.asarray(drawn) * 257)
    ref = upload(studio, drawn, format=kind)
    studio.submit("local", "img2img", {**WANT, "image": ref})
    if mode != "CMYK":
        assert 0 < studio.mask("local", {"image": ref, "mask": ref}).share < 0.6


def test_under_control_what_is_left_open_is_as_without(studio: Studio) -> None:
    ref = upload(studio, picture())
    mask = upload(studio, picture().point(lambda value: 255))
    units = [{"kind": "depth", "map": ref, "weight": 0.0}]
    over = {"image": ref}
    tasks: dict[str, dict[str, Any]] = {
        "txt2img": {"hires": {"factor": 2}},
        "img2img": over,
        "inpaint": {**over, "mask": mask},
    }
    for task, given in tasks.items():
        asked = {**WANT, **given, "seed": 1}
        plain = studio.submit("local", task, asked).request
        steered = studio.submit("local", "control", {**asked, "units": units}).request
        assert {name: steered[name] for name in plain if name != "units"} == {
            name: plain[name] for name in plain if name != "units"
        }
        assert studio.submit("local", "control", steered).request == steered
    error = refused(studio, "control", **over, units=units, hires={"factor": 2})
    assert error.field == "hires" and "from words alone" in error.message


def test_at_strength_0_one_picture_is_enough(studio: Studio) -> None:
    ref = upload(studio, picture())
    mask = upload(studio, picture().point(lambda value: 255))
    own = {"img2img": {}, "inpaint": {"mask": mask}, "outpaint": {"left": 64}, "control": {}}
    unit = {"kind": "depth", "map": ref, "weight": 0.0}
    own["control"] = {"units": [unit], "mask": mask}
    for task, fields in own.items():
        asked = {**WANT, **fields, "image": ref, "count": 4}
        job = studio.submit("local", task, {**asked, "strength": 0})
        assert job.request["count"] == 1
        assert "strength 0" in job.notes[0]
        assert studio.submit("local", task, {**asked, "strength": 0.5}).request["count"] == 4


def test_a_map_of_another_shape_than_the_picture_is_said(studio: Studio) -> None:
    here, mask = upload(studio, picture()), upload(studio, picture())
    wide = [{"kind": "edges", "map": upload(studio, picture((400, 200)))}]
    like = [{"kind": "edges", "map": upload(studio, picture((150, 100)))}]
    for task, fields in {
        "txt2img": {"width": 96, "height": 64},
        "img2img": {"image": here},
        "inpaint": {"image": here, "mask": mask, "area": "masked"},
        "outpaint": {"image": upload(studio, picture((200, 200))), "left": 100},
    }.items():
        job = studio.submit("local", task, {**WANT, **fields, "units": wide})
        assert any("another shape" in note for note in job.notes), task
        job = studio.submit("local", task, {**WANT, **fields, "units": like})
        assert not any("another shape" in note for note in job.notes), task


@pytest.mark.parametrize(
    ("start", "end", "weight", "steps", "said"),
    [
        (0.0, 1.0, 1.0, 1, 0),
        (0.0, 0.05, 1.0, 16, 1),
        (0.99, 1.0, 1.0, 16, 1),
        (0.99, 1.0, 0.0, 16, 0),
        (0.99, 1.0, 1.0, 100, 0),
    ],
)
def test_a_control_unit_that_acts_in_no_step_is_said(
    start: float, end: float, weight: float, steps: int, said: int
) -> None:
    unit = parse(Unit, {"kind": "depth", "start": start, "end": end, "weight": weight})
    notes = idle((unit,), steps)
    assert len(notes) == said
    assert all("depth" in note and f"{steps} steps" in note for note in notes)


class TestRefused:
    def test_what_is_no_reference(self, studio: Studio) -> None:
        error = refused(studio, "img2img", image="../../etc/passwd")
        assert error.field == "image" and "not the reference" in error.message

    def test_a_style_in_words_that_is_not_there(self, studio: Studio) -> None:
        here = upload(studio, picture())
        for task, field, more in (
            ("img2img", "styles", {}),
            ("style", "presets", {"method": "words"}),
        ):
            error = refused(studio, task, image=here, **{field: ["None such"]}, **more)
            assert error.field == field and "no style 'None such'" in error.message

    @pytest.mark.parametrize("ref", ["0" * 64, "0" * 32])
    def test_a_picture_that_is_not_there(self, studio: Studio, ref: str) -> None:
        here, unit = upload(studio, picture()), {"kind": "edges", "map": ref}
        for field, fields in {
            "image": {"image": ref, "mask": here},
            "mask": {"image": here, "mask": ref},
            "units": {"image": here, "mask": here, "units": [unit]},
        }.items():
            with pytest.raises(NotFound) as caught:
                studio.submit("local", "inpaint", {**WANT, **fields})
            assert caught.value.field == field

    def test_more_control_units_than_there_may_be(self, studio: Studio) -> None:
        error = refused(studio, "control", units=[{"kind": "edges"}] * 5)
        assert (error.field, error.message) == ("units", "Units may be at most 4 (got 5).")
        error = refused(studio, "control", units=["edges"])
        assert error.message == "Units 0 must be an object (got 'edges')."

    def test_a_picture_of_somebody_else(self, studio: Studio) -> None:
        ref = upload(studio, picture((77, 50)))
        with pytest.raises(NotFound):
            studio.submit("user:eve", "img2img", {**WANT, "image": ref})

    def test_a_missing_mask(self, studio: Studio) -> None:
        error = refused(studio, "inpaint", image=upload(studio, picture()))
        assert error.field == "mask" and "missing" in error.message

    def test_an_empty_mask(self, studio: Studio) -> None:
        refs = upload(studio, picture()), upload(studio, Image.new("L", (300, 200)))
        error = refused(studio, "inpaint", image=refs[0], mask=refs[1])
        assert error.field == "mask" and "empty" in error.message
        studio.submit(
            "local", "inpaint", {**WANT, "image": refs[0], "mask": refs[1], "invert": True}
        )

    def test_a_mask_of_another_size(self, studio: Studio) -> None:
        refs = upload(studio, picture()), upload(studio, picture((200, 300)))
        error = refused(studio, "inpaint", image=refs[0], mask=refs[1])
        assert error.field == "mask"
        assert "200×300" in error.message and "300×200" in error.message

    @pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan"), "much", True])
    def test_a_strength_that_is_none(self, studio: Studio, strength: Any) -> None:
        error = refused(studio, "img2img", image="0" * 64, strength=strength)
        assert error.field == "strength"

    def test_a_way_to_resize_that_is_none(self, studio: Studio) -> None:
        error = refused(studio, "img2img", image="0" * 64, resize="liquid")
        assert "stretch, crop or pad" in error.message

    def test_adding_nothing(self, studio: Studio) -> None:
        error = refused(studio, "outpaint", image=upload(studio, picture()))
        assert "Nothing is added" in error.message

    @pytest.mark.parametrize("px", [-1, 10_000])
    def test_adding_too_little_or_too_much(self, studio: Studio, px: int) -> None:
        error = refused(studio, "outpaint", image=upload(studio, picture()), left=px)
        assert error.field == "left" and "between 0 and 4096" in error.message

    def test_a_result_that_is_too_large(self, studio: Studio) -> None:
        image = upload(studio, picture((5000, 20)))
        error = refused(studio, "outpaint", image=image, left=1, right=4096)
        assert error.field == "right" and "9097×20" in error.message

    def test_a_checkpoint_that_cannot_do_it(self, studio: Studio, checkpoints: Path) -> None:
        roles = {row["id"]: row["roles"] for row in studio.choices()["checkpoints"]}
        assert roles["tiny"] == sorted(roles["tiny"]) and "inpaint" in roles["tiny"]


def test_padding_larger_than_the_picture_takes_all_of_it(studio: Studio) -> None:
    refs = upload(studio, picture()), upload(studio, picture())
    seen = studio.mask("local", {"image": refs[0], "mask": refs[1], "padding_px": 2048})
    assert seen.box.corners == (0, 0, 300, 200)


def test_a_picture_of_one_pixel(studio: Studio) -> None:
    ref = upload(studio, Image.new("RGB", (1, 1), "white"))
    request = studio.submit("local", "inpaint", {**WANT, "image": ref, "mask": ref}).request
    assert (request["width"], request["height"]) == (64, 64)


def test_what_a_picture_was_made_from_is_kept(app: App) -> None:
    ref = upload(app.studio, picture((90, 90)))
    job = app.studio.submit("local", "img2img", {**WANT, "image": ref})
    made = Picture(index=0, seed=1, width=2, height=1, pixels=bytes(6))
    album: Any = app.worker._album
    record = album.add(
        owner="local", job_id=job.id, task="img2img", request=dict(job.request), picture=made
    )
    assert app.studio.record("local", record.id).parents == (ref,)
    # and the picture can itself be painted over, by its id
    app.studio.submit("local", "img2img", {**WANT, "image": record.id})
    with pytest.raises(InvalidRequest):
        app.studio.submit("local", "img2img", {**WANT, "image": record.id[:-1]})


def test_what_painting_details_takes_is_told_for_all_tiles(studio: Studio) -> None:
    wish = {"image": upload(studio, picture((300, 200))), "scale": 2.0, "prompt": "a fox"}
    wish |= {"checkpoint": "tiny", "steps": 4}
    assert studio.estimate("local", "upscale", wish)["peak_bytes"] == 0  # nothing is painted
    detailed = studio.estimate("local", "upscale", {**wish, "strength": 0.5})
    assert detailed["peak_bytes"] > 0 and "MB" in detailed["words"]
    wish = parse(Upscale, {**wish, "strength": 0.5})
    work = TASK.resolve(wish, studio.seen_by("local")).work
    assert work and len(work.passes) > 1 and {one.calls for one in work.passes} == {2}
