"""The one place where what went wrong becomes an HTTP answer.

Every error is `{"error": {"message", "hint", "field"}}`. A `StudioError` says its own words; anything
else is logged with an incident id and shown by that id alone.
"""

import logging
import math
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from studio.core.errors import Busy, InvalidRequest, NotFound, StudioError

log = logging.getLogger("studio.api")

_TOLD = "_pochade_incident"


class NotSignedIn(StudioError):
    """The studio asks for a login and this visit has none."""

    status = 401


class WrongMethod(StudioError):
    """The address exists, the method does not."""

    status = 405


class TooSlow(StudioError):
    """The body did not arrive in time. Nothing was stored."""

    status = 408


class Gone(StudioError):
    """A link that has done its work."""

    status = 410


class BadRange(StudioError):
    """More byte ranges than anybody needs."""

    status = 416


class TooManyHeaders(StudioError):
    status = 431


class TooOften(Busy):
    """`Busy`, which says in seconds when to come back."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message, f"Wait {_whole_s(wait_s)} s and try again.", wait_s=wait_s)


class Incident(StudioError):
    """Something nobody expected; its id is in the log beside the traceback."""

    status = 500


def error_json(error: StudioError) -> dict[str, Any]:
    return {"error": {"message": error.message, "hint": error.hint, "field": error.field}}


def headers_of(error: StudioError) -> dict[str, str]:
    if isinstance(error, Busy):
        return {"Retry-After": str(_whole_s(error.wait_s))}
    return {}


def _whole_s(seconds: float) -> int:
    return max(1, math.ceil(seconds))


def answer(error: StudioError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(
        error_json(error), error.status, headers={**headers_of(error), **(headers or {})}
    )


def incident(error: BaseException) -> Incident:
    """Logs what nobody expected, once, and returns what may be said about it."""
    known: Incident | None = getattr(error, _TOLD, None)
    if known:
        return known
    number = secrets.token_hex(4)
    log.error("incident %s", number, exc_info=error)
    told = Incident(
        f"Something went wrong (id {number}).",
        "Try again; if it stays, look for this id in the studio's log.",
    )
    setattr(error, _TOLD, told)
    return told


def nothing_here(request: Request) -> StudioError:
    return NotFound(
        f"There is nothing at {request.method} {request.url.path[:120]}.",
        "GET /api/docs lists what there is.",
    )


def translate(app: FastAPI) -> None:
    """Makes every error of `app` come out in the studio's shape."""

    async def studio_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, StudioError)
        return answer(error)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(_from_http(request, error), error.headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(_sentence(error))

    async def left(request: Request, error: Exception) -> Response:
        return answer(StudioError("The connection was closed.", "Try again."))  # nobody reads it

    async def unexpected(request: Request, error: Exception) -> Response:
        return answer(incident(error))

    app.add_exception_handler(StudioError, studio_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, left)
    app.add_exception_handler(Exception, unexpected)


def _from_http(request: Request, error: HTTPException) -> StudioError:
    if error.status_code == WrongMethod.status:
        return WrongMethod(
            f"{request.method} is not possible at {request.url.path[:120]}.",
            "GET /api/docs lists what is.",
        )
    if error.status_code == NotFound.status:
        return nothing_here(request)
    plain = StudioError("The request could not be read.", "GET /api/docs shows how to ask.")
    plain.status = error.status_code
    return plain


def _sentence(error: RequestValidationError) -> InvalidRequest:
    """The first thing wrong with an address or its parameters, as a sentence."""
    first = error.errors()[0]
    field = str(first["loc"][-1]) if first.get("loc") else "request"
    label = field.replace("_", " ").capitalize()[:60]
    rule = str(first.get("msg", "is not valid")).removeprefix("Input ").rstrip(".")
    return InvalidRequest(f"{label} {rule}.", "Change it and try again.", field=field[:60])
