"""How jobs end: stopped, failed, out of memory; and that the next one never notices."""

from typing import Any

import pytest
import torch

from studio.engine.control import Control, JobCancelled
from tests.engine.desk import Desk

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""Two hundred thousand of them, from loops of diffusers over numpy."""


def test_a_job_is_told_from_loading_to_done(desk: Desk) -> None:
    ending = desk.run(count=2)
    assert ending["op"] == "done" and ending["seconds"] > 0
    assert [frame["op"] for frame, _ in desk.sent] == [
        "loading",
        *["progress"] * 3,
        "picture",
        *["progress"] * 3,
        "picture",
        "done",
    ]
    assert desk.frames("loading")[0]["what"] == "Reading sd"
    steps = [(f["picture"], f["step"], f["steps"]) for f in desk.frames("progress")]
    assert steps == [(0, 1, 3), (0, 2, 3), (0, 3, 3), (1, 1, 3), (1, 2, 3), (1, 3, 3)]
    left = [f["seconds_left"] for f in desk.frames("progress")]
    assert left[0] is None and left[1] > 0 and left[-1] == 0
    desk.run()
    assert not desk.frames("loading")


@pytest.mark.parametrize("sampler", ["heun", "dpm2", "plms"])
def test_progress_counts_the_steps_asked_for(desk: Desk, sampler: str) -> None:
    """These call the network more often than once a step."""
    desk.run(sampler=sampler, steps=4)
    steps = [frame["step"] for frame in desk.frames("progress")]
    assert steps[-1] == 4 and sorted(set(steps)) == [1, 2, 3, 4] and steps == sorted(steps)


def test_stop_acts_at_the_next_step_and_leaves_nothing(desk: Desk) -> None:
    [undisturbed] = desk.paint(sampler="dpmpp_2m_sde")
    send = desk.runner.send

    def stop_at_the_second(header: dict[str, Any], blob: bytes = b"") -> None:
        send(header, blob)
        if header["op"] == "progress" and header["step"] == 2:
            desk.control.cancel("job")

    object.__setattr__(desk.runner, "send", stop_at_the_second)
    assert desk.run(sampler="dpmpp_2m_sde", steps=40, count=3) == {"op": "cancelled", "job": "job"}
    assert [frame["step"] for frame in desk.frames("progress")] == [1, 2]
    object.__setattr__(desk.runner, "send", send)
    assert desk.paint(sampler="dpmpp_2m_sde") == [undisturbed]


def test_a_job_can_be_stopped_before_it_begins(desk: Desk) -> None:
    desk.control.expected("job")
    desk.control.cancel("job")
    assert desk.run()["op"] == "cancelled"
    assert len(desk.sent) == 1


def test_a_late_stop_does_not_reach_the_next_job() -> None:
    control = Control()
    control.expected("a")
    control.ended("a")
    control.cancel("a")
    control.expected("a")
    control.check("a")
    control.cancel("a")
    with pytest.raises(JobCancelled):
        control.check("a")


BAD = [
    ({"checkpoint": "none"}, "There is no checkpoint 'none'."),
    ({"checkpoint": "../sd"}, "There is no checkpoint '../sd'."),
    ({"sampler": "none"}, "There is no sampler called 'none'."),
    ({"steps": 0}, "Steps must be a whole number between 1 and 150 (got 0)."),
    ({"width": "64"}, "Width must be a whole number"),
    ({"colour": 1}, "There is no setting called 'colour' here."),
    ({"prompt": "(" * 50 + "fox"}, ""),
    ({"clip_skip": 12}, "Clip skip 12 is not within the 3 layers of the text encoder."),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_requests_fail_with_a_sentence(
    desk: Desk, changes: dict[str, Any], message: str
) -> None:
    ending = desk.run(**changes)
    assert ending["op"] == "failed" and ending["message"].startswith(message)
    assert ending["hint"].endswith((".", "…"))
    assert desk.run()["op"] == "done"


def test_an_unknown_task_fails(desk: Desk) -> None:
    assert desk.run(task="nothing")["message"] == "There is no task 'nothing'."


def test_what_nobody_foresaw_gets_an_id_and_a_log(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr("studio.engine.painter.decode", stumble)
    ending = desk.run()
    incident = ending["message"].removeprefix("Something went wrong (id ").removesuffix(").")
    assert ending["op"] == "failed" and "/secret" not in str(ending)
    assert f"incident {incident}" in caplog.text and "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert desk.run()["op"] == "done"


SLOW = pytest.mark.slow
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    # each of them goes all the way down the ladder, which takes seconds
    pytest.param(
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
        ),
        marks=SLOW,
    ),
    pytest.param(
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), marks=SLOW
    ),
    pytest.param(MemoryError(), marks=SLOW),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:30])
@pytest.mark.parametrize("place", ["decode", "encode", "build"])
def test_out_of_memory_is_a_sentence_and_frees_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
) -> None:
    """F07: at the start, in the middle and at the end of a picture."""

    def full(*_: Any, **__: Any) -> None:
        raise error

    [picture] = desk.paint()
    monkeypatch.setattr(f"studio.engine.painter.{place}", full)
    ending = desk.run()
    assert ending["op"] == "failed"
    assert ending["message"].startswith("There is not enough memory for a picture of 64×64 px: it ")
    assert ending["hint"] == "Choose a smaller size, or a smaller checkpoint."
    assert desk.runner.manager.kept == ()
    monkeypatch.undo()
    assert desk.paint() == [picture]


def test_previews_only_while_somebody_watches(desk: Desk) -> None:
    desk.run(steps=6)
    assert not desk.frames("preview")
    desk.control.watched = True
    desk.run(steps=6)
    [preview] = [blob for frame, blob in desk.sent if frame["op"] == "preview"][:1]
    assert preview.startswith(b"\xff\xd8") and desk.frames("preview")[0]["picture"] == 0
