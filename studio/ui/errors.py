"""The one place where what went wrong becomes something on the page."""

import html
import logging
import secrets
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import gradio as gr

from studio.core.errors import StudioError

log = logging.getLogger("studio.ui")

P = ParamSpec("P")
R = TypeVar("R")

ERROR_SECONDS = 12
NOTE_SECONDS = 8


def told(handler: Callable[P, R]) -> Callable[P, R]:
    """The handler, with everything that it raises turned into a toast a person can act on."""

    @wraps(handler)
    def safe(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except StudioError as error:
            raise _toast(error.message, error.hint) from None
        except Exception as error:
            number = secrets.token_hex(4)
            log.exception("incident %s", number)
            raise _toast(
                f"Something went wrong (id {number}).",
                "Try again; if it stays, look for this id in the studio's log.",
            ) from error

    return safe


def note(sentence: str) -> None:
    """A sentence that needs no answer. Only works in a handler that goes through Gradio's queue."""
    gr.Info(html.escape(sentence), duration=NOTE_SECONDS, title="Note")


def _toast(message: str, hint: str) -> gr.Error:
    # Gradio renders toasts as HTML, and a message may repeat what somebody typed
    return gr.Error(
        f"{html.escape(message)}<br>{html.escape(hint)}",
        duration=ERROR_SECONDS,
        print_exception=False,
        title="That did not work",
    )
