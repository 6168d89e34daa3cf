"""ControlNets on disk: which there are, what they listen to, and which checkpoints they fit."""

import json
import re
import threading
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.checkpoints.header import BadFile, Header, as_named, read_header
from studio.checkpoints.ids import free_id
from studio.checkpoints.scan import PICKLED, SIDECAR, Found, Stamp, file_stamp, scan, sidecar_of
from studio.checkpoints.sidecar import read_sidecar
from studio.core.errors import InvalidRequest
from studio.discovery import open_drawer
from studio.families._family import Family
from studio.families._keys import Shapes
from studio.families._steering import Encoder, Steering

if TYPE_CHECKING:
    from studio.checkpoints.catalog import Checkpoint

WEIGHTS = "diffusion_pytorch_model"
"""What diffusers calls the file in a ControlNet's folder; the folder's name says more."""

_KINDS = {
    "edges": r"canny|edge|line|hed|scribble|mlsd|sketch|pidi|teed",
    "depth": r"depth|midas|zoe",
    "pose": r"pose",
    "normals": r"normal",
    "segments": r"seg",
    "tile": r"tile|blur|upscal",
    "shuffle": r"shuffle",
}
_EVERY_KIND = r"union|promax"
"""One network that listens to all kinds of maps."""


@cache
def steerings() -> tuple[Steering, ...]:
    """The kinds of ControlNets that steer some family."""
    known = (family.steering for family in open_drawer("studio.families", Family).values())
    return tuple({one.network: one for one in known if one is not None}.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlNet:
    """Weights that steer a denoiser by a map."""

    id: str
    """Its path below the folder without its ending; a folder's name where diffusers made it."""
    label: str
    kinds: tuple[str, ...]
    """What its maps may show, as its `pochade.json` says or else its name tells; empty if neither
    does."""
    path: Path
    made_for: Encoder
    """Shape of the denoisers that it steers."""
    size_bytes: int
    stamp: Stamp
    parameters: int = 0
    types: int = 0
    """How many kinds of maps it has to be told apart by number; 0 if it is told nothing."""
    problem: str = ""
    """Why it cannot be used, as a sentence; empty if it can."""

    def fits(self, encoder: Encoder | None) -> bool:
        """Whether it steers a denoiser of that shape."""
        return not self.problem and encoder is not None and encoder.hears(self.made_for)

    def require_fits(self, checkpoint: "Checkpoint") -> None:
        """Raises `InvalidRequest` if it does not steer that one."""
        if self.problem:
            raise InvalidRequest(
                f"The ControlNet '{self.label}' cannot be used. {self.problem}",
                "Choose another ControlNet, or another checkpoint with one that fits it.",
                field="units",
            )
        checkpoint.require_steered()
        if not self.fits(checkpoint.steered):
            raise InvalidRequest(
                f"The ControlNet '{self.label}' is not made for '{checkpoint.label}'.",
                "Choose another ControlNet or another checkpoint.",
                field="units",
            )


def steering_of(control: ControlNet) -> Steering:
    """Of the denoisers that it was made for."""
    return next(one for one in steerings() if one.network == control.made_for.network)


class Controls:
    """The ControlNets in and below some folders, as they are at this moment. For any thread."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        """`folders` need not exist; each may be a ControlNet itself. The first one that has an id
        keeps it; what has it too goes by its folder's name as well."""
        self._folders = folders
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, Stamp], ControlNet | None] = {}

    def all(self) -> tuple[ControlNet, ...]:
        """Only what is one by its keys; everything else in the folders is passed over."""
        with self._lock:
            seen: dict[tuple[str, Stamp], ControlNet | None] = {}
            listed: dict[str, ControlNet] = {}
            taken, places = dict[str, Path](), set[Path]()
            for folder in self._folders:
                for found in map(_with_note, scan(folder)):
                    if found.path in places:
                        continue
                    key = (str(found.path), found.stamp)
                    seen[key] = self._seen[key] if key in self._seen else inspect(found)
                    if control := seen[key]:
                        own = free_id(found.path, folder, taken, control.id, found.id)
                        taken[own] = found.path
                        places.add(found.path)
                        listed[own] = control if own == control.id else replace(control, id=own)
            self._seen = seen
            return tuple(listed.values())

    def fitting(self, encoder: Encoder | None) -> tuple[ControlNet, ...]:
        """Those that steer a denoiser of that shape."""
        return tuple(control for control in self.all() if control.fits(encoder))

    def get(self, control_id: str) -> ControlNet:
        """Raises `InvalidRequest`."""
        for control in self.all():
            if control.id == control_id:
                return control
        raise InvalidRequest(
            f"There is no ControlNet '{control_id[:60]}'.",
            "Put it into the folder 'controlnet' of the data folder, or choose another one.",
            field="units",
        )


