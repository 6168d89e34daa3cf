"""Finds what may be a checkpoint below a folder, without opening anything."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from studio.checkpoints.folder import INDEX
from studio.checkpoints.invoke import names_in
from studio.core.layouts import KEY, is_hub, is_keyed

PICKLED = frozenset({".ckpt", ".pt", ".pth", ".bin"})
READ = frozenset({".safetensors", ".gguf"})
SIDECAR = "pochade.json"

GENERIC = (
    *("diffusion_pytorch_model", "pytorch_lora_weights", "learned_embeds"),
    "adapter_model",
)
"""How diffusers and PEFT call the file in a folder; the folder's name says more."""

MAX_DEPTH = 8
MAX_ENTRIES = 20_000
"""Files and folders looked at below one folder; what comes later is not listed."""

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and modification time in nanoseconds of all files that make up a checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Something that a person may have meant as a checkpoint."""

    id: str
    """Path below the scanned folder, with forward slashes and without its ending."""
    path: Path
    layout: Literal["folder", "file"]
    stamp: Stamp
    """Changes whenever the checkpoint does."""
    loose: bool = False
    """It lies among things of every other kind: nobody meant it as anything."""


def scan(root: Path) -> tuple[Found, ...]:
    """What lies below `root`, in the order of ids, upper and lower case alike.

    Hidden entries and links that leave `root` are ignored. A folder that is missing or cannot be
    read is empty. Of Hugging Face's cache it is what each repository holds now, by `owner/name`;
    of what InvokeAI keeps by key, files by their names, and folders by what its database calls them,
    else by their keys.
    """
    try:
        top = root.resolve()
        walk = _Walk(top)
        if is_hub(top):
            found = _in_hub(walk, top)
        else:
            found = _keyed(walk, top) if is_keyed(top) else walk.below(top, 0)
        return tuple(sorted(found, key=_order))
    except OSError:
        return ()


def _in_hub(walk: "_Walk", hub: Path) -> Iterator[Found]:
    for repository in sorted(hub.glob("models--*")):
        name = repository.name.removeprefix("models--").replace("--", "/", 1)
        if (snapshot := _snapshot(repository)) is None:
            continue
        if (snapshot / INDEX).is_file():
            stamp = folder_stamp(snapshot)
            yield Found(id=name, path=snapshot, layout="folder", stamp=stamp, loose=True)
            continue
        for found in walk.below(snapshot, MAX_DEPTH):  # its files, and no folder
            yield replace(found, id=f"{name}/{found.path.stem}", loose=True)


def _keyed(walk: "_Walk", models: Path) -> Iterator[Found]:
    taken: set[str] = set()
    names = names_in(models)
    for place in sorted(models.iterdir()):
        if place.is_symlink() or not KEY.fullmatch(place.name):
            continue
        called = names.get(place.name, place.name)
        for found in walk.inside(place, 1):
            below = found.id.removeprefix(place.name)
            name = below.removeprefix("/") if _is_alone(found, place) else called + below
            yield replace(found, id=found.id if name in taken else name, loose=True)
            taken.add(name)


def _is_alone(found: Found, place: Path) -> bool:
    """Whether it is a file with nothing beside it, and has a name that says something."""
    alone = found.layout == "file" and found.path.parent == place
    return (
        alone and not (place / "config.json").is_file() and not found.path.stem.startswith(GENERIC)
    )


def _snapshot(repository: Path) -> Path | None:
    """The folder of the revision that `main` is at, else of the newest one."""
    try:
        main = (repository / "refs" / "main").read_text().strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    folders = [p for p in (repository / "snapshots").glob("*") if p.is_dir()]
    named = [folder for folder in folders if folder.name == main]
    return max(named or folders, key=lambda folder: folder.stat().st_mtime_ns, default=None)


def _order(found: Found) -> tuple[str, str, bool]:
    """Usable kinds before others of the same id, so that they keep it."""
    return found.id.casefold(), found.id, found.path.suffix.lower() in PICKLED


class _Walk:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._left = MAX_ENTRIES

    def below(self, folder: Path, depth: int) -> Iterator[Found]:
        entries = self._entries(folder)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if depth < MAX_DEPTH:
                    yield from self.inside(Path(entry.path), depth + 1)
            elif found := self._file(entry):
                yield found

    def inside(self, folder: Path, depth: int) -> Iterator[Found]:
        if (folder / INDEX).is_file():
            yield Found(
                id=folder.relative_to(self._root).as_posix(),
                path=folder,
                layout="folder",
                stamp=folder_stamp(folder),
            )
        else:
            yield from self.below(folder, depth)

    def _file(self, entry: os.DirEntry[str]) -> Found | None:
        path = Path(entry.path)
        if path.suffix.lower() not in PICKLED | READ or not path.is_file():
            return None
        if entry.is_symlink() and not path.resolve().is_relative_to(self._root):
            return None
        try:
            stamp = file_stamp(path)
        except OSError:
            return None
        below = path.relative_to(self._root)
        return Found(id=below.with_suffix("").as_posix(), path=path, layout="file", stamp=stamp)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as listed:
                found = [entry for entry in listed if not entry.name.startswith(".")]
        except OSError:
            return []
        found = sorted(found, key=lambda entry: entry.name)[: self._left]
        self._left -= len(found)
        return found


def sidecar_of(path: Path) -> Path:
    """Where a person may note how a checkpoint wants to be used."""
    return path / SIDECAR if path.is_dir() else path.with_suffix(f".{SIDECAR}")


def file_stamp(path: Path) -> Stamp:
    """Of a single file and its sidecar. Raises `OSError` if the file is gone."""
    return _stamps((path,)) + _stamps(p for p in (sidecar_of(path),) if p.is_file())


def folder_stamp(folder: Path) -> Stamp:
    """Of all files in a checkpoint's folder and its parts' folders."""
    files: list[Path] = []
    for place in (folder, *sorted(p for p in folder.iterdir() if p.is_dir())):
        files += sorted(file for file in place.iterdir() if file.is_file())
    return _stamps(files)


def _stamps(files: Iterator[Path] | tuple[Path, ...] | list[Path]) -> Stamp:
    stats = [(file, file.stat()) for file in files]
    return tuple(
        (f"{file.parent.name}/{file.name}", stat.st_size, stat.st_mtime_ns) for file, stat in stats
    )
