"""The small network of Real-ESRGAN, made for the frames of animated films."""

from studio.upscalers._real_esrgan import bundled
from studio.upscalers._upscaler import Upscaler

UPSCALER = Upscaler(
    id="real-esrgan-quick",
    label="Real-ESRGAN, quick",
    aliases=("R-ESRGAN AnimeVideo", "realesr-animevideov3"),
    about="For drawings and anything else in a hurry: clean edges, little texture.",
    place=10,
    scale=4,
    bundled=bundled("REALESRGAN_ANIMAVIDEOV3_UP4X", compact=True),
)
