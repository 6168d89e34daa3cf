"""The one door: what it decides before anything is queued."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from studio.app import App, compose
from studio.checkpoints.hashes import Hashes
from studio.core.errors import Busy, InvalidRequest, NotFound
from studio.service.studio import RECENT, Studio
from studio.settings import Settings

WANT = {"prompt": "a red fox", "checkpoint": "tiny"}


@pytest.fixture(scope="module")
def app(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A studio whose engine is never started."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"), checkpoint_dirs=(checkpoints,), max_waiting=3
    )
    app = compose(settings)
    yield app
    app.close()


@pytest.fixture
def studio(app: App) -> Studio:
    return app.studio


def made_by_a1111(model: str, digest: str = "", sampler: str = "Euler a") -> bytes:
    info = PngImagePlugin.PngInfo()
    named = [f"Model hash: {digest}"] if digest else []
    named += [f"Model: {model}"] if model else []
    info.add_text(
        "parameters", ", ".join([f"a fox\nSteps: 9, Sampler: {sampler}, Seed: 5", *named])
    )
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def test_what_was_left_open_is_decided(studio: Studio) -> None:
    request = dict(studio.submit("local", "txt2img", WANT).request)
    assert request["width"] == request["height"] == 64
    assert 0 <= request["seed"] < 2**32
    for name in ("hires", "typed"):
        assert request.pop(name) is None  # not asked for
    assert None not in request.values()


def test_a_resolved_request_resolves_to_itself(studio: Studio) -> None:
    first = studio.submit("local", "txt2img", WANT)
    assert studio.rerun("local", first.id).request == first.request


def test_a_size_that_does_not_fit_is_snapped_and_said(studio: Studio) -> None:
    job = studio.submit("local", "txt2img", {**WANT, "width": 129, "height": 64})
    assert job.request["width"] == 128
    assert [note for note in job.notes if note.startswith("Width 129 became 128")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "x" * 8001),
        ("prompt", "a\0b"),
        ("prompt", "a\u202eb"),
        ("prompt", "(" * 50_000),
        ("prompt", "(" * 40 + "x"),
        ("prompt", "<lora:x:1>"),
        ("negative_prompt", "<lora:x:1>"),
        ("width", 0),
        ("width", -1),
        ("height", 100_000),
        ("steps", 0),
        ("steps", 10_000),
        ("seed", -2),
        ("seed", 2**80),
        ("count", 0),
        ("count", 1000),
        ("guidance", float("nan")),
        ("guidance", float("inf")),
        ("sampler", "magic"),
        ("checkpoint", "magic"),
        ("magic", 1),
    ],
)
def test_bad_input_is_one_sentence_and_queues_nothing(
    studio: Studio, field: str, value: object
) -> None:
    before = studio.version("user:bad")
    with pytest.raises(InvalidRequest) as refused:
        studio.submit("user:bad", "txt2img", {**WANT, field: value})
    assert refused.value.message.endswith(".")
    assert refused.value.hint.endswith((".", "…"))
    assert studio.jobs("user:bad") == ()
    assert studio.version("user:bad") == before


def test_an_unknown_task_is_named(studio: Studio) -> None:
    with pytest.raises(InvalidRequest, match="no task called 'paint'"):
        studio.submit("local", "paint", WANT)


def test_too_much_for_one_job(studio: Studio) -> None:
    with pytest.raises(InvalidRequest, match="too much for one job"):
        studio.submit(
            "local",
            "txt2img",
            {**WANT, "width": 2048, "height": 2048, "steps": 150, "count": 2},
        )


def test_the_last_picture_has_a_seed_too(studio: Studio) -> None:
    asked = {**WANT, "seed": 2**63 - 3, "count": 3}
    assert studio.submit("local", "txt2img", asked).request["seed"] == 2**63 - 3
    with pytest.raises(InvalidRequest, match=f"seed {2**63}, which is too large") as refused:
        studio.submit("local", "txt2img", {**asked, "seed": 2**63 - 2})
    assert refused.value.field == "seed" and str(2**63 - 3) in refused.value.hint


def test_others_may_have_fewer_jobs_waiting(studio: Studio) -> None:
    for _ in range(3):
        studio.submit("visitor:1", "txt2img", WANT)
    with pytest.raises(Busy):
        studio.submit("visitor:1", "txt2img", WANT)
    for _ in range(5):
        studio.submit("local", "txt2img", WANT)


def test_anothers_job_does_not_exist(studio: Studio) -> None:
    job = studio.submit("user:ada", "txt2img", WANT)
    for ask in (studio.job, studio.cancel, studio.rerun, studio.preview, studio.events):
        with pytest.raises(NotFound):
            ask("user:ben", job.id)
    assert studio.live("user:ben")["jobs"] == []


def test_a_change_is_seen_by_its_owner_alone(studio: Studio) -> None:
    mine, theirs = studio.version("user:cyd"), studio.version("user:dot")
    studio.submit("user:cyd", "txt2img", WANT)
    assert studio.version("user:cyd") > mine
    assert studio.version("user:dot") == theirs


def test_a_dropped_pictures_checkpoint_is_found_by_its_name(studio: Studio) -> None:
    found = studio.read_settings(made_by_a1111("Tiny"))
    assert found.fields["checkpoint"] == "tiny"
    missing = studio.read_settings(made_by_a1111("dreamy"))
    assert "checkpoint" not in missing.fields
    assert "The checkpoint 'dreamy' is not here; the chosen one stays." in missing.notes


def test_a_dropped_pictures_sampler_that_does_not_fit_its_checkpoint_is_said(
    studio: Studio,
) -> None:
    found = studio.read_settings(made_by_a1111("Tiny", sampler="SCM"))
    assert found.fields["checkpoint"] == "tiny" and "sampler" not in found.fields
    assert "The sampler 'SCM' does not fit the checkpoint; its own is used." in found.notes


def test_a_dropped_pictures_checkpoint_is_found_by_a_hash_that_the_engine_knows(
    app: App, checkpoints: Path, tmp_path: Path
) -> None:
    studio, cache = app.studio, Hashes(tmp_path / "cache")
    unet = next((checkpoints / "tiny" / "unet").glob("*.safetensors"))
    full = cache.sha256(unet)
    theirs = app.gallery._root / "cache" / "hashes.json"
    unknown = studio.read_settings(made_by_a1111("renamed", full[:10]))
    assert "checkpoint" not in unknown.fields  # nothing was hashed to answer this
    assert not theirs.exists()
    theirs.parent.mkdir(exist_ok=True)
    shutil.copy(tmp_path / "cache" / "hashes.json", theirs)  # as the engine writes it meanwhile
    try:
        for name in ("renamed", "builtin", ""):
            found = studio.read_settings(made_by_a1111(name, full[:10]))
            assert found.fields["checkpoint"] == "tiny"
            assert not any("checkpoint" in note or "same file" in note for note in found.notes)
        other = studio.read_settings(made_by_a1111("tiny", "0123456789"))
        assert other.fields["checkpoint"] == "tiny"
        assert any(note.startswith("'tiny' is not the same file here") for note in other.notes)
        lost = studio.read_settings(made_by_a1111("", "0123456789"))
        assert (
            "The checkpoint with the hash 0123456789 is not here; the chosen one stays."
            in lost.notes
        )
    finally:
        theirs.unlink()


def test_tokens_are_counted_by_the_checkpoints_own_words(studio: Studio) -> None:
    counted = studio.tokens("tiny", "a (fox:1.2)")
    assert counted["window"] == 75
    assert 1 <= counted["used"] <= 75
    assert counted["chunks"] == 1


def test_maps_push_no_pictures_out_of_what_is_shown_as_recent(studio: Studio) -> None:
    owner = "user:maps"
    first = studio.submit(owner, "txt2img", WANT)
    studio.cancel(owner, first.id)
    image = studio.add_input(owner, made_by_a1111(""))
    maps: list[str] = []
    for _ in range(RECENT + 1):
        maps.append(studio.submit(owner, "preprocess", {"image": image}).id)
        studio.cancel(owner, maps[-1])
    assert [job["id"] for job in studio.live(owner)["recent"]] == [maps[-1], first.id]
