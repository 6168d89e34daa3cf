"""What a request would take, and what is in memory."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from studio.api.bodies import json_object, only
from studio.api.routes._routes import ANY_TASK, DEFAULT_TASK, Door, Owner, Routes, body_of
from studio.api.shapes import EstimateShape, MemoryShape, UnloadedShape
from studio.core.errors import InvalidRequest


def build(door: Door) -> APIRouter:
    router = APIRouter(tags=["memory"])
    studio = door.studio

    @router.post(
        "/api/estimate",
        responses={200: {"model": EstimateShape}},
        openapi_extra=ANY_TASK,
        summary="What would this take?",
    )
    async def estimate(request: Request, owner: Owner) -> dict[str, Any]:
        """Takes what POST /api/jobs takes, and queues nothing. Seconds are learned from what was
        painted here before, and null where nothing like it was; `measured` is false where they are
        a guess. `changes` is what a plan that fits into the memory changes, `refused` why none
        does."""
        fields = await json_object(request)
        task = fields.pop("task", DEFAULT_TASK)
        if not isinstance(task, str):
            raise InvalidRequest(
                "The task is not a name.", 'Write it like "txt2img".', field="task"
            )
        return await run_in_threadpool(studio.estimate, owner, task, fields)

    @router.get(
        "/api/memory", responses={200: {"model": MemoryShape}}, summary="What is in memory?"
    )
    def memory(owner: Owner) -> dict[str, Any]:
        """As of the end of the last job, in bytes. A part that several checkpoints share is there
        once. Not for guests and visitors."""
        return studio.memory(owner)

    @router.post(
        "/api/memory/unload", responses={200: {"model": UnloadedShape}}, summary="Unload all"
    )
    def unload(owner: Owner) -> dict[str, Any]:
        """Takes all weights out of the memory, pinned ones too. While a job runs `done` is false:
        it happens right after it."""
        return studio.unload(owner)

    @router.post(
        "/api/memory/pin",
        status_code=204,
        openapi_extra=body_of(
            {
                "type": "object",
                "required": ["checkpoint", "pinned"],
                "properties": {
                    "checkpoint": {"type": "string"},
                    "pinned": {"type": "boolean"},
                },
            }
        ),
        summary="Keep a checkpoint in memory, or let it go",
    )
    async def pin(request: Request, owner: Owner) -> Response:
        checkpoint, pinned = only(await json_object(request), checkpoint=str, pinned=bool)
        await run_in_threadpool(studio.pin, owner, checkpoint, pinned)
        return Response(status_code=204)

    return router


ROUTES = Routes("memory", build)
