"""Names for files of several folders: each its own, so that none hides another."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path


def free_id(path: Path, folder: Path, taken: Mapping[str, Path], *names: str) -> str:
    """What the file or checkpoint below `folder` goes by: the first of these names that is free; with its
    ending beside a file of another kind; with the name of its folder beside one in another, and by
    number in the end. `taken` has the paths by id; what it has already keeps its id."""
    for name in names:
        if taken.get(name, path) == path:
            return name
    own = names[0]
    ending = "" if path.is_dir() else path.suffix
    beside = taken[own].parent == path.parent and own + ending
    if beside and taken.get(beside, path) == path:
        return beside
    numbered = (f"{folder.name}{f'-{number}' if number > 1 else ''}/{own}" for number in count(1))
    return next(name for name in numbered if taken.get(name, path) == path)
