"""HED: soft edges from a network."""

from studio.preprocessors._annotator import annotator
from studio.preprocessors._preprocessor import Detail, Kind, Preprocessor, Weights

PREPROCESSOR = Preprocessor(
    id="hed",
    label="HED soft edges",
    about="Soft edges as a network sees them (holistically-nested edge detection).",
    kind=Kind.EDGES,
    soft=True,
    params=Detail,
    needs=Weights(
        label="HED",
        repo="lllyasviel/Annotators",
        files=("ControlNetHED.pth",),
        size_bytes=29_444_406,
        licence="Apache-2.0",
        instead="soft_edges",
    ),
    load=annotator("HEDdetector"),
)
