"""Makes control maps, keeps the last network that did, and remembers maps on disk."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image as Images
from PIL.Image import Image

from studio import __version__
from studio.core.errors import StudioError
from studio.core.requests import dump, parse
from studio.preprocessors import _people
from studio.preprocessors._preprocessor import Map, Preprocessor, Run
from studio.preprocessors._stopping import Check, wanted
from studio.preprocessors._weights import Places, opened
from studio.tasks._maps import labels, named

MOST_KEPT = 256
"""Maps on disk; the oldest goes first."""


class Maps:
    """Used by the thread that runs jobs alone."""

    def __init__(self, places: Places = Places(), folder: Path | None = None) -> None:  # noqa: B008 - frozen
        """`places` are searched for weights, `folder` remembers maps; None remembers nothing."""
        self._places = places
        self._folder = folder
        self._open: tuple[str, Run] | None = None

    def make(
        self,
        name: str,
        params: Mapping[str, Any],
        image: Image,
        loading: Callable[[str], None],
        check: Check = wanted,
    ) -> Map:
        """The map of an RGB picture. Raises `StudioError` where there is nothing to see, or where
        weights are absent, and whatever `check` raises."""
        entry = named(name)
        settings = parse(entry.params, params)
        key = _key(entry, dump(settings), image)
        if (found := self._known(key)) is not None:
            return found
        made = self._opened(entry, loading)(image, settings, check)
        self._keep(key, made)
        return made

    def known(self, name: str, params: Mapping[str, Any], image: Image) -> Map | None:
        """The map, where it was made before and is still there."""
        entry = named(name)
        return self._known(_key(entry, dump(parse(entry.params, params)), image))

    def drop(self) -> None:
        """Forgets the network that is kept."""
        self._open = None

    def _opened(self, entry: Preprocessor, loading: Callable[[str], None]) -> Run:
        if entry.run is not None:
            return entry.run
        if self._open is None or self._open[0] != entry.id:
            self.drop()
            loading(entry.label)
            self._open = (entry.id, opened(entry, self._places, labels()))
        return self._open[1]

    def _known(self, key: str) -> Map | None:
        if self._folder is None:
            return None
        file = self._folder / f"{key}.png"
        try:
            with Images.open(file) as image:
                image.load()
                people = json.loads(image.info["people"]) if "people" in image.info else None
            os.utime(file)
            shown = image.convert("RGB")
            return Map(shown, _people.from_json(people, shown.size) if people else ())
        except (OSError, ValueError, StudioError):
            return None  # never made, or cut off in the middle: it is made again

    def _keep(self, key: str, made: Map) -> None:
        if self._folder is None:
            return
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        if made.people:
            text.add_text("people", json.dumps(_people.to_json(made.people, made.image.size)))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / f"{secrets.token_hex(8)}.part"
            made.image.save(part, "PNG", pnginfo=text, compress_level=1)
            part.replace(self._folder / f"{key}.png")
            files = sorted(self._folder.iterdir(), key=lambda file: file.stat().st_mtime)
            for old in files[:-MOST_KEPT]:
                old.unlink(missing_ok=True)
        except OSError:
            return  # a full disk costs no map, only the time to make it again


def _key(entry: Preprocessor, settings: Mapping[str, Any], image: Image) -> str:
    """Of all that a map depends on; another version of the studio may draw another one."""
    asked = json.dumps([__version__, entry.id, settings, image.size], sort_keys=True)
    return hashlib.sha256(asked.encode() + image.tobytes()).hexdigest()
