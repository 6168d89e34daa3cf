"""Line art of drawings, by a network trained on anime."""

from studio.preprocessors._annotator import annotator
from studio.preprocessors._preprocessor import Detail, Kind, Preprocessor, Weights

PREPROCESSOR = Preprocessor(
    id="lineart_anime",
    label="Anime line art",
    about="Lines as in a clean anime drawing.",
    kind=Kind.EDGES,
    params=Detail,
    needs=Weights(
        label="Anime2Sketch",
        repo="lllyasviel/Annotators",
        files=("netG.pth",),
        size_bytes=217_668_444,
        licence="MIT",
        instead="xdog",
    ),
    load=annotator("LineartAnimeDetector"),
)
