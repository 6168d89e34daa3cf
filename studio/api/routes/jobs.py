"""Jobs: asking for pictures, following them, and changing one's mind."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from studio.api import sse
from studio.api.bodies import json_object
from studio.api.routes._routes import ANY_TASK, DEFAULT_TASK, Door, Owner, Routes, body_of
from studio.api.shapes import JobList, JobShape
from studio.core.errors import InvalidRequest, NotFound
from studio.core.records import Job
from studio.service.studio import Studio

MOST_ENTRIES = 2**31


def build(door: Door) -> APIRouter:
    router = APIRouter(tags=["jobs"])
    studio = door.studio

    @router.post(
        "/api/jobs",
        status_code=202,
        responses={202: {"model": JobShape}},
        openapi_extra=ANY_TASK,
        summary="Ask for pictures",
    )
    async def submit(request: Request, owner: Owner) -> dict[str, Any]:
        """Queues a job. Everything but the prompt may be left out; `request` in the answer is what
        was decided, `notes` what had to be changed for it."""
        fields = await json_object(request)
        task = fields.pop("task", DEFAULT_TASK)
        if not isinstance(task, str):
            raise InvalidRequest(
                "The task is not a name.", 'Write it like "txt2img".', field="task"
            )
        job = await run_in_threadpool(studio.submit, owner, task, fields)
        return await run_in_threadpool(studio.job_json, job)

    @router.get("/api/jobs", responses={200: {"model": JobList}}, summary="List jobs")
    def every(
        owner: Owner, limit: Annotated[int, Query(ge=1, le=200)] = 50, active: bool = False
    ) -> dict[str, Any]:
        """Running and queued ones in the order they run, then the ended ones, newest first."""
        jobs = studio.jobs(owner, limit, active_only=active)
        return {"jobs": [studio.job_json(job) for job in jobs]}

    @router.get("/api/jobs/{job_id}", responses={200: {"model": JobShape}}, summary="One job")
    def one(job_id: str, owner: Owner) -> dict[str, Any]:
        return studio.job_json(studio.job(owner, job_id))

    @router.get(
        "/api/jobs/{job_id}/events",
        responses={
            200: {"content": {"text/event-stream": {}}, "description": "The feed, entry by entry."},
            204: {"description": "The job is over and everything has been sent."},
        },
        response_class=Response,
        summary="Follow a job",
    )
    def events(
        job_id: str,
        owner: Owner,
        after: Annotated[int, Query(ge=0, le=MOST_ENTRIES)] = 0,
        last_event_id: Annotated[str, Header()] = "",
    ) -> Response:
        """Server-sent events, numbered from 1, from the first entry or the one after
        `Last-Event-ID`. The stream ends with the job."""
        start = _entry(last_event_id, after)
        job = studio.job(owner, job_id)
        if job.state.over and start and not studio.events(owner, job_id, start):
            return Response(status_code=204)  # tells an EventSource not to connect again
        return sse.stream(sse.feed(studio, owner, job_id, start, door.closing))

    @router.delete("/api/jobs/{job_id}", responses={200: {"model": JobShape}}, summary="Stop a job")
    def cancel(job_id: str, owner: Owner) -> dict[str, Any]:
        """Takes it from the queue, or stops it at its next step. An ended job stays as it is."""
        return studio.job_json(studio.cancel(owner, job_id))

    @router.post(
        "/api/jobs/{job_id}/rerun",
        status_code=202,
        responses={202: {"model": JobShape}},
        summary="Run a job again",
    )
    def rerun(job_id: str, owner: Owner) -> dict[str, Any]:
        """A new job with the same decided request."""
        return studio.job_json(studio.rerun(owner, job_id))

    @router.post(
        "/api/jobs/{job_id}/move",
        responses={200: {"model": JobShape}},
        openapi_extra=body_of(
            {
                "type": "object",
                "required": ["before"],
                "properties": {"before": {"type": ["string", "null"]}},
            }
        ),
        summary="Move a job in the queue",
    )
    async def move(job_id: str, request: Request, owner: Owner) -> dict[str, Any]:
        """Before another of one's own waiting jobs, or with null to the end of them."""
        body = await json_object(request)
        if set(body) != {"before"} or not isinstance(body["before"], str | None):
            raise InvalidRequest(
                "'before' must be the id of a waiting job or null.",
                "Send only that.",
                field="before",
            )
        return await run_in_threadpool(_moved, studio, owner, job_id, body["before"])

    @router.get(
        "/api/jobs/{job_id}/preview",
        responses={200: {"content": {"image/jpeg": {}}, "description": "A small JPEG."}},
        response_class=Response,
        summary="How the picture looks now",
    )
    def preview(job_id: str, owner: Owner) -> Response:
        """Previews are made while somebody follows /api/stream."""
        found = studio.preview(owner, job_id)
        if found is None:
            raise NotFound("There is no preview of this job.", "Follow /api/stream while it runs.")
        return Response(found, media_type="image/jpeg")

    return router


def _moved(studio: Studio, owner: str, job_id: str, before: str | None) -> dict[str, Any]:
    studio.move(owner, job_id, before)
    job: Job = studio.job(owner, job_id)
    return studio.job_json(job)


def _entry(last_event_id: str, after: int) -> int:
    """Where to go on; anything that is no number starts where the address says."""
    number = last_event_id.strip()
    if number.isascii() and number.isdigit() and len(number) < 11:
        return min(int(number), MOST_ENTRIES)
    return after


ROUTES = Routes("jobs", build)
