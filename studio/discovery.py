"""Opens a drawer: a folder that is its own registry.

Every module in the folder whose name does not start with `_` exports exactly one constant of the
drawer's type. A wrong or duplicate entry stops the start with file and reason.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeVar


class Entry(Protocol):
    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=Entry)


class DrawerError(RuntimeError):
    """A file in a drawer does not hold what the drawer is for; names file and reason."""


def open_drawer(package: str, kind: type[E]) -> Mapping[str, E]:
    """All entries of the folder `package` (a dotted name) by id, in the order of file names."""
    folder: Any = importlib.import_module(package)
    entries: dict[str, E] = {}
    for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda found: found.name):
        if module.name.startswith("_"):
            continue
        file = f"{package.replace('.', '/')}/{module.name}.py"
        try:
            loaded = importlib.import_module(f"{package}.{module.name}")
        except Exception as error:
            raise DrawerError(f"{file} cannot be imported: {error!r}") from error
        found = [value for value in vars(loaded).values() if isinstance(value, kind)]
        if len(found) != 1:
            raise DrawerError(f"{file} must export one {kind.__name__}, it exports {len(found)}.")
        entry = found[0]
        if entry.id in entries:
            raise DrawerError(f"{file} repeats the id '{entry.id}' of {kind.__name__}.")
        entries[entry.id] = entry
    return MappingProxyType(entries)
