"""Installing checkpoints, for the person at this machine alone."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from studio.api.bodies import json_object
from studio.api.routes._routes import Door, Owner, Routes, body_of
from studio.api.shapes import InstallList, InstallPlan, InstallShape
from studio.core.errors import InvalidRequest

WISH = body_of(
    {
        "type": "object",
        "required": ["source"],
        "properties": {
            "source": {
                "type": "string",
                "description": "`owner/name` or `owner/name/file.safetensors` on Hugging Face, or "
                "the https address of a `.safetensors` file.",
            },
            "name": {"type": "string", "description": "What it is to be called."},
            "sha256": {"type": "string", "description": "What a single file's SHA-256 must be."},
        },
    }
)
MOST_CHARS = 2000


def build(door: Door) -> APIRouter:
    router = APIRouter(tags=["installs"])
    studio = door.studio

    @router.get(
        "/api/installs", responses={200: {"model": InstallList}}, summary="What is being installed?"
    )
    def every(owner: Owner) -> dict[str, Any]:
        """The newest first, with `starters`: checkpoints to begin with. `may_install` is false for
        everybody but the person at this machine, who see neither."""
        return studio.installs(owner)

    @router.post(
        "/api/installs/look",
        responses={200: {"model": InstallPlan}},
        openapi_extra=WISH,
        summary="How large would that be?",
    )
    async def look(request: Request, owner: Owner) -> dict[str, Any]:
        """Asks the network what an install would fetch; fetches nothing."""
        wish = wish_of(await json_object(request))
        return await run_in_threadpool(studio.look_at_source, owner, **wish)

    @router.post(
        "/api/installs",
        status_code=202,
        responses={202: {"model": InstallShape}},
        openapi_extra=WISH,
        summary="Install a checkpoint",
    )
    async def install(request: Request, owner: Owner) -> dict[str, Any]:
        """Begins, or goes on with an unfinished one of the same; follow it in `GET /api/installs`
        or in `installs` of `/api/live`."""
        wish = wish_of(await json_object(request))
        return await run_in_threadpool(studio.install, owner, **wish)

    @router.post(
        "/api/preprocessors/{preprocessor_id}/install",
        status_code=202,
        responses={202: {"model": InstallShape}},
        summary="Install what a preprocessor wants",
    )
    def weights(preprocessor_id: str, owner: Owner) -> dict[str, Any]:
        """Its weights, into the folder `annotators` of the data folder; as an install."""
        return studio.install_weights(owner, preprocessor_id)

    @router.post(
        "/api/installs/{install_id}/stop",
        responses={200: {"model": InstallShape}},
        summary="Stop an install",
    )
    def stop(install_id: str, owner: Owner) -> dict[str, Any]:
        """At once; what has arrived is kept."""
        return studio.stop_install(owner, install_id)

    @router.post(
        "/api/installs/{install_id}/resume",
        responses={200: {"model": InstallShape}},
        summary="Go on with an install",
    )
    def resume(install_id: str, owner: Owner) -> dict[str, Any]:
        """From where it was stopped, or where it failed."""
        return studio.resume_install(owner, install_id)

    @router.delete("/api/installs/{install_id}", status_code=204, summary="Forget an install")
    def remove(install_id: str, owner: Owner) -> Response:
        """With what has arrived of an unfinished one. What was installed stays."""
        studio.remove_install(owner, install_id)
        return Response(status_code=204)

    return router


def wish_of(body: Mapping[str, Any]) -> dict[str, str]:
    """The three texts of a wish. Raises `InvalidRequest`."""
    wish = {name: body.get(name) or "" for name in ("source", "name", "sha256")}
    for name in body:
        if name not in wish:
            raise InvalidRequest(
                f"There is no setting called '{name[:60]}' here.",
                "Remove it; the settings are source, name, sha256.",
                field=name[:60],
            )
    for name, value in wish.items():
        if not isinstance(value, str) or len(value) > MOST_CHARS:
            raise InvalidRequest(
                f"'{name}' must be a text.", "Change it and try again.", field=name
            )
    return wish


ROUTES = Routes("installs", build)
