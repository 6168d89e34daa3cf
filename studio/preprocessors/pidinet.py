"""PiDiNet: soft edges from a small network."""

from studio.preprocessors._annotator import annotator
from studio.preprocessors._preprocessor import Detail, Kind, Preprocessor, Weights

PREPROCESSOR = Preprocessor(
    id="pidinet",
    label="PiDiNet soft edges",
    about="Soft edges from a small network: cleaner than HED, with less texture.",
    kind=Kind.EDGES,
    soft=True,
    params=Detail,
    needs=Weights(
        label="PiDiNet",
        repo="lllyasviel/Annotators",
        files=("table5_pidinet.pth",),
        size_bytes=2_871_148,
        licence="for research, not for business",
        instead="soft_edges",
    ),
    load=annotator("PidiNetDetector"),
)
