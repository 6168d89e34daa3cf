"""The studio's own scripts, styles and icons."""

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
    files = StaticFiles(directory=ASSETS / "ui", check_dir=False)

    @router.get("/assets/ui/{path:path}")
    async def asset(path: str, request: Request, v: str = "") -> Response:
        """`v` names a version of the file, so that browsers may keep it."""
        parts = PurePosixPath(path).parts
        kind = KINDS.get(PurePosixPath(path).suffix)
        plain = all(
            part[0] not in "./" and "\\" not in part and part.isprintable() for part in parts
        )
        if not parts or kind is None or not plain:
            raise NotFound("There is no such file.", "Reload the page.")
        found = await files.get_response("/".join(parts), request.scope)
        found.headers["Cache-Control"] = KEEP["Cache-Control"] if v else "private, no-cache"
        if found.status_code == 200:
            found.headers["Content-Type"] = kind
        return found

    return router


ROUTES = Routes("assets", build)
