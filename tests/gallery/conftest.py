"""A gallery in an empty folder, and pictures to put into it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.core.records import ImageRecord
from studio.gallery.store import Gallery
from tests.gallery.painted import painted


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def gallery(data_dir: Path) -> Iterator[Gallery]:
    opened = Gallery(data_dir, min_free_bytes=0)
    yield opened
    opened.close()


@pytest.fixture
def keep(gallery: Gallery) -> Callable[..., ImageRecord]:
    """Saves a picture; anything about it can be said by name."""

    def keep(prompt: str = "a red fox", *, owner: str = "local", **said: object) -> ImageRecord:
        return painted(gallery, prompt, owner=owner, **said)

    return keep
