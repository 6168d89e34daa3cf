"""The gallery: finding pictures, having them, keeping order among them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from studio.api.bodies import ids, json_object, only
from studio.api.routes._routes import IDS, KEEP, Door, Owner, Routes, body_of, moment
from studio.api.shapes import ImagePage, ImageShape
from studio.gallery.store import Query as Wanted
from studio.service.views import record_json

Short = Annotated[str | None, Query(max_length=200)]
DONE = 204


def build(door: Door) -> APIRouter:
    router = APIRouter(tags=["images"])
    studio = door.studio

    @router.get("/api/images", responses={200: {"model": ImagePage}}, summary="Find pictures")
    def find(
        owner: Owner,
        text: Annotated[str, Query(max_length=500)] = "",
        checkpoint: Short = None,
        task: Short = None,
        without: Short = None,
        starred: bool | None = None,
        since: Short = None,
        until: Short = None,
        trashed: bool = False,
        cursor: Short = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 60,
    ) -> dict[str, Any]:
        """Newest first. `text` are words of the prompts, `since` and `until` dates or seconds since
        1970; the days that they name are both among what is found. `without` is a task whose
        pictures are left out, such as `preprocess`: control maps. `next` is the `cursor` of the page
        after; null on the last one."""
        wanted = Wanted(
            text=text,
            checkpoint=checkpoint or None,
            task=task or None,
            without=without or None,
            starred=starred,
            since=moment("since", since),
            until=moment("until", until, end=True),
            trashed=trashed,
            cursor=cursor or None,
            limit=limit,
        )
        page = studio.records(owner, wanted)
        return {"images": [record_json(one) for one in page.records], "next": page.next_cursor}

    @router.post(
        "/api/images/trash",
        status_code=DONE,
        openapi_extra=IDS,
        summary="Put pictures in the trash",
    )
    async def trash(request: Request, owner: Owner) -> Response:
        await run_in_threadpool(studio.trash, owner, ids(await json_object(request)))
        return Response(status_code=DONE)

    @router.post(
        "/api/images/restore", status_code=DONE, openapi_extra=IDS, summary="Take pictures back"
    )
    async def restore(request: Request, owner: Owner) -> Response:
        await run_in_threadpool(studio.restore, owner, ids(await json_object(request)))
        return Response(status_code=DONE)

    @router.delete("/api/trash", status_code=DONE, summary="Delete for good what is in the trash")
    def empty(owner: Owner) -> Response:
        studio.empty_trash(owner)
        return Response(status_code=DONE)

    @router.get(
        "/api/images/{image_id}", responses={200: {"model": ImageShape}}, summary="One picture"
    )
    def one(image_id: str, owner: Owner) -> dict[str, Any]:
        return record_json(studio.record(owner, image_id))

    @router.patch(
        "/api/images/{image_id}",
        responses={200: {"model": ImageShape}},
        openapi_extra=body_of(
            {
                "type": "object",
                "required": ["starred"],
                "properties": {"starred": {"type": "boolean"}},
            }
        ),
        summary="Star a picture, or take the star away",
    )
    async def star(image_id: str, request: Request, owner: Owner) -> dict[str, Any]:
        (starred,) = only(await json_object(request), starred=bool)
        return record_json(await run_in_threadpool(studio.star, owner, image_id, starred))

    @router.delete("/api/images/{image_id}", status_code=DONE, summary="Put a picture in the trash")
    def delete(image_id: str, owner: Owner) -> Response:
        studio.trash(owner, (studio.record(owner, image_id).id,))
        return Response(status_code=DONE)

    @router.get(
        "/api/images/{image_id}/file",
        responses={200: {"content": {"image/png": {}}, "description": "The PNG as it was saved."}},
        response_class=Response,
        summary="The file",
    )
    def file(image_id: str, owner: Owner, download: bool = False) -> Response:
        """With everything that made the picture inside. `download=1` makes a browser save it."""
        path = studio.file(owner, image_id)
        return FileResponse(
            path,
            media_type="image/png",
            filename=path.name,
            content_disposition_type="attachment" if download else "inline",
        )

    @router.get(
        "/api/images/{image_id}/thumb",
        responses={200: {"content": {"image/webp": {}}, "description": "At most 384 px a side."}},
        response_class=Response,
        summary="A small version",
    )
    def thumb(image_id: str, owner: Owner) -> Response:
        path = studio.thumb(owner, image_id)
        if path.suffix != ".webp":  # there was no room for a thumbnail, this is the picture
            return FileResponse(path, media_type="image/png")
        return FileResponse(path, media_type="image/webp", headers=KEEP)

    return router


ROUTES = Routes("images", build)
