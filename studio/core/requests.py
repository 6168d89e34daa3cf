"""What every request is made of: strict, frozen, bounded fields, and their JSON.

A request is a pydantic dataclass made with `STRICT`: unknown keys, wrong types, NaN and values out
of bounds are refused, and the docstring under a field becomes its tooltip and its API text.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar, cast

from annotated_types import Ge, Le, MaxLen
from pydantic import (
    AfterValidator,
    ConfigDict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import (
    ErrorDetails,
    PydanticCustomError,
    PydanticSerializationError,
    core_schema,
    to_json,
)

from studio.core.errors import InvalidRequest

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

MAX_PROMPT_CHARS = 8000
MAX_SEED = 2**63 - 1

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and newline, and the bidi controls that make a text read as another."""


def _printable(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if found := _UNPRINTABLE.search(text):
        raise PydanticCustomError(
            "unprintable",
            "holds the invisible control character U+{code} at position {position}",
            {"code": f"{ord(found[0]):04X}", "position": found.start() + 1},
        )
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "is empty")
    return text


Text = Annotated[str, MaxLen(MAX_PROMPT_CHARS), AfterValidator(_printable)]
Prompt = Annotated[Text, AfterValidator(_not_blank)]
Pixels = Annotated[int, Ge(64), Le(2048)]
Steps = Annotated[int, Ge(1), Le(150)]
Guidance = Annotated[float, Ge(0), Le(30)]
Seed = Annotated[int, Ge(-1), Le(MAX_SEED)]
ClipSkip = Annotated[int, Ge(1), Le(12)]
Count = Annotated[int, Ge(1), Le(32)]
Weights = Literal["planned", "whole", "packed", "fp8", "blocks"]
"""How a checkpoint's weights are in memory: as planned, or in a way that somebody chose."""
Name = Annotated[str, MaxLen(200), AfterValidator(_printable)]
Strength = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Ge(0.05), Le(0.95)]
Factor = Annotated[float, Ge(1), Le(4)]
Feather = Annotated[int, Ge(0), Le(512)]
Padding = Annotated[int, Ge(0), Le(2048)]
REF_CHARS = 64
"""Length of an upload's ref: its SHA-256 as hex digits. The id of a picture is half as long."""
ImageRef = Annotated[str, StringConstraints(pattern="^([0-9a-f]{64}|[0-9a-f]{32})$")]
"""SHA-256 (64 hex digits) of stored bytes, or the id (32 hex digits) of a picture in the gallery."""
_UPLOAD = re.compile("[0-9a-f]{64}")
_PICTURE = re.compile('"([0-9a-f]{32})"')

R = TypeVar("R")


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


class _Described(GenerateJsonSchema):
    """With the docstrings under fields as their descriptions, inherited ones included. They are
    read from the source when a schema is asked for: pydantic would do so at each import."""

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        found = super().dataclass_schema(schema)
        for name, rule in found.get("properties", {}).items():
            if text := _descriptions(schema["cls"]).get(name):
                rule.setdefault("description", text)
        return found


@cache
def _descriptions(kind: type) -> dict[str, str]:
    """The docstring under each field that has one, by the field's name."""
    found = {
        name: text for base in kind.__mro__[:0:-1] for name, text in _descriptions(base).items()
    }
    if not is_dataclass(kind):
        return found
    body = cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]).body
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                found[name] = inspect.cleandoc(text)
            case _:
                pass
    return found


@cache
def schema(kind: type) -> dict[str, Any]:
    """The JSON schema of a request class; treat it as read-only."""
    return _adapter(kind).json_schema(schema_generator=_Described)


def texts(kind: type) -> frozenset[str]:
    """Fields of a request class that hold text and nothing else."""
    whole = schema(kind)

    def types(found: Mapping[str, Any]) -> set[str]:
        if "$ref" in found:
            return types(whole["$defs"][found["$ref"].rpartition("/")[2]])
        if "anyOf" in found:
            return {one for way in found["anyOf"] for one in types(way)}
        return {str(found.get("type"))}

    every = {name: types(field) for name, field in whole["properties"].items()}
    return frozenset(name for name, found in every.items() if found - {"null"} == {"string"})


def parse(kind: type[R], data: Mapping[str, Any]) -> R:
    """A request from plain JSON data.

    Raises `InvalidRequest` that names the first offending field; a key that `kind` does not have is
    an error, never dropped.
    """
    try:
        return cast(R, _adapter(kind).validate_json(to_json(data, inf_nan_mode="constants")))
    except PydanticSerializationError:
        raise InvalidRequest(
            "The request holds text that is not valid Unicode.", "Send it as UTF-8."
        ) from None
    except ValidationError as error:
        raise _sentence(kind, error.errors(include_url=False)[0]) from None