def inspect(found: Found) -> ControlNet | None:
    """What a file is by its keys; None if it is no ControlNet, or cannot be read."""
    if found.layout != "file" or found.path.suffix.lower() in PICKLED:
        return None
    try:
        with as_named(found.path):
            return _known(found)
    except (BadFile, OSError):
        return None


def _known(found: Found) -> ControlNet | None:
    header = read_header(found.path)
    for steering in steerings():
        if steering.keys(header.shapes) and (made_for := steering.made_for(header.shapes)):
            return _named(found, header, steering, made_for)
    return None


def _with_note(found: Found) -> Found:
    """So that a changed note is a changed ControlNet, also where it lies in a folder of its own."""
    if not _is_folder(found):
        return found
    try:
        return replace(found, stamp=found.stamp + file_stamp(found.path.parent / SIDECAR))
    except OSError:
        return found


def _is_folder(found: Found) -> bool:
    return found.path.name.startswith(WEIGHTS)


def _of_folder(found: Found) -> str:
    """The name of a folder, and what tells one of its files from the others: `_promax`."""
    own = found.id.rpartition("/")[0] or found.path.parent.name
    return own + found.path.name.removeprefix(WEIGHTS).partition(".")[0]


def _named(found: Found, header: Header, steering: Steering, made_for: Encoder) -> ControlNet:
    own = found.id
    if _is_folder(found):
        own = _of_folder(found)
    types = steering.types(header.shapes)
    noted = read_sidecar(sidecar_of(found.path.parent if _is_folder(found) else found.path))
    return ControlNet(
        id=own,
        label=noted.label or own.rpartition("/")[2],
        kinds=noted.kinds or ((noted.kind,) if noted.kind else _kinds(own, steering, types)),
        path=found.path,
        made_for=made_for,
        size_bytes=header.size_bytes,
        parameters=sum(map(prod, used(found.path, header.shapes, steering).values())),
        stamp=found.stamp,
        types=types,
        problem=steering.problem(header.shapes),
    )


_LOOKED_AT = 4096
"""Bytes of a tensor that tell whether it was trained."""


def used(path: Path, shapes: Shapes, steering: Steering) -> Shapes:
    """Those of a ControlNet's tensors that were trained, as far as it may have others. Raises `BadFile`
    or `OSError`."""
    if steering.trained not in shapes:
        return shapes
    header = read_header(path)
    tensor = header.tensors[steering.trained]
    with path.open("rb") as file:
        file.seek(header.data_begin + tensor.begin)
        if any(file.read(min(_LOOKED_AT, tensor.end - tensor.begin))):
            return shapes
    return {key: shape for key, shape in shapes.items() if not key.startswith(steering.unused)}


def _kinds(name: str, steering: Steering, types: int) -> tuple[str, ...]:
    if types:
        known = {kind for kind, number in steering.numbers.items() if number < types}
        return tuple(kind for kind in _KINDS if kind in known)
    said = name.rpartition("/")[2].lower()
    if re.search(_EVERY_KIND, said):
        return steering.kinds or tuple(_KINDS)
    return tuple(kind for kind, words in _KINDS.items() if re.search(words, said))[:1]


MOST_CONFIG_BYTES = 64 << 10


def config_beside(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """These entries of the config that lies in a ControlNet's folder, as far as it has them."""
    file = path.parent / "config.json"
    if not names or not path.name.startswith(WEIGHTS):
        return {}
    try:
        if file.stat().st_size > MOST_CONFIG_BYTES:
            return {}
        found: Any = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return {name: found[name] for name in names if isinstance(found, dict) and name in found}
