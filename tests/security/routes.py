"""Every address that the server has, ours and Gradio's, found by walking its routers."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from studio.api.guard import Guard

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def addresses(guard: Guard) -> list[tuple[str, str]]:
    """(method, path) of everything, with placeholders filled in."""
    found = set(_walk(guard.app.routes))
    assert ("GET", "/api/jobs") in found and ("POST", "/gradio_api/upload") in found
    assert len(found) > 90
    return sorted(found)


def _walk(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        path = prefix + getattr(route, "path", "")
        if hasattr(route, "original_router"):
            yield from _walk(route.original_router.routes, prefix)
        elif getattr(route, "routes", None):
            yield from _walk(route.routes, path)
        else:
            for method in getattr(route, "methods", None) or METHODS:
                yield method, filled(path)


def filled(path: str) -> str:
    return re.sub(r"{[^}]*}", "x", path) or "/"
