"""AnyLine: edges of a tiny network and fine lines together."""

from studio.preprocessors._annotator import annotator
from studio.preprocessors._preprocessor import Detail, Kind, Preprocessor, Weights

PREPROCESSOR = Preprocessor(
    id="anyline",
    label="AnyLine",
    about="Edges and fine lines together: small things, text and folds are kept.",
    kind=Kind.EDGES,
    params=Detail,
    needs=Weights(
        label="AnyLine (MTEED)",
        repo="TheMistoAI/MistoLine",
        files=("Anyline/MTEED.pth",),
        size_bytes=270_000,
        licence="OpenRAIL++",
        instead="xdog",
    ),
    load=annotator("AnylineDetector", files={"filename": "Anyline/MTEED.pth"}),
)
