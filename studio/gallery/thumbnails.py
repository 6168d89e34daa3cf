"""Small WebP copies for lists. They can be thrown away at any time."""

import io
import threading
from contextlib import suppress
from pathlib import Path

from studio.core import intake
from studio.core.errors import StorageFailed, StudioError
from studio.gallery import files

SIDE_PX = 384
QUALITY = 82
AT_ONCE = 2
"""Thumbnails made at the same time: memory of that many whole pictures, and a core left over."""

_GREY = (118, 118, 122)


class Thumbnails:
    """A folder of thumbnails. Raises `StorageFailed` if it cannot be made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._room = threading.BoundedSemaphore(AT_ONCE)
        files.make_folder(folder)
        self._tile = folder / "unreadable.webp"
        if not _there(self._tile):
            files.write_whole(self._tile, _tile(), durable=False, replace=True)

    def of(self, image_id: str, picture: Path) -> Path:
        """The thumbnail of a picture; a grey tile if it cannot be read.

        The picture itself if the disk has no room for a thumbnail. Never raises for a bad file.
        """
        path = self._path(image_id)
        if _there(path):
            return path
        with self._room:
            if _there(path):
                return path
            try:
                data = _thumbnail(picture)
            except (StudioError, OSError):
                return self._tile
            try:
                files.make_folder(path.parent)
                files.write_whole(path, data, durable=False, replace=True)
            except StorageFailed:
                return picture
        return path

    def forget(self, image_id: str) -> None:
        with suppress(OSError):
            self._path(image_id).unlink(missing_ok=True)

    def _path(self, image_id: str) -> Path:
        return self._folder / image_id[:2] / f"{image_id}.webp"


def _there(path: Path) -> bool:
    """Not empty either: thumbnails are not fsynced, so power loss may leave an empty one."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _thumbnail(picture: Path) -> bytes:
    image = intake.load(picture)
    image.thumbnail((SIDE_PX, SIDE_PX), reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)
    return file.getvalue()


def _tile() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (SIDE_PX, SIDE_PX), _GREY).save(file, "WEBP", lossless=True)
    return file.getvalue()
