"""How work on a picture hears that nobody wants it any more."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

Check = Callable[[], None]
"""Raises once nobody wants the map any more; whatever it raises goes up. Asked wherever the work can be
left: between scales, pieces, people and layers of a network."""


def wanted() -> None:
    """The check of a map that is wanted to its end."""


@contextmanager
def between_layers(check: Check) -> Generator[None]:
    """Asks before each layer of whatever torch network runs within. It runs in one thread alone."""
    from torch.nn.modules import module

    hook = module.register_module_forward_pre_hook(lambda *_: check())
    try:
        yield
    finally:
        hook.remove()
