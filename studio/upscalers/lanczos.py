"""Plain resampling: true to the picture, and soft."""

from PIL.Image import Image, Resampling

from studio.core.geometry import Size
from studio.upscalers._upscaler import Upscaler


def enlarge(image: Image, size: Size) -> Image:
    """Pillow weighs the colours by their alpha, so nothing bleeds out of transparent pixels."""
    return image.resize(size, Resampling.LANCZOS)


UPSCALER = Upscaler(
    id="lanczos",
    label="Lanczos",
    about="No network: invents nothing, and is done at once.",
    place=40,
    enlarge=enlarge,
)
