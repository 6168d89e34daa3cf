"""Jobs on disk: order, owners, states, and what a dead server leaves behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.errors import Busy, InvalidRequest, NotFound
from studio.core.events import Cancelled, Failed, Finished, JobState, Progress, Saved
from studio.core.records import Job
from studio.jobs.store import JobStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    opened = JobStore(tmp_path / "jobs.db")
    yield opened
    opened.close()


def add(store: JobStore, owner: str = "local", name: str = "a fox", limit: int = 200) -> Job:
    return store.add(owner, "txt2img", {"prompt": name}, limit=limit)


def test_a_job_is_queued_with_its_place(store: JobStore) -> None:
    first, second = add(store), add(store)
    assert (first.state, first.position, second.position) == (JobState.QUEUED, 1, 2)
    assert first.request == {"prompt": "a fox"}


def test_another_owners_job_does_not_exist(store: JobStore) -> None:
    job = add(store, "user:a")
    with pytest.raises(NotFound):
        store.get(job.id, "user:b")
    with pytest.raises(NotFound):
        store.move("user:b", job.id, None)
    assert store.of("user:b") == ()


def test_positions_are_places_in_the_round(store: JobStore) -> None:
    for _ in range(3):
        add(store, "user:a")
    late = add(store, "user:b")
    assert late.position == 2
    assert [job.position for job in store.active("user:a")] == [1, 3, 4]


def test_take_serves_the_order_it_announced(store: JobStore) -> None:
    for owner in ("user:a", "user:a", "user:b", "user:c", "user:b"):
        add(store, owner)
    announced = store.order()
    taken: list[str] = []
    while job := store.take():
        assert job.state is JobState.RUNNING
        taken.append(job.id)
        store.append(job.id, Finished(image_ids=(), seconds=0.1))
    assert tuple(taken) == announced


def test_move_reorders_only_ones_own(store: JobStore) -> None:
    a1, a2, a3 = (add(store, "user:a") for _ in range(3))
    b1 = add(store, "user:b")
    store.move("user:a", a3.id, a1.id)
    assert store.order() == (a3.id, b1.id, a1.id, a2.id)
    store.move("user:a", a3.id, None)
    assert store.order() == (a1.id, b1.id, a2.id, a3.id)
    with pytest.raises(InvalidRequest):
        store.move("user:a", a3.id, a3.id)
    with pytest.raises(NotFound):
        store.move("user:a", a3.id, b1.id)


def test_too_many_waiting_is_refused_and_queues_nothing(store: JobStore) -> None:
    for _ in range(4):
        add(store, "visitor:1", limit=4)
    with pytest.raises(Busy, match="already have 4 jobs waiting"):
        add(store, "visitor:1", limit=4)
    assert len(store.order()) == 4
    add(store, "visitor:2", limit=4)


def test_cancelling_a_queued_job_takes_it_from_the_line(store: JobStore) -> None:
    job = add(store)
    assert store.cancel_queued(job.id)
    assert not store.cancel_queued(job.id)
    assert store.take() is None
    assert store.get(job.id).state is JobState.CANCELLED


def test_the_feed_is_numbered_and_replayable(store: JobStore) -> None:
    job = add(store)
    store.take()
    store.append(job.id, Progress(picture=0, pictures=1, step=1, steps=2))
    store.append(job.id, Saved(image_id="1" * 32, index=0, seed=7))
    store.append(job.id, Finished(image_ids=("1" * 32,), seconds=1.0))
    events = store.events(job.id)
    assert [n for n, _ in events] == [1, 2, 3, 4, 5]
    assert [data["kind"] for _, data in events] == [
        "queued",
        "started",
        "progress",
        "saved",
        "finished",
    ]
    assert store.events(job.id, after=3) == events[3:]


def test_an_ended_job_keeps_its_first_ending(store: JobStore) -> None:
    job = add(store)
    store.take()
    store.append(job.id, Failed(message="No.", hint="Try again."))
    store.append(job.id, Cancelled())
    ended = store.get(job.id)
    assert ended.state is JobState.FAILED
    assert ended.error == {"message": "No.", "hint": "Try again."}


def test_ended_jobs_come_newest_first_and_without_a_task(store: JobStore) -> None:
    tasks = ("txt2img", "preprocess", "img2img", "preprocess")
    for task in tasks:
        job = store.add("local", task, {}, limit=200)
        store.take()
        store.append(job.id, Cancelled())
    add(store)
    assert [job.task for job in store.ended("local", 9)] == [*reversed(tasks)]
    painted = store.ended("local", 2, but="preprocess")
    assert [job.task for job in painted] == ["img2img", "txt2img"]


def test_a_dead_server_leaves_its_queue_and_an_interrupted_job(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.db")
    running, waiting = add(store), add(store)
    store.take()
    # no close: the process is gone
    again = JobStore(tmp_path / "jobs.db")
    assert again.get(running.id).state is JobState.INTERRUPTED
    assert again.get(running.id).error is not None
    assert again.events(running.id)[-1][1]["kind"] == "interrupted"
    assert again.order() == (waiting.id,)


def test_an_ended_jobs_progress_is_thinned_and_keeps_its_numbers(store: JobStore) -> None:
    job = add(store)
    store.take()
    for picture in (0, 1):
        for step in (1, 2, 3):
            store.append(job.id, Progress(picture=picture, pictures=2, step=step, steps=3))
    store.append(job.id, Finished(image_ids=(), seconds=1.0))
    left = [(n, data.get("step")) for n, data in store.events(job.id)]
    assert left == [(1, None), (2, None), (5, 3), (8, 3), (9, None)]


def test_what_is_asked_often_does_not_read_the_history(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.db")
    plans = [
        store._db.read("EXPLAIN QUERY PLAN " + sql, ("local",) * sql.count("?"))
        for sql in (
            "SELECT * FROM jobs WHERE owner = ? AND state IN ('queued', 'running')",
            "SELECT MAX(turn) FROM jobs WHERE owner = ?",
            "SELECT COALESCE(MAX(turn), 0) + 1 FROM jobs",
        )
    ]
    for plan, index in zip(plans, ("jobs_active", "jobs_turn", "jobs_last_turn"), strict=True):
        assert index in " ".join(row["detail"] for row in plan)
    store.close()