def dump(request: object) -> dict[str, Any]:
    """The request as plain JSON data; `parse(type(request), dump(request)) == request`."""
    return cast(dict[str, Any], _adapter(type(request)).dump_python(request, mode="json"))


def uploads_in(data: object) -> frozenset[str]:
    """Refs of uploads anywhere in plain JSON data: in a request, a form, whatever else names them."""
    return frozenset(_UPLOAD.findall(json.dumps(data)))


def pictures_in(data: object) -> frozenset[str]:
    """Ids of pictures in the gallery, as `uploads_in`."""
    return frozenset(_PICTURE.findall(json.dumps(data)))


def field_naming(request: object, ref: str) -> str | None:
    """The field of a request that names this picture, by itself or in one of its parts."""
    found = (name for name, value in dump(request).items() if ref in json.dumps(value))
    return next(found, None)


def _sentence(kind: type, error: ErrorDetails) -> InvalidRequest:
    field, properties = _place(schema(kind), [str(part) for part in error["loc"]])
    rule = _flat(properties.get(field.rpartition(".")[2], {}))
    label = " ".join(field.replace("_", " ").split(".")).capitalize()
    kind_of_error = error["type"]
    if kind_of_error in {"unexpected_keyword_argument", "extra_forbidden"}:
        known = ", ".join(properties)
        return InvalidRequest(
            f"There is no setting called '{field[:60]}' here.",
            f"Remove it; the settings are {known}.",
            field=field[:60],
        )
    if kind_of_error in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return InvalidRequest(f"{label} is missing.", f"Add '{field}' to the request.", field=field)
    if kind_of_error == "blank":
        return InvalidRequest(f"{label} is empty.", "Type what you would like to see.", field=field)
    if kind_of_error == "unprintable":
        return InvalidRequest(f"{label} {error['msg']}.", "Remove it and try again.", field=field)
    if kind_of_error == "string_pattern_mismatch":
        return InvalidRequest(
            f"{label} is not the reference of a picture (got {_brief(error['input'])}).",
            "Upload the picture and use the 'ref' it is given, or the id of one in the gallery.",
            field=field,
        )
    if kind_of_error == "literal_error":
        return InvalidRequest(
            f"{label} must be {_either(rule)} (got {_brief(error['input'])}).",
            "Change it and try again.",
            field=field,
        )
    if "maxLength" in rule and kind_of_error == "string_too_long":
        return InvalidRequest(
            f"{label} may be at most {rule['maxLength']} characters long "
            f"(got {len(str(error['input']))}).",
            "Shorten it and try again.",
            field=field,
        )
    low, high = rule.get("minimum"), rule.get("maximum")
    got = _brief(error["input"])
    if low is not None and high is not None:
        noun = "a whole number between" if rule.get("type") == "integer" else "between"
        return InvalidRequest(
            f"{label} must be {noun} {low:g} and {high if high > 10**6 else format(high, 'g')} "
            f"(got {got}).",
            "Change it and try again.",
            field=field,
        )
    if kind_of_error == "too_long":
        return InvalidRequest(
            f"{label} may be at most {rule.get('maxItems', 'fewer')} "
            f"(got {len(cast(list[Any], error['input']))}).",
            "Leave some out and try again.",
            field=field,
        )
    if kind_of_error in {"dataclass_type", "dict_type"}:
        return InvalidRequest(
            f"{label} must be an object (got {got}).",
            'Write it like {"name": value}.',
            field=field,
        )
    return InvalidRequest(
        f"{label} must be of type {rule.get('type', 'text')} (got {got}).",
        "Change it and try again.",
        field=field,
    )


def _place(schema: Mapping[str, Any], path: list[str]) -> tuple[str, dict[str, Any]]:
    """The field that a path of pydantic's means, as `hires.factor` where it is one of a group, and
    the rules of its neighbours."""
    properties = cast(dict[str, Any], schema.get("properties", {}))
    names = path[:1] or ["request"]
    rule = _flat(properties.get(names[0], {}))
    group = rule.get("$ref") or rule.get("items", {}).get("$ref", "")
    if group and len(path) > 1:
        inner = schema["$defs"][group.rpartition("/")[2]]
        # what lies between are names of types
        names.append(next((part for part in path[1:] if part in inner["properties"]), path[-1]))
        properties = cast(dict[str, Any], inner["properties"])
    return ".".join(names), properties


def _either(rule: Mapping[str, Any]) -> str:
    *names, last = [str(name) for name in rule.get("enum", [rule.get("const", "another one")])]
    return f"{', '.join(names)} or {last}" if names else last


def _flat(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A field's schema with the `null` branch of an optional one taken away."""
    for branch in rule.get("anyOf", ()):
        if branch.get("type") != "null":
            return {**rule, **branch}
    return dict(rule)


def _brief(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:37] + "…"
