"""The contract of the drawer, and what its entries share."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from studio.api.sharing import Sharing
from studio.api.sse import Closing
from studio.api.visit import OWNER
from studio.core.errors import InvalidRequest
from studio.service.studio import LOCAL, Studio


@dataclass(frozen=True, slots=True)
class Door:
    """What a set of routes may use."""

    studio: Studio
    closing: Closing
    sharing: Sharing

    def live(self, owner: str) -> dict[str, Any]:
        """Everything a page shows that moves; `sharing` only for the person at this machine."""
        return {**self.studio.live(owner), "sharing": self.shared(owner)}

    def shared(self, owner: str) -> dict[str, Any] | None:
        """The open share link; None where there is none, and for everybody but `LOCAL`."""
        link = self.sharing.link if owner == LOCAL else None
        return asdict(link) if link else None


@dataclass(frozen=True, slots=True)
class Routes:
    """An entry of the drawer `api/routes/`."""

    id: str
    build: Callable[[Door], APIRouter]
    """Paths are given in full. Handlers are `def` unless they await."""


async def _owner(request: Request) -> str:
    return request.scope[OWNER]


Owner = Annotated[str, Depends(_owner)]
"""Whose visit it is, as the guard found out. Never empty behind a login."""

KEEP = {"Cache-Control": "private, max-age=86400, immutable"}
"""For what never changes under its address; a day, so that a picture that was repaired is seen."""


def body_of(schema: dict[str, Any], kind: str = "application/json") -> dict[str, Any]:
    """OpenAPI of a body that is read by hand."""
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}


DEFAULT_TASK = "txt2img"
"""What a request without a task asks for."""
ANY_TASK = body_of({"$ref": "#/components/schemas/AnyTask"})
"""A task's request; `docs.describe` adds what that is."""
A_PICTURE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            **{
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in ("image/png", "image/jpeg", "image/webp")
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
IDS = body_of(
    {
        "type": "object",
        "required": ["ids"],
        "properties": {"ids": {"type": "array", "items": {"type": "string"}, "maxItems": 1000}},
    }
)


_DATE_CHARS = 10
"""An ISO 8601 date that is no longer than this has no time."""
_DAY_S = 86_400


def moment(name: str, text: str | None, *, end: bool = False) -> float | None:
    """Seconds since 1970 from seconds or an ISO 8601 date; a date without a zone is UTC.

    A date without a time is the beginning of that day, or its `end`. Raises `InvalidRequest`.
    """
    if not text:
        return None
    try:
        try:
            seconds = float(text)
        except ValueError:
            found = datetime.fromisoformat(text)
            seconds = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
            if end and len(text) <= _DATE_CHARS:
                seconds += _DAY_S
    except (ValueError, OverflowError):
        seconds = float("nan")
    if not abs(seconds) < 1e12:
        raise InvalidRequest(
            f"{name.capitalize()} is not a date.",
            "Write it like 2026-11-23 or as seconds since 1970.",
            field=name,
        )
    return seconds
