"""MLSD: the straight lines of rooms and buildings, by a network."""

from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._annotator import annotator
from studio.preprocessors._preprocessor import Detail, Kind, Preprocessor, Weights


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mlsd(Detail):
    least: Annotated[float, Ge(0.01), Le(2)] = 0.1
    """How sure a line must be; less shows more lines."""
    shortest: Annotated[float, Ge(0.01), Le(20)] = 0.1
    """How long a line must be for its place on the network's map; less shows more lines."""


def _says(params: Mlsd) -> dict[str, Any]:
    return {"thr_v": params.least, "thr_d": params.shortest}


PREPROCESSOR = Preprocessor(
    id="mlsd",
    label="Straight lines (MLSD)",
    about="Only straight lines: rooms, buildings and furniture keep their shape.",
    kind=Kind.EDGES,
    params=Mlsd,
    needs=Weights(
        label="MLSD",
        repo="lllyasviel/Annotators",
        files=("mlsd_large_512_fp32.pth",),
        size_bytes=6_341_481,
        licence="Apache-2.0",
        instead="canny",
    ),
    load=annotator("MLSDdetector", says=_says),
)
