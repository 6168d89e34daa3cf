"""Files that are whole or not there: temporary name, fsync, rename, fsync of the folder."""

import errno
import os
import secrets
import shutil
import time
import unicodedata
from contextlib import suppress
from pathlib import Path

from studio.core.errors import StorageFailed

TEMPORARY = ".tmp-"
"""Unfinished files begin so; what a crash leaves of them is swept at the next start."""

MARKER = ".studio"
_MARKER_TEXT = b"This folder belongs to a Pochade studio. Without this file it will not be used.\n"

MAX_SLUG_CHARS = 60
MAX_SLUG_BYTES = 180
"""Leaves room for time, id and ending within the 255 bytes that file systems give a name."""


def write_whole(
    path: Path, data: bytes, *, mode: int = 0o666, durable: bool = True, replace: bool = False
) -> None:
    """Puts `data` at `path` in one step; `mode` is narrowed by the umask.

    `durable` means that it survives power loss once this returns. Raises `FileExistsError` if the
    name is taken and `replace` is false, `StorageFailed` if the disk refuses; in both cases no new
    file is at `path`, and no temporary one is left unless the disk refuses its removal too.
    """
    temporary = path.with_name(TEMPORARY + secrets.token_hex(8))
    placed = False
    try:
        _fill(temporary, data, mode, durable=durable)
        if not replace and path.exists():
            raise FileExistsError(errno.EEXIST, "name taken", path.name)
        os.replace(temporary, path)
        placed = True
        if durable:
            sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(path if placed else temporary)
        if isinstance(error, OSError) and not isinstance(error, FileExistsError):
            raise storage_failed(error) from error
        raise


def make_folder(path: Path) -> None:
    """Makes the folder, and those above it, for its owner alone. Raises `StorageFailed`."""
    if path.is_dir():
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_failed(error) from error


def sync_folder(path: Path) -> None:
    """Makes renames and removals in the folder survive power loss. Raises `OSError`."""
    if os.name == "nt":  # folders cannot be opened there; NTFS journals renames by itself
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> int:
    """Removes what crashes have left in the folder and the folders in it; how many files."""
    swept = 0
    for pattern in (f"{TEMPORARY}*", f"*/{TEMPORARY}*"):
        for leftover in folder.glob(pattern):
            with suppress(OSError):
                leftover.unlink()
                swept += 1
    return swept


def mark(folder: Path) -> None:
    """Writes the marker by which the folder is known again. Raises `StorageFailed`."""
    make_folder(folder)
    write_whole(folder / MARKER, _MARKER_TEXT, replace=True)


def is_marked(folder: Path) -> bool:
    """Whether this is the studio's folder, and not the empty place where its disk is mounted."""
    return (folder / MARKER).is_file()


def require_free(folder: Path, free_bytes: int) -> None:
    """Raises `StorageFailed` if the disk of the folder has less room than that."""
    try:
        left = shutil.disk_usage(folder).free
    except OSError as error:
        raise storage_failed(error) from error
    if left < free_bytes:
        raise StorageFailed(
            f"The disk is nearly full ({left / 1e6:.0f} MB left, "
            f"{free_bytes / 1e6:.0f} MB needed).",
            "Free some space and try again.",
        )


def storage_failed(error: OSError) -> StorageFailed:
    """What the disk said, for a person."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StorageFailed("The disk is full.", "Free some space and try again.")
    return StorageFailed(
        "The data folder cannot be written.", "Check its permissions and its disk, then try again."
    )


def month(created: float) -> str:
    """`yyyy-mm` in UTC."""
    return time.strftime("%Y-%m", time.gmtime(created))


def picture_name(created: float, prompt: str, image_id: str) -> str:
    """A name that sorts by time (UTC, so no hour comes twice) and tells what is on the picture.

    At most 255 bytes, valid on Linux, macOS and Windows whatever the prompt is.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(created))
    return f"{stamp}-{slug(prompt)}-{image_id[:8]}.png"


def slug(text: str) -> str:
    """Letters and digits of any script in lower case, joined by `-`; `picture` if none is left."""
    kept: list[str] = []
    size = 0
    head = unicodedata.normalize("NFKC", text[:400]).lower()
    for character in unicodedata.normalize("NFC", head):
        kind = unicodedata.category(character)
        accent = kind in {"Mn", "Mc"} and kept and kept[-1] != "-"
        if not (kind[0] == "L" or kind == "Nd" or accent):
            if not kept or kept[-1] == "-":
                continue
            character = "-"
        size += len(character.encode())
        if len(kept) == MAX_SLUG_CHARS or size > MAX_SLUG_BYTES:
            break
        kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept)).strip("-") or "picture"


def _fill(path: Path, data: bytes, mode: int, *, durable: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags, mode)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)
