"""The studio's own scripts, style sheets, icons and example pictures."""

from pathlib import PurePosixPath

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from studio.api.routes._routes import Door, Routes
from studio.core.errors import NotFound
from studio.core.versions import version
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
FOR_GOOD = "private, max-age=31536000, immutable"


def build(door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    folders = {room: ASSETS / room for room in ("ui", "styles")}
    rooms = {
        room: StaticFiles(directory=folder, check_dir=False) for room, folder in folders.items()
    }

    @router.get("/assets/{room}/{path:path}")
    async def asset(room: str, path: str, request: Request) -> Response:
        """Below "v-" and the version of the room, so that browsers may keep it, or without."""
        named, _, below = path.partition("/")
        versioned = named.startswith("v-")
        parts = PurePosixPath(below if versioned else path).parts
        kind = KINDS.get(PurePosixPath(path).suffix)
        plain = all(
            part[0] not in "./" and "\\" not in part and part.isprintable() for part in parts
        )
        if room not in rooms or not parts or kind is None or not plain:
            raise NotFound("There is no such file.", "Reload the page.")
        found = await rooms[room].get_response("/".join(parts), request.scope)
        current = versioned and named == f"v-{version(folders[room])}"
        found.headers["Cache-Control"] = FOR_GOOD if current else "private, no-cache"
        if found.status_code == 200:
            found.headers["Content-Type"] = kind
        return found

    return router


ROUTES = Routes("assets", build)
