"""Reads what a client sends: a JSON object, or the bytes of one file."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

from fastapi import Request
from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from studio.core.errors import InvalidRequest, Unsupported

FORM_FIELDS = 10
FORM_FIELD_BYTES = 64 * 1024


async def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises `Unsupported` or `InvalidRequest`."""
    kind = _kind(request)
    if kind != "application/json" and not kind.endswith("+json"):
        raise Unsupported("The body must be JSON.", "Send it with Content-Type: application/json.")
    data = await request.body()
    try:
        # nesting is bounded in this parser, and NaN refused
        found = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise _unread(data, error) from None
    if not isinstance(found, dict):
        raise InvalidRequest("The body must be a JSON object.", "Put it into { }.")
    return found


def _unread(data: bytes, error: ValueError) -> InvalidRequest:
    """Why bytes are no JSON: Python and JavaScript write NaN and Infinity, which JSON does not have."""
    if "recursion" in str(error):
        return InvalidRequest("The JSON is nested too deeply.", "Flatten it.")
    with suppress(ValueError):
        for name, number in _numbers(from_json(data), ""):
            if name and not math.isfinite(number):
                return InvalidRequest(
                    f"{name.replace('_', ' ').capitalize()} must be a number (got {number}).",
                    "Write a finite one, or leave it out.",
                    field=name,
                )
    return InvalidRequest("The body is not valid JSON.", "Check quotes, commas and brackets.")


def _numbers(data: Any, name: str) -> Iterator[tuple[str, float]]:
    """Every fraction in plain data, with the key that it is below."""
    if isinstance(data, float):
        yield name, data
    elif isinstance(data, Mapping):
        for key, value in cast(Mapping[str, Any], data).items():
            yield from _numbers(value, key[:60])
    elif isinstance(data, list):
        for value in cast(list[Any], data):
            yield from _numbers(value, name)


def only(body: Mapping[str, Any], **kinds: type) -> tuple[Any, ...]:
    """The values of exactly these keys. Raises `InvalidRequest` for others or wrong types."""
    for name in body:
        if name not in kinds:
            raise InvalidRequest(
                f"There is no setting called '{name[:60]}' here.",
                f"Remove it; the settings are {', '.join(kinds)}.",
                field=name[:60],
            )
    for name, kind in kinds.items():
        # bool is a subclass of int in Python, not in JSON
        if type(body.get(name)) is not kind:
            word = {bool: "true or false", list: "a list", str: "a text"}.get(kind, "a number")
            raise InvalidRequest(
                f"'{name}' must be {word}.", "Change it and try again.", field=name
            )
    return tuple(body[name] for name in kinds)


def ids(body: Mapping[str, Any]) -> tuple[str, ...]:
    """`{"ids": [...]}` of at most 1000 picture ids."""
    (found,) = only(body, ids=list)
    if len(found) > 1000 or not all(isinstance(one, str) and len(one) <= 64 for one in found):
        raise InvalidRequest(
            "'ids' must be at most 1000 picture ids.", "Take them from /api/images.", field="ids"
        )
    return tuple(found)


async def file_bytes(request: Request) -> tuple[bytes, str | None]:
    """Bytes and content type of the one file sent: the raw body, or the first file of a form.

    Raises `Unsupported` or `InvalidRequest`; a form's temporary files are gone afterwards.
    """
    kind = _kind(request)
    if kind == "multipart/form-data":
        return await _first_file(request)
    if kind in {"application/x-www-form-urlencoded", "application/json", "text/plain"}:
        raise Unsupported(
            "A picture is expected here.",
            "Send its bytes with Content-Type: image/png, or as a form's file.",
        )
    data = await request.body()
    if not data:
        raise InvalidRequest("The picture is empty.", "Send its bytes as the body.")
    return data, kind or None


async def _first_file(request: Request) -> tuple[bytes, str | None]:
    try:
        async with request.form(
            max_files=1, max_fields=FORM_FIELDS, max_part_size=FORM_FIELD_BYTES
        ) as form:
            for value in form.values():
                if isinstance(value, UploadFile):
                    return await value.read(), value.content_type
    except (HTTPException, ValueError, KeyError):
        raise InvalidRequest("The form could not be read.", "Send one file in it.") from None
    raise InvalidRequest("The form holds no file.", "Send one file in it.")


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
