"""What there is at the moment that a form is drawn or changed."""

from studio.core.errors import StudioError
from studio.core.geometry import Size
from studio.core.records import Job
from studio.service.studio import Studio
from studio.ui.form import Now, Values

LOOK_BACK = 50
"""Jobs that are searched for the last one of a kind."""


def now_for(studio: Studio, owner: str) -> Now:
    def size_of(ref: str) -> Size | None:
        try:
            return studio.seen_by(owner).size(ref)
        except StudioError:
            return None

    def last_request(task: str) -> Values | None:
        jobs = [job for job in studio.jobs(owner, LOOK_BACK) if job.task == task]
        return max(jobs, key=_created).request if jobs else None

    return Now(choices=studio.offers(), size_of=size_of, last_request=last_request)


def _created(job: Job) -> float:
    return job.created
