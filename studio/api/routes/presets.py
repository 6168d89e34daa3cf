"""Styles in words: what there are, one's own, and files of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from studio.api.bodies import file_bytes, json_object, only
from studio.api.routes._routes import Door, Owner, Routes, body_of
from studio.api.shapes import PresetList, PresetShape
from studio.core.records import Preset

TEXT = {"type": "string"}
PRESET = body_of(
    {
        "type": "object",
        "required": ["name", "prompt", "negative_prompt"],
        "properties": {"name": TEXT, "prompt": TEXT, "negative_prompt": TEXT},
    }
)
CSV = "text/csv"


def build(door: Door) -> APIRouter:
    router = APIRouter(tags=["styles"])
    studio = door.studio

    @router.get(
        "/api/presets", responses={200: {"model": PresetList}}, summary="List the styles in words"
    )
    def listed(owner: Owner) -> dict[str, Any]:
        """Your own first, then those of the studio's owner, then those that come with it.

        A request names them in `styles`; `{prompt}` in a style stands for the prompt, a style
        without it is written behind.
        """
        return {"presets": studio.presets(owner)}

    @router.put(
        "/api/presets",
        responses={200: {"model": PresetShape}},
        openapi_extra=PRESET,
        summary="Keep a style of your own",
    )
    async def put(request: Request, owner: Owner) -> dict[str, Any]:
        """A style of that name that was yours is replaced; one that was not stands behind yours."""
        name, prompt, negative = only(
            await json_object(request), name=str, prompt=str, negative_prompt=str
        )
        preset = Preset(name=name, prompt=prompt, negative_prompt=negative)
        return await run_in_threadpool(studio.save_preset, owner, preset)

    @router.delete("/api/presets", status_code=204, summary="Remove a style of your own")
    def remove(owner: Owner, name: Annotated[str, Query(max_length=200)]) -> Response:
        studio.remove_preset(owner, name)
        return Response(status_code=204)

    @router.get(
        "/api/presets/styles.csv",
        responses={200: {"content": {CSV: {}}}},
        response_class=Response,
        summary="Your own styles as a file",
    )
    def export(owner: Owner) -> Response:
        """As A1111 reads it."""
        name = {"Content-Disposition": 'attachment; filename="styles.csv"'}
        return Response(studio.export_presets(owner), media_type=CSV, headers=name)

    @router.post(
        "/api/presets/styles.csv",
        responses={200: {"model": PresetList}},
        openapi_extra=body_of({"type": "string"}, CSV),
        summary="Take styles from a file",
    )
    async def take(request: Request, owner: Owner) -> dict[str, Any]:
        """A1111's `styles.csv`, as the raw body or as the file of a form. All of its styles become
        your own, or none."""
        data, _ = await file_bytes(request)
        return {"presets": await run_in_threadpool(studio.import_presets, owner, data)}

    return router


ROUTES = Routes("presets", build)
