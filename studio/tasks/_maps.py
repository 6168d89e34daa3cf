"""Which preprocessor makes a control map, and with which settings."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.requests import dump, parse
from studio.discovery import open_drawer
from studio.preprocessors._preprocessor import Preprocessor


@cache
def preprocessors() -> Mapping[str, Preprocessor]:
    """The drawer of preprocessors, opened once."""
    return open_drawer("studio.preprocessors", Preprocessor)


def check_map(name: str | None, kind: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Id and full settings of a preprocessor; without a name the kind's first that needs nothing.

    Raises `InvalidRequest`.
    """
    entry = _of_kind(kind) if name is None else named(name)
    return entry.id, dump(parse(entry.params, params))


def named(name: str, field: str = "units") -> Preprocessor:
    """Raises `InvalidRequest`."""
    found = preprocessors().get(name)
    if found is None:
        raise InvalidRequest(
            f"There is no preprocessor '{name[:60]}'.",
            f"There are {', '.join(preprocessors())}.",
            field=field,
        )
    return found


def _of_kind(kind: str) -> Preprocessor:
    for entry in preprocessors().values():
        if entry.kind == kind and entry.run is not None:
            return entry
    raise InvalidRequest(
        f"No preprocessor makes maps of kind '{kind[:40]}'.",
        "Name one, or bring a map of your own.",
        field="units",
    )
