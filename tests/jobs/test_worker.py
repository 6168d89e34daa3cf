"""The worker over a real engine process: what is kept when something goes wrong."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from studio.app import compose
from studio.core.errors import StorageFailed
from studio.core.events import Event, Finished, JobState, Progress, Saved
from studio.core.records import Job
from tests.checkpoints.files import sparse
from tests.jobs.conftest import OWNER, Desk


def kinds(desk: Desk, job: Job) -> set[str]:
    """Of what was told of a job so far."""
    return {event["kind"] for _, event in desk.app.studio.events(OWNER, job.id)}


def engine_pid(desk: Desk) -> int:
    engine = desk.app.worker._engine  # pyright: ignore[reportPrivateUsage]
    assert engine is not None
    return engine.pid


def test_a_job_ends_with_its_pictures_in_the_gallery(desk: Desk) -> None:
    job = desk.ended(desk.submit(count=2, seed=5))
    assert job.state is JobState.FINISHED
    images = desk.app.studio.job_json(job)["images"]
    assert [(image["seed"], image["index"]) for image in images] == [(5, 0), (6, 1)]
    kinds = [event["kind"] for _, event in desk.app.studio.events(OWNER, job.id)]
    assert kinds[:2] == ["queued", "started"]
    assert kinds[-1] == "finished"
    assert kinds.count("saved") == 2


def test_the_file_carries_the_whole_request(desk: Desk) -> None:
    job = desk.ended(desk.submit(prompt="a red fox, (snow:1.2)", seed=9))
    image = desk.app.studio.job_json(job)["images"][0]
    with Image.open(desk.app.studio.file(OWNER, image["id"])) as picture:
        text = dict(picture.text)  # type: ignore[attr-defined]
    assert json.loads(text["pochade"])["request"] == job.request
    assert text["parameters"].splitlines()[-1].startswith("Steps: 2, Sampler: ")


def test_the_same_seed_gives_the_same_bytes_alone_and_in_a_batch(desk: Desk) -> None:
    def pixels(image_id: str) -> bytes:
        with Image.open(desk.app.studio.file(OWNER, image_id)) as picture:
            return picture.tobytes()

    batch = desk.app.studio.job_json(desk.ended(desk.submit(count=3, seed=40)))["images"]
    alone = desk.app.studio.job_json(desk.ended(desk.submit(seed=42)))["images"]
    assert pixels(batch[2]["id"]) == pixels(alone[0]["id"])
    assert pixels(batch[0]["id"]) != pixels(batch[2]["id"])


def test_running_again_gives_the_same_pixels(desk: Desk) -> None:
    first = desk.ended(desk.submit(seed=None))
    again = desk.ended(desk.app.studio.rerun(OWNER, first.id))
    assert again.request == first.request
    files = [
        desk.app.studio.file(OWNER, desk.app.studio.job_json(job)["images"][0]["id"])
        for job in (first, again)
    ]
    with Image.open(files[0]) as one, Image.open(files[1]) as two:
        assert one.tobytes() == two.tobytes()


def test_stop_acts_on_the_running_job_and_the_queue_goes_on(desk: Desk) -> None:
    long, after = desk.submit(steps=150, count=8), desk.submit()
    desk.painting(long)
    desk.app.studio.cancel(OWNER, long.id)
    assert desk.ended(long).state is JobState.CANCELLED
    assert desk.ended(after).state is JobState.FINISHED


def test_stop_right_after_asking_is_never_lost(desk: Desk) -> None:
    for pause in (0.0, 0.002, 0.01, 0.05):
        job = desk.submit(steps=150, count=4)
        time.sleep(pause)
        desk.app.studio.cancel(OWNER, job.id)
        assert desk.ended(job).state is JobState.CANCELLED


def test_a_job_ends_even_if_following_it_fails(desk: Desk, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a defect")

    with monkeypatch.context() as patched:
        patched.setattr(type(desk.app.worker), "_progress", broken)
        failed = desk.ended(desk.submit(steps=20))
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert failed.error["message"].startswith("Something went wrong (id ")
    assert desk.ended(desk.submit()).state is JobState.FINISHED


def test_a_feed_that_cannot_be_written_costs_no_picture(desk: Desk, monkeypatch) -> None:
    real = desk.app.jobs.append

    def full(_: object, job_id: str, event: Event) -> None:
        if isinstance(event, Progress | Saved | Finished) and not passes:
            raise StorageFailed("The disk is full.", "Free some space.")
        real(job_id, event)

    passes: list[bool] = []
    monkeypatch.setattr(type(desk.app.jobs), "append", full)
    job = desk.submit()
    desk.until(lambda: desk.app.studio.job_json(job)["images"])
    passes.append(True)
    assert desk.ended(job).state is JobState.FINISHED
    assert len(desk.app.studio.job_json(job)["images"]) == 1


@pytest.mark.slow
def test_an_engine_that_cannot_start_tells_why(desk: Desk, tmp_path: Path) -> None:
    if desk.app.worker.engine.device != "cpu":
        return
    here = Desk(compose(replace(desk.settings, data_dir=tmp_path, device="cuda")), desk.settings)
    try:
        job = here.submit()
        here.app.start()
        failed = here.ended(job, seconds=desk.settings.engine_start_s)
    finally:
        here.app.close()
    assert failed.error is not None
    assert "There is no device 'cuda' here" in failed.error["message"]
    assert failed.error["hint"] == "Choose auto, cpu or cuda."


def test_previews_are_made_only_while_somebody_watches(desk: Desk) -> None:
    unseen = desk.ended(desk.submit(steps=40))
    assert desk.app.studio.preview(OWNER, unseen.id) is None
    with desk.app.studio.watch(OWNER):
        seen = desk.submit(steps=150, count=8)
        desk.until(lambda: desk.app.studio.preview(OWNER, seen.id))
        jpeg = desk.app.studio.preview(OWNER, seen.id)
        desk.app.studio.cancel(OWNER, seen.id)
    assert jpeg is not None
    assert jpeg.startswith(b"\xff\xd8")
    desk.ended(seen)


@pytest.mark.parametrize(
    ("blow", "why", "advice"),
    [
        (signal.SIGKILL, "killed", "a smaller size needs less memory"),
        pytest.param(
            signal.SIGBUS, "model file was cut off", "copy the file again", marks=pytest.mark.slow
        ),
    ],
)
def test_a_killed_engine_fails_its_job_and_the_queue_goes_on(
    desk: Desk, blow: signal.Signals, why: str, advice: str
) -> None:
    struck, after = desk.submit(steps=150, count=8), desk.submit()
    desk.painting(struck)
    os.kill(engine_pid(desk), blow)
    failed = desk.ended(struck)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert why in failed.error["message"] and advice in failed.error["hint"]
    assert desk.ended(after).state is JobState.FINISHED


@pytest.mark.slow
def test_an_engine_killed_in_a_load_fails_that_job_and_the_next_one_is_fine(desk: Desk) -> None:
    """A checkpoint of full size takes its time to be read."""
    first = desk.submit()
    assert desk.ended(first).state is JobState.FINISHED
    sparse(desk.settings.data_dir / "checkpoints" / "large.safetensors", "sd15-file", "F16")
    struck, after = desk.submit(checkpoint="large"), desk.submit()
    desk.until(lambda: "loading" in kinds(desk, struck))
    os.kill(engine_pid(desk), signal.SIGKILL)
    failed = desk.ended(struck)
    assert "progress" not in kinds(desk, struck)
    assert failed.state is JobState.FAILED and failed.error
    assert "killed" in failed.error["message"] and failed.error["hint"]
    assert desk.ended(after).state is JobState.FINISHED
    assert failed.request["checkpoint"] == "large"  # it can be asked for again as it was
    assert desk.app.studio.rerun(OWNER, struck.id).request == failed.request


@pytest.mark.slow
def test_a_hung_engine_is_ended_after_stop(desk: Desk, monkeypatch, caplog) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("studio.jobs.worker.HUNG_AFTER_S", 0.5)
    hung, after = desk.submit(steps=150, count=8), desk.submit()
    desk.painting(hung)
    os.kill(engine_pid(desk), signal.SIGSTOP)
    desk.app.studio.cancel(OWNER, hung.id)
    assert desk.ended(hung).state is JobState.CANCELLED
    assert desk.ended(after).state is JobState.FINISHED
    assert "the engine ended: a job was stopped, and" in caplog.text
    assert "memory" not in caplog.text


def test_a_full_disk_loses_no_picture(desk: Desk, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    real, full = desk.app.gallery.add, [True]

    def add(*args: object, **kwargs: object) -> object:
        if full[0]:
            raise StorageFailed("The disk is full.", "Free some space.")
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(type(desk.app.gallery), "add", lambda self, *a, **k: add(*a, **k))
    job = desk.ended(desk.submit())
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert "The disk is full." in job.error["message"]
    assert desk.app.studio.job_json(job)["images"] == []
    full[0] = False
    desk.until(lambda: desk.app.studio.job_json(job)["images"])


@pytest.mark.slow
def test_closing_interrupts_and_a_new_start_goes_on(desk: Desk, tmp_path: Path) -> None:
    settings = replace(desk.settings, data_dir=tmp_path)
    app = compose(settings)
    app.start()
    here = Desk(app, settings)
    running, queued = here.submit(steps=150, count=8), here.submit()
    here.painting(running)
    app.close()
    app = compose(settings)
    here = Desk(app, settings)
    assert here.state(running) is JobState.INTERRUPTED
    assert here.state(queued) is JobState.QUEUED
    app.start()
    assert here.ended(queued).state is JobState.FINISHED
    app.close()


def test_what_jobs_took_is_learned_and_told(desk: Desk) -> None:
    desk.ended(desk.submit(steps=4, width=128, height=128))
    asked = {"prompt": "", "checkpoint": "tiny", "width": 128, "height": 128, "steps": 4}
    desk.until(lambda: desk.app.studio.estimate(OWNER, "txt2img", asked)["measured"])
    told = desk.app.studio.estimate(OWNER, "txt2img", asked)
    assert told["words"].startswith("≈ ") and told["swap_seconds"] == 0
    memory = desk.app.studio.memory(OWNER)
    [tiny] = [row for row in memory["checkpoints"] if row["id"] == "tiny"]
    assert tiny["where"] == "ram" and tiny["held_bytes"] > 0 and tiny["swap_seconds"] == 0
    assert memory["anonymous"] > 0


def test_unload_all_does(desk: Desk) -> None:
    desk.ended(desk.submit())
    desk.app.studio.pin(OWNER, "tiny", True)
    told = desk.app.studio.unload(OWNER)
    assert told["done"] and told["before"]["weights"] > 0
    assert told["after"]["weights"] == 0 and not told["after"]["components"]
    assert desk.ended(desk.submit()).state is JobState.FINISHED


def test_a_note_of_the_engine_is_kept_with_the_job(desk: Desk) -> None:
    job = desk.ended(desk.submit())
    for _ in range(2):
        desk.app.jobs.note(job.id, "Memory ran out: tiles.")
    assert desk.app.jobs.get(job.id).notes == ("Memory ran out: tiles.",)
    kinds = [event["kind"] for _, event in desk.app.studio.events(OWNER, job.id)]
    assert kinds.count("noted") == 1
