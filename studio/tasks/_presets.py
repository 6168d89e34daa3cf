"""Styles in words, written into the prompt before anything else is decided."""

from dataclasses import replace
from typing import Annotated, Any, Protocol, TypeVar

from annotated_types import MaxLen
from pydantic.dataclasses import dataclass

from studio.core.errors import InvalidRequest
from studio.core.requests import MAX_PROMPT_CHARS, STRICT, Name, Text
from studio.prompts.presets import expanded
from studio.tasks._task import Facts

Presets = Annotated[tuple[Name, ...], MaxLen(16)]


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Typed:
    """A prompt as somebody wrote it, before styles were written into it."""

    prompt: Text = ""
    negative_prompt: Text = ""


class Worded(Protocol):
    """A request whose prompt may have styles."""

    @property
    def prompt(self) -> str: ...
    @property
    def negative_prompt(self) -> str: ...
    @property
    def styles(self) -> tuple[str, ...]: ...
    @property
    def styled(self) -> tuple[str, ...]: ...
    @property
    def typed(self) -> Typed | None: ...


W = TypeVar("W", bound=Worded)


def with_presets(request: W, facts: Facts) -> W:
    """The request with its styles written out; one that has none stays as it is.

    Raises `InvalidRequest` for a style that there is not, or a prompt that becomes too long.
    """
    if not request.styles:
        return request
    found = [facts.preset(name) for name in request.styles]
    prompt, negative = expanded(request.prompt, request.negative_prompt, found)
    if max(len(prompt), len(negative)) > MAX_PROMPT_CHARS:
        raise InvalidRequest(
            f"With its styles the prompt is longer than {MAX_PROMPT_CHARS} letters.",
            "Choose fewer styles, or shorten the prompt.",
            field="styles",
        )
    changes: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": negative,
        "styles": (),
        "styled": (*request.styled, *(preset.name for preset in found)),
        "typed": request.typed
        or Typed(prompt=request.prompt, negative_prompt=request.negative_prompt),
    }
    return replace(request, **changes)  # type: ignore[type-var]
