"""Line art from a network trained on drawings."""

from typing import Any

from pydantic.dataclasses import dataclass

from studio.core.requests import STRICT
from studio.preprocessors._annotator import annotator
from studio.preprocessors._preprocessor import Detail, Kind, Preprocessor, Weights


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Lineart(Detail):
    coarse: bool = False
    """Fewer, rougher lines."""


def _says(params: Lineart) -> dict[str, Any]:
    return {"coarse": params.coarse}


PREPROCESSOR = Preprocessor(
    id="lineart",
    label="Line art (network)",
    about="Lines as somebody would draw them, by a network that learned from drawings.",
    kind=Kind.EDGES,
    params=Lineart,
    needs=Weights(
        label="Informative Drawings",
        repo="lllyasviel/Annotators",
        files=("sk_model.pth", "sk_model2.pth"),
        size_bytes=34_300_000,
        licence="MIT",
        instead="xdog",
    ),
    load=annotator("LineartDetector", says=_says),
)
