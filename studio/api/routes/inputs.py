"""Uploads: pictures that requests refer to, and pictures whose settings are wanted."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from studio.api.bodies import file_bytes
from studio.api.routes._routes import A_PICTURE, Door, Owner, Routes
from studio.api.shapes import RecoveredShape, Ref


def build(door: Door) -> APIRouter:
    router = APIRouter(tags=["inputs"])
    studio = door.studio

    @router.post(
        "/api/inputs",
        status_code=201,
        responses={201: {"model": Ref}},
        openapi_extra=A_PICTURE,
        summary="Store a picture",
    )
    async def add(request: Request, owner: Owner) -> dict[str, str]:
        """PNG, JPEG or WebP, as the raw body with its Content-Type or as the file of a form.

        The `ref` is the SHA-256 of the bytes; requests name the picture by it.
        """
        data, kind = await file_bytes(request)
        return {"ref": await run_in_threadpool(studio.add_input, owner, data, kind)}

    @router.delete("/api/inputs/{ref}", status_code=204, summary="Remove an upload")
    def remove(ref: str, owner: Owner) -> Response:
        """Refused with 409 while a picture, also one in the trash, or a waiting job was made from
        it. Uploads that nothing needs also make room by themselves, the oldest first."""
        studio.remove_input(owner, ref)
        return Response(status_code=204)

    @router.post(
        "/api/settings-from-picture",
        responses={200: {"model": RecoveredShape}},
        openapi_extra=A_PICTURE,
        summary="Read the settings inside a picture",
    )
    async def settings(request: Request) -> dict[str, Any]:
        """Of this studio or of another program. The picture is not stored.

        `fields` are settings of a request, `notes` say what could not be honoured.
        """
        data, _ = await file_bytes(request)
        return recovered_json(await run_in_threadpool(studio.read_settings, data))

    return router


def recovered_json(found: Any) -> dict[str, Any]:
    """A `Recovered` as plain data."""
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()
    }


ROUTES = Routes("inputs", build)
