"""The studio's own scripts, style sheets, icons and example pictures."""

from pathlib import PurePosixPath

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from studio.api.routes._routes import KEEP, Door, Routes
from studio.core.errors import NotFound
from studio.paths import ASSETS

KINDS = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}


def build(door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    rooms = {
        name: StaticFiles(directory=ASSETS / name, check_dir=False) for name in ("ui", "styles")
    }

    @router.get("/assets/{room}/{path:path}")
    async def asset(room: str, path: str, request: Request, v: str = "") -> Response:
        """`v` names a version of the file, so that browsers may keep it."""
        parts = PurePosixPath(path).parts
        kind = KINDS.get(PurePosixPath(path).suffix)
        plain = all(
            part[0] not in "./" and "\\" not in part and part.isprintable() for part in parts
        )
        if room not in rooms or not parts or kind is None or not plain:
            raise NotFound("There is no such file.", "Reload the page.")
        found = await rooms[room].get_response("/".join(parts), request.scope)
        found.headers["Cache-Control"] = KEEP["Cache-Control"] if v else "private, no-cache"
        if found.status_code == 200:
            found.headers["Content-Type"] = kind
        return found

    return router


ROUTES = Routes("assets", build)
