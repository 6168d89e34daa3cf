"""Pictures that requests start from, and masks, as the pipeline sees them."""

import io

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image
from starlette.responses import Response

from studio.api.bodies import json_object
from studio.api.routes._routes import KEEP, Door, Owner, Routes, body_of
from studio.core.requests import schema
from studio.tasks._masked import Masked

PNG = "image/png"
A_PNG = {"content": {PNG: {}}}


def build(door: Door) -> APIRouter:
    router = APIRouter(tags=["inputs"])
    studio = door.studio

    @router.get(
        "/api/pictures/{ref}",
        responses={200: {**A_PNG, "description": "Upright, 8 bit, RGB or RGBA."}},
        response_class=Response,
        summary="A picture as it is painted over",
    )
    def picture(ref: str, owner: Owner) -> Response:
        """Of an upload (its `ref`) or of the gallery (its id): turned as EXIF says, in sRGB."""
        return Response(png(studio.seen_by(owner).picture(ref)), headers=KEEP, media_type=PNG)

    @router.post(
        "/api/mask",
        responses={200: {**A_PNG, "description": "Grey: 255 is repainted, 0 stays."}},
        response_class=Response,
        openapi_extra=body_of(schema(Masked)),
        summary="A mask as it will be used",
    )
    async def mask(request: Request, owner: Owner) -> Response:
        """After inverting, growing and feathering: the very array that the task `inpaint` uses.

        `X-Mask-Share` is the share of the picture that changes, 0 to 1; `X-Mask-Box` the left, top,
        right and bottom of what is looked at, in pixels.
        """
        view = await run_in_threadpool(studio.mask, owner, await json_object(request))
        drawn = await run_in_threadpool(png, Image.fromarray(view.mask))
        headers = {
            "Cache-Control": "no-store",
            "X-Mask-Share": f"{view.share:.6f}",
            "X-Mask-Box": " ".join(map(str, view.box.corners)),
        }
        return Response(drawn, headers=headers, media_type=PNG)

    return router


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


ROUTES = Routes("pictures", build)
