"""Depth from a network: Depth Anything V2 (small)."""

from studio.preprocessors._annotator import depth_network
from studio.preprocessors._preprocessor import Detail, Kind, Preprocessor, Weights

PREPROCESSOR = Preprocessor(
    id="depth_anything",
    label="Depth Anything V2",
    about="Depth from a network that saw millions of photos: fine outlines, white is near.",
    kind=Kind.DEPTH,
    params=Detail,
    needs=Weights(
        label="Depth Anything V2 (small)",
        repo="depth-anything/Depth-Anything-V2-Small-hf",
        files=("config.json", "preprocessor_config.json", "model.safetensors"),
        size_bytes=99_200_000,
        licence="Apache-2.0",
        instead="depth_estimate",
    ),
    load=depth_network,
)
