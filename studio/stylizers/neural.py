"""Neural stylisation: any picture painted in the look of any other (Ghiasi et al., 2017).

A first network puts a style into 100 numbers, a second one paints with them. Both look at any size,
so the strokes stay as fine as the picture; one too large for that is painted smaller, and what the
painting does to light and colour is carried over to every pixel.
"""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from PIL import Image as Images
from PIL.Image import Image
from pydantic.dataclasses import dataclass

from studio.core.geometry import Size
from studio.core.requests import STRICT
from studio.paths import WEIGHTS
from studio.stylizers._colours import faded
from studio.stylizers._stylizer import NOBODY, Style, Stylizer, Watch

STYLE_PX = 256
"""Shorter side of what the first network is shown; it was trained on no more."""
LEAST_PX = 512
"""A smaller picture is enlarged for painting: strokes have a fixed width, and would drown it."""
THINNEST_PX = 16
UNIT_PX = 4
"""Sides that the second network keeps are multiples of it."""
PARTS = 20
"""What a pass is counted in for those who wait."""
LOOKS_UP_S = 0.2
PLAIN = 0.25
"""Below this strength the painting is also faded into the picture: even in a picture's own style
the network paints it anew."""

Pixels = NDArray[np.float32]
"""[height, width, 3], 0.0 … 1.0."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Neural:
    detail_px: Annotated[int, Ge(256), Le(2048)] = 1024
    """Pixels of the longer side that is painted: less makes strokes larger, more makes them finer
    and takes longer."""


def run(
    image: Image,
    styles: tuple[Style, ...],
    strength: float,
    params: Neural,
    watch: Watch = NOBODY,
) -> Image:
    if strength <= 0:
        return image
    looks: list[NDArray[np.float32]] = []
    for style in styles:
        watch.check()
        looks.append(style.weight * numbers(style.image))
    look = strength * sum(looks) + (1 - strength) * numbers(image)
    size = _working(image.size, params.detail_px)
    small = _pixels(image.resize(size, Images.Resampling.LANCZOS))
    made = painted(small, look, watch)
    watch.check()
    return faded(image, _enlarged(made, small, image), strength / PLAIN)


def numbers(style: Image) -> NDArray[np.float32]:
    """[1, 1, 1, 100]: the look of a picture."""
    share = STYLE_PX / min(style.size)
    size = tuple(min(4 * STYLE_PX, max(STYLE_PX, round(side * share))) for side in style.size)
    shown = np.asarray(style.resize((size[0], size[1]), Images.Resampling.LANCZOS), np.float32)
    return _network("style").run(None, {"picture": shown[None] / 255})[0]


def painted(pixels: Pixels, look: NDArray[np.float32], watch: Watch = NOBODY) -> Pixels:
    """The pixels in that look; both sides are multiples of `UNIT_PX`.

    In one pass, since the network levels contrast over the whole picture, and tiles would show.
    It can be stopped in the middle all the same.
    """
    import onnxruntime

    given = {"picture": pixels[None], "style": look.astype(np.float32)}
    options: Any = onnxruntime.RunOptions()
    network = _network("transform")
    megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
    began, told = time.monotonic(), -1
    with ThreadPoolExecutor(1, thread_name_prefix="stylizer") as aside:
        passing: Future[Any] = aside.submit(network.run, None, given, options)
        try:
            while not _ended(passing):
                watch.check()
                done, left = _PACE.guess(time.monotonic() - began, megapixels)
                if done != told:
                    watch.tell(done, PARTS, left)
                    told = done
        except BaseException:
            options.terminate = True
            raise
    _PACE.took(time.monotonic() - began, megapixels)
    watch.tell(PARTS, PARTS, 0.0)
    return np.clip(passing.result()[0][0], 0, 1)


def _ended(passing: "Future[Any]") -> bool:
    try:
        passing.exception(timeout=LOOKS_UP_S)
    except TimeoutError:
        return False
    return True


class _Pace:
    """How long a megapixel takes here: a guess until one was painted."""

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._seconds = seconds

    def guess(self, spent: float, megapixels: float) -> tuple[int, float | None]:
        """Parts that are done of a pass that has taken so long, never all, and seconds left."""
        whole = max(1e-3, self._seconds * megapixels)
        return min(PARTS - 1, int(PARTS * spent / whole)), max(0.0, whole - spent) or None

    def took(self, spent: float, megapixels: float) -> None:
        with self._lock:
            self._seconds = spent / max(megapixels, 1e-3)


def _working(size: Size, detail_px: int) -> Size:
    longest = max(size)
    share = min(max(longest, min(LEAST_PX, detail_px)), detail_px) / longest
    width, height = (max(THINNEST_PX, round(side * share / UNIT_PX) * UNIT_PX) for side in size)
    return width, height


def _enlarged(made: Pixels, small: Pixels, image: Image) -> Image:
    """What was painted at the size of `small` in the size of `image`, with its fine detail."""
    import cv2

    if image.width <= small.shape[1] and image.height <= small.shape[0]:
        whole = Images.fromarray(_bytes(made))
        return whole if whole.size == image.size else whole.resize(image.size)
    size = image.size
    grown: Any = cv2.resize(made, size, interpolation=cv2.INTER_CUBIC)
    light: Any = _light(_pixels(image))
    coarse: Any = _light(small)
    coarse = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    lost = light - coarse  # what of the picture the small one could not show
    return Images.fromarray(_bytes(grown + lost[..., None]))


def _light(pixels: Any) -> Any:
    return pixels @ np.array([0.299, 0.587, 0.114], np.float32)


def _pixels(image: Image) -> Pixels:
    return np.asarray(image, np.float32) / np.float32(255)


def _bytes(pixels: Any) -> NDArray[np.uint8]:
    return np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)


_PACE = _Pace(seconds=2.0)


@cache
def _network(name: str) -> Any:
    """An onnxruntime session. Kept: the two are 3 MB."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # threads that spin while they wait take the turns of whatever else this machine does
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # pictures differ in size, and memory kept for one would not fit the next
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(
        str(WEIGHTS / "magenta" / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
    )


STYLIZER = Stylizer(
    id="neural",
    label="Neural",
    place=10,
    about="Paints the picture anew with the strokes, texture and colours of the style.",
    params=Neural,
    run=run,
)
