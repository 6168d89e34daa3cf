"""Everything that moves, for a page to show."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from studio.api import sse
from studio.api.routes._routes import Door, Owner, Routes


def build(door: Door) -> APIRouter:
    router = APIRouter(tags=["live"])

    @router.get(
        "/api/stream",
        responses={200: {"content": {"text/event-stream": {}}, "description": "Snapshots."}},
        response_class=Response,
        summary="Follow everything of one's own",
    )
    async def stream(owner: Owner, watch: bool = True) -> Response:
        """The snapshot of /api/live at once and after each change, at most four a second, as
        server-sent events. While it is open previews are made; `watch=0` leaves them out."""
        return sse.stream(sse.snapshots(door.studio, door.live, owner, door.closing, watch=watch))

    @router.get("/api/live", summary="Active and recent jobs with their progress")
    def live(owner: Owner) -> dict[str, Any]:
        return door.live(owner)

    return router


ROUTES = Routes("live", build)
