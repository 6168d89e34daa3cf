"""Making a control map: the preprocessor of a name, with its own settings."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from PIL.Image import Image

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
    entry = _of_kind(kind) if name is None else _named(name)
    return entry.id, dump(parse(entry.params, params))


def make_map(name: str, params: Mapping[str, Any], image: Image) -> Image:
    """The map of an RGB picture, in its size. Raises `StudioError` where there is nothing to see."""
    entry = _named(name)
    if entry.run is None:
        raise InvalidRequest(
            f"'{entry.label}' needs weights that are not here.",
            "Choose another preprocessor, or bring a map of your own.",
            field="units",
        )
    return entry.run(image, parse(entry.params, params)).image


def _named(name: str) -> Preprocessor:
    found = preprocessors().get(name)
    if found is None:
        raise InvalidRequest(
            f"There is no preprocessor '{name[:60]}'.",
            f"There are {', '.join(preprocessors())}.",
            field="units",
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
