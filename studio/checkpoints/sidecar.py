"""What a person noted beside a checkpoint: `pochade.json`, every entry optional.

    {"label": "Ink and wash", "native_px": 768, "steps": 30, "guidance": 5.5, "sampler": "euler_a"}

It only changes what a request gets that does not say; a broken one is ignored.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from studio import samplers
from studio.core.errors import InvalidRequest
from studio.core.requests import STRICT, Guidance, Pixels, Steps, Text

MAX_BYTES = 64 << 10


@dataclass(frozen=True, kw_only=True, slots=True, config=STRICT)
class Sidecar:
    """None leaves it at what the family says."""

    label: Annotated[Text, MinLen(1), MaxLen(80)] | None = None
    native_px: Pixels | None = None
    multiple_px: Annotated[int, Ge(8), Le(128)] | None = None
    steps: Steps | None = None
    guidance: Guidance | None = None
    sampler: str | None = None
    """Id or name of a row in `studio.samplers`."""
    family: Annotated[Text, MinLen(1), MaxLen(40)] | None = None
    """Of a single file whose keys are those of several: id of the one it is, as `flux_kontext`."""
    kind: Annotated[Text, MinLen(1), MaxLen(40)] | None = None
    """Of a ControlNet: what its maps show, such as edges, depth or pose."""
    kinds: Annotated[tuple[Annotated[Text, MinLen(1), MaxLen(40)], ...], MaxLen(16)] = ()
    """Of a ControlNet that listens to several kinds of maps: all of them."""

    def defaults(self) -> dict[str, Any]:
        """The entries that a family's `Defaults` has too."""
        noted = asdict(self)
        return {k: noted[k] for k in ("steps", "guidance", "sampler") if noted[k] is not None}


NOTHING_NOTED = Sidecar()


def read_sidecar(path: Path) -> Sidecar:
    """What is noted in this file; nothing if it is missing, broken or names an unknown sampler."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return NOTHING_NOTED
        # As JSON text, so that 7 passes for a guidance of 7.0 and nothing else is bent.
        noted = TypeAdapter(Sidecar).validate_json(path.read_bytes())
        if noted.sampler is None:
            return noted
        return replace(noted, sampler=samplers.find(noted.sampler).id)
    except (OSError, ValidationError, InvalidRequest, json.JSONDecodeError):
        return NOTHING_NOTED
