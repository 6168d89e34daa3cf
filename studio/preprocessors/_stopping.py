"""How work on a picture hears that nobody wants it any more."""

from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from threading import Thread
from typing import TypeVar

T = TypeVar("T")

ASKED_S = 0.1
"""Between two questions whether a map is still wanted."""

Check = Callable[[], None]
"""Raises once nobody wants the map any more; whatever it raises goes up. Asked wherever the work can be
left: between scales, pieces, people and layers of a network."""


def wanted() -> None:
    """The check of a map that is wanted to its end."""


def heard(work: Callable[[], T], check: Check) -> T:
    """What `work` makes, in a thread of its own, while `check` is asked, and once before. Where that
    raises, the work goes on to its end with nobody to take it: it is a call of a library that lets
    other threads run and knows no way to be stopped."""
    check()
    made: Future[T] = Future()

    def run() -> None:
        try:
            made.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            made.set_exception(error)

    Thread(target=run, name="map", daemon=True).start()
    while not wait((made,), ASKED_S).done:
        check()
    return made.result()


@contextmanager
def between_layers(check: Check) -> Generator[None]:
    """Asks before each layer of whatever torch network runs within. It runs in one thread alone."""
    from torch.nn.modules import module

    hook = module.register_module_forward_pre_hook(lambda *_: check())
    try:
        yield
    finally:
        hook.remove()
