"""Fetch the emoji sets and rasterise the chosen ones into one array of sprites."""

import io
import json
import logging
import shutil
import subprocess
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.training.concepts import Concept, choose

log = logging.getLogger(__name__)

SIDE = 128
"""Width and height of a sprite and of a picture, in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """A set of pictures on npm."""

    package: str
    style: str
    """The style word of this set's captions."""
    licence: str
    credit: str
    """Who must be named, and where."""


PACKS: tuple[Pack, ...] = (
    Pack(package="@lobehub/fluent-emoji-3d", style="3d render", licence="MIT",
         credit="Fluent Emoji by Microsoft, packed by LobeHub"),
    Pack(package="@iconify-json/fluent-emoji-flat", style="flat vector", licence="MIT",
         credit="Fluent Emoji Flat by Microsoft, packed by Iconify"),
    Pack(package="@iconify-json/noto", style="glossy cartoon", licence="Apache-2.0",
         credit="Noto Emoji by Google, packed by Iconify"),
    Pack(package="@iconify-json/twemoji", style="sticker", licence="CC-BY-4.0",
         credit="Twemoji by Twitter, packed by Iconify"),
)  # fmt: skip

LABELS = "emojibase-data"
"""Names and groups of the emoji (MIT)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sprite:
    """A row of the sprite array: what it shows and in which set's style."""

    concept: int
    """Index into `concepts.json`."""
    style: str


def fetch(package: str, folder: Path) -> Path:
    """Unpack an npm package below `folder` unless it is there, and return where it lies."""
    target = folder / package
    if not target.exists():
        packed = subprocess.run(
            ["npm", "pack", package, "--silent"],
            cwd=folder, check=True, capture_output=True, text=True,
        ).stdout.split()[-1]  # fmt: skip
        with tarfile.open(folder / packed) as archive:
            archive.extractall(folder / "unpacked", filter="data")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / "unpacked" / "package", target)
    return target


def load_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def svg_of(icons: dict, chars: dict[str, str], code: str) -> str | None:
    """The SVG text of an emoji in an Iconify set, or None if the set lacks it."""
    name = chars.get(code) or chars.get(code.replace("-fe0f", ""))
    icon = icons["icons"].get(name or "")
    if icon is None:
        return None
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{SIDE}" height="{SIDE}">{icon["body"]}</svg>'
    )


def rasterise(pack: Pack, folder: Path, concept: Concept, sets: dict) -> Any:
    """The RGBA picture of a concept in a pack, `SIDE` square, or None."""
    from PIL import Image

    code = concept.hexcode
    if pack.package.startswith("@lobehub"):
        for name in (code, code.replace("-fe0f", ""), f"{code}-fe0f"):
            path = folder / pack.package / "assets" / f"{name}.webp"
            if path.exists():
                picture = Image.open(path).convert("RGBA")
                return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        return None
    import resvg_py

    svg = svg_of(sets["icons"], sets["chars"], code)
    if svg is None:
        return None
    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")


def tight(picture: Any) -> Any:
    """Crop to what is opaque and centre it, scaled so that its longer side fills the square."""
    from PIL import Image

    box = picture.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox()
    if box is None:
        return None
    crop = picture.crop(box)
    scale = SIDE / max(crop.size)
    size = (max(1, round(crop.width * scale)), max(1, round(crop.height * scale)))
    crop = crop.resize(size, Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (SIDE, SIDE))
    square.paste(crop, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return square


def build(folder: Path, only: tuple[str, ...] = ()) -> None:
    """Write `sprites.npy` [n, 128, 128, 4] uint8, `sprites.json` and `concepts.json` below `folder`.

    `only` names the concepts to take; none takes all.
    """
    import numpy as np

    source = folder / "sources"
    source.mkdir(parents=True, exist_ok=True)
    for package in (LABELS, *(pack.package for pack in PACKS)):
        fetch(package, source)
    labels = source / LABELS
    groups = load_json(labels / "meta" / "groups.json")["subgroups"]
    concepts = choose(load_json(labels / "en" / "data.json"), groups)
    concepts = tuple(c for c in concepts if not only or c.name in only)
    sprites: list[Sprite] = []
    rows = []
    for pack in PACKS:
        sets = {
            part: load_json(source / pack.package / f"{part}.json")
            for part in ("icons", "chars")
            if (source / pack.package / "icons.json").exists()
        }
        for index, concept in enumerate(concepts):
            picture = rasterise(pack, source, concept, sets)
            picture = tight(picture) if picture is not None else None
            if picture is not None:
                sprites.append(Sprite(concept=index, style=pack.style))
                rows.append(np.asarray(picture))
        log.info("%s: %d sprites so far", pack.package, len(sprites))
    np.save(folder / "sprites.npy", np.stack(rows))
    (folder / "sprites.json").write_text(json.dumps([asdict(s) for s in sprites]))
    (folder / "concepts.json").write_text(json.dumps([asdict(c) for c in concepts], indent=0))
    log.info("%d concepts, %d sprites", len(concepts), len(sprites))
