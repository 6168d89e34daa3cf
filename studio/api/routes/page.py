"""What the page needs beside jobs and pictures: choices, token counts, drafts."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from studio.api.bodies import json_object
from studio.api.routes._routes import Door, Owner, Routes, body_of
from studio.api.shapes import HealthShape, TokensShape
from studio.core.errors import InvalidRequest
from studio.core.requests import MAX_PROMPT_CHARS

Tab = Annotated[str, Path(pattern="^[a-z0-9_-]{1,40}$")]


def build(door: Door) -> APIRouter:
    router = APIRouter(tags=["page"])
    studio = door.studio

    @router.get("/api/choices", summary="Checkpoints, samplers, tasks and their settings")
    def choices() -> dict[str, Any]:
        """Everything that a request may name. Each task comes with the JSON schema of its request."""
        return studio.choices()

    @router.get("/api/health", responses={200: {"model": HealthShape}}, summary="Is the studio up?")
    def health(owner: Owner) -> dict[str, Any]:
        """Without a login, where one is set, only the status."""
        return studio.health() if owner else {"status": "ok"}

    @router.get("/api/tokens", responses={200: {"model": TokensShape}}, summary="Count tokens")
    def count(
        text: Annotated[str, Query(max_length=MAX_PROMPT_CHARS)] = "",
        checkpoint: Annotated[str | None, Query(max_length=200)] = None,
    ) -> dict[str, int]:
        """`used` tokens of a prompt for a checkpoint's text encoder, whose `window` is filled
        `chunks` times. Long texts go by POST."""
        return studio.tokens(checkpoint or None, text)

    @router.post(
        "/api/tokens",
        responses={200: {"model": TokensShape}},
        openapi_extra=body_of(
            {
                "type": "object",
                "required": ["text"],
                "properties": {
                    "text": {"type": "string", "maxLength": MAX_PROMPT_CHARS},
                    "checkpoint": {"type": ["string", "null"]},
                },
            }
        ),
        summary="Count the tokens of a long text",
    )
    async def count_long(request: Request) -> dict[str, int]:
        body = await json_object(request)
        text, checkpoint = body.get("text"), body.get("checkpoint")
        if not isinstance(text, str) or not isinstance(checkpoint, str | None):
            raise InvalidRequest("'text' must be a text.", "Send the prompt in it.", field="text")
        if len(text) > MAX_PROMPT_CHARS:
            raise InvalidRequest(
                f"Text may be at most {MAX_PROMPT_CHARS} characters long (got {len(text)}).",
                "Shorten it and try again.",
                field="text",
            )
        return await run_in_threadpool(studio.tokens, checkpoint or None, text)

    @router.get("/api/drafts/{tab}", summary="A form as it was left")
    def draft(tab: Tab, owner: Owner) -> dict[str, Any]:
        return studio.draft(owner, tab)

    @router.put(
        "/api/drafts/{tab}",
        status_code=204,
        openapi_extra=body_of({"type": "object"}),
        summary="Keep a form as it stands",
    )
    async def save(tab: Tab, request: Request, owner: Owner) -> Response:
        values = await json_object(request)
        await run_in_threadpool(studio.save_draft, owner, tab, values)
        return Response(status_code=204)

    return router


ROUTES = Routes("page", build)
