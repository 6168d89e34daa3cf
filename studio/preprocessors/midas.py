"""Depth from a network: MiDaS 3 (DPT hybrid)."""

from studio.preprocessors._annotator import depth_network
from studio.preprocessors._preprocessor import Detail, Kind, Preprocessor, Weights

PREPROCESSOR = Preprocessor(
    id="midas",
    label="MiDaS (DPT hybrid)",
    about="Depth from MiDaS, which the first depth ControlNets were trained with; white is near.",
    kind=Kind.DEPTH,
    params=Detail,
    needs=Weights(
        label="MiDaS 3 (DPT hybrid)",
        repo="Intel/dpt-hybrid-midas",
        files=("config.json", "preprocessor_config.json", "model.safetensors"),
        size_bytes=490_000_000,
        licence="Apache-2.0",
        instead="depth_estimate",
    ),
    load=depth_network,
)
