"""The share link, for the person at this machine alone."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from studio.api.routes._routes import Door, Owner, Routes
from studio.api.shapes import SharingShape
from studio.core.errors import Refused
from studio.service.studio import LOCAL


def build(door: Door) -> APIRouter:
    router = APIRouter(tags=["sharing"])

    @router.get(
        "/api/sharing", responses={200: {"model": SharingShape}}, summary="Is the studio shared?"
    )
    def shared(owner: Owner) -> dict[str, Any]:
        """`link` has the `url` and `until` when it is open; null where there is none, and for
        everybody but the person at this machine."""
        return {"link": door.shared(owner)}

    @router.post("/api/sharing/stop", status_code=204, summary="Stop sharing")
    def stop(owner: Owner) -> Response:
        """Closes the tunnel, for good until the next start. Its guests are out at once, and what
        they were waiting for is not painted."""
        if owner != LOCAL:
            raise Refused("Only the person at this machine can stop sharing.", "Ask them.")
        door.sharing.stop()
        return Response(status_code=204)

    return router


ROUTES = Routes("sharing", build)
