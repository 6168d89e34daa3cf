"""People that a person posed, drawn as the map that a pose ControlNet reads."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from studio.api.bodies import json_object
from studio.api.routes._routes import Door, Owner, Routes, body_of
from studio.api.shapes import PoseShape
from studio.core.errors import InvalidRequest
from studio.core.intake import MAX_SIDE_PX

Side = Annotated[int | None, Query(ge=1, le=MAX_SIDE_PX)]
PEOPLE = body_of(
    {
        "type": "object",
        "required": ["people"],
        "properties": {
            "people": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["pose_keypoints_2d"],
                    "properties": {
                        "pose_keypoints_2d": {"type": "array", "items": {"type": "number"}}
                    },
                },
            },
            "canvas_width": {"type": "integer"},
            "canvas_height": {"type": "integer"},
        },
    }
)


def build(door: Door) -> APIRouter:
    router = APIRouter(tags=["inputs"])
    studio = door.studio

    @router.post(
        "/api/pose",
        responses={200: {"model": PoseShape}},
        openapi_extra=PEOPLE,
        summary="Draw people as a control map",
    )
    async def pose(
        request: Request, owner: Owner, width: Side = None, height: Side = None
    ) -> dict[str, Any]:
        """As OpenPose and its editors write them: 18 or 25 points each, x, y and confidence in turn,
        in pixels of the canvas or as shares of it; a confidence of 0 hides a point.

        The map is stored as an upload, `ref`; it is as large as the canvas, or `width` × `height`.
        `pose` is what was understood, for a control unit's `pose`.
        """
        if (width is None) != (height is None):
            raise InvalidRequest(
                "A size takes both width and height.", "Give both, or none.", field="width"
            )
        size = (width, height) if width and height else None
        body = await json_object(request)
        ref, found = await run_in_threadpool(studio.pose, owner, body, size)
        return {"ref": ref, "width": found.size[0], "height": found.size[1], "pose": found.data}

    return router


ROUTES = Routes("poses", build)
