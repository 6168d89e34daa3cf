"""Which preprocessor makes a control map, and with which settings."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.requests import dump, parse
from studio.discovery import open_drawer
from studio.preprocessors._preprocessor import Preprocessor
from studio.preprocessors._weights import absent
from studio.tasks._task import Facts


@cache
def preprocessors() -> Mapping[str, Preprocessor]:
    """The drawer of preprocessors, opened once."""
    return open_drawer("studio.preprocessors", Preprocessor)


def check_map(name: str | None, kind: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Id and full settings of a preprocessor; without a name the kind's first that needs nothing.

    Raises `InvalidRequest`.
    """
    entry = _of_kind(kind) if name is None else named_for(kind, name)
    return entry.id, dump(parse(entry.params, params))


def named_for(kind: str, name: str) -> Preprocessor:
    """The one of that id, which makes maps of that kind. Raises `InvalidRequest`."""
    found = named(name)
    if found.kind != kind:
        fit = [entry.id for entry in preprocessors().values() if entry.kind == kind]
        raise InvalidRequest(
            f"The preprocessor '{found.id}' makes maps of kind '{found.kind}', not '{kind[:40]}'.",
            f"Those of kind '{kind[:40]}' are {', '.join(fit)}."
            if fit
            else f"Make the kind '{found.kind}', or bring a map of your own.",
            field="units",
        )
    return found


def require_weights(name: str, facts: Facts, field: str = "units") -> None:
    """Raises `InvalidRequest` where a preprocessor lacks weights: what it lacks, and how to get it."""
    entry = named(name)
    if entry.needs is not None and not facts.has_weights(entry):
        raise absent(entry.needs, labels(), field)


def labels() -> dict[str, str]:
    """Of all preprocessors, by id."""
    return {entry.id: entry.label for entry in preprocessors().values()}


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
