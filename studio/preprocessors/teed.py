"""TEED: edges from a tiny network."""

from studio.preprocessors._annotator import annotator
from studio.preprocessors._preprocessor import Detail, Kind, Preprocessor, Weights

PREPROCESSOR = Preprocessor(
    id="teed",
    label="TEED edges",
    about="Crisp soft edges from a tiny network (tiny and efficient edge detector).",
    kind=Kind.EDGES,
    soft=True,
    params=Detail,
    needs=Weights(
        label="TEED",
        repo="fal-ai/teed",
        files=("5_model.pth",),
        size_bytes=250_000,
        licence="MIT",
        instead="soft_edges",
    ),
    load=annotator("TEEDdetector", files={"filename": "5_model.pth"}),
)
