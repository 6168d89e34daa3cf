"""A real worker over a real engine process, on a tiny random checkpoint."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import pytest

from studio.app import App, compose
from studio.core.events import JobState
from studio.core.records import Job
from studio.settings import Settings

OWNER = "local"


@dataclass(frozen=True)
class Desk:
    """A composed studio and the words its tests need."""

    app: App
    settings: Settings

    def submit(self, *, owner: str = OWNER, **fields: object) -> Job:
        request = {"prompt": "a fox", "checkpoint": "tiny", "width": 64, "height": 64, "seed": 1}
        return self.app.studio.submit(owner, "txt2img", {**request, "steps": 2, **fields})

    def until(self, what: Callable[[], object], seconds: float = 60.0) -> None:
        """Waits until `what()` holds."""
        end = monotonic() + seconds
        while not what():
            assert monotonic() < end, "it never came to pass"
            sleep(0.01)

    def state(self, job: Job) -> JobState:
        return self.app.jobs.get(job.id).state

    def ended(self, job: Job, seconds: float = 60.0) -> Job:
        self.until(lambda: self.state(job).over, seconds)
        return self.app.jobs.get(job.id)

    def painting(self, job: Job) -> None:
        """Waits until the job's first step is done."""
        self.until(lambda: (live := self.app.worker.live(job.id)) and live.progress)


@pytest.fixture(scope="module")
def desk(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"), checkpoint_dirs=(checkpoints,), device="cpu"
    )
    app = compose(settings)
    app.start()
    yield Desk(app, settings)
    app.close()
