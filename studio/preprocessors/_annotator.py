"""Annotators of the package controlnet-aux, and depth networks of transformers, as data."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Images
from PIL.Image import Image

from studio.core.records import NOTHING
from studio.preprocessors._pixels import bytes_of, scaled
from studio.preprocessors._preprocessor import Map, Run
from studio.preprocessors._stopping import Check, between_layers, wanted

LEAST_PX = 64
"""Annotators work in multiples of it."""


def annotator(
    detector: str,
    *,
    files: Mapping[str, Any] = NOTHING,
    says: Callable[[Any], Mapping[str, Any]] = lambda _: NOTHING,
) -> Callable[[Path], Run]:
    """`load` of a preprocessor that controlnet-aux knows under the class name `detector`.

    `files` goes to its `from_pretrained`, what `says` makes of params goes to each call.
    """

    def load(folder: Path) -> Run:
        import controlnet_aux

        network: Any = getattr(controlnet_aux, detector).from_pretrained(str(folder), **files)

        def run(image: Image, params: Any, check: Check = wanted) -> Map:
            def look(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
                side = max(LEAST_PX, min(pixels.shape[:2]))
                shown = Images.fromarray(pixels)
                made = network(shown, detect_resolution=side, **says(params))
                return np.asarray(made.convert("RGB").resize(shown.size, Images.Resampling.BICUBIC))

            with between_layers(check):
                return Map(scaled(image, params.detail_px, look))

        return run

    return load


def depth_network(folder: Path) -> Run:
    """`load` of a depth network of transformers: white is near."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    asked: Any = {"local_files_only": True}
    reader: Any = AutoImageProcessor.from_pretrained(folder, **asked)
    network: Any = AutoModelForDepthEstimation.from_pretrained(
        folder, use_safetensors=True, **asked
    )
    network.eval()

    def look(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with torch.inference_mode():
            seen = reader(images=Images.fromarray(pixels), return_tensors="pt")
            near = network(**seen).predicted_depth[None].float()
            grown = torch.nn.functional.interpolate(
                near, size=pixels.shape[:2], mode="bicubic", align_corners=False
            )[0, 0].numpy()
        low, high = float(grown.min()), float(grown.max())
        return bytes_of((grown - low) / max(high - low, 1e-6))

    def run(image: Image, params: Any, check: Check = wanted) -> Map:
        with between_layers(check):
            return Map(scaled(image, params.detail_px, look))

    return run
