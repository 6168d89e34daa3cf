"""Makes pictures larger with networks, a tile at a time."""

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from studio.checkpoints.hashes import Hashes
from studio.checkpoints.header import BadFile
from studio.core import tiles
from studio.core.errors import StudioError, Unavailable
from studio.core.geometry import Box, Size
from studio.engine.device import Device, is_out_of_memory
from studio.upscalers._shelf import SAFE, check
from studio.upscalers._upscaler import Upscaler

log = logging.getLogger("pochade.engine")

MARGIN_PX, BLEND_PX = 16, 6
"""What a tile looks at and fades over, on each side. Beyond 16 px Real-ESRGAN's large network
changes a value by 1.2 of 255 on average, the small one by none."""
SIDE_PX = {"cpu": 128, "cuda": 512}
"""Of a tile. On a processor no tile of the slowest network may take so long that Stop seems deaf."""
LEAST_SIDE_PX = 32
LEAST_SEEN_PX = 16
"""Networks trip over less; a smaller picture is drawn out at its edges."""
MOST_IN_A_NAME = 4096
"""Blocks of a network are numbered; a number beyond this would have it built for ever."""

Pixels = NDArray[np.uint8]


class UnusableNetwork(StudioError):
    """The file holds something, but nothing that makes pictures larger. No code of it was run."""

    status = 422


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A network in memory."""

    upscaler: Upscaler
    descriptor: Any
    """spandrel's `ImageModelDescriptor`."""
    sha256: str
    dtype: torch.dtype

    @property
    def scale(self) -> int:
        return int(self.descriptor.scale)

    @property
    def facts(self) -> Mapping[str, Any]:
        return {
            **named(self.upscaler),
            "architecture": str(self.descriptor.architecture.name),
            "scale": self.scale,
            "sha256": self.sha256,
            "short": self.sha256[:10],
        }


def named(upscaler: Upscaler) -> dict[str, Any]:
    return {"id": upscaler.id, "label": upscaler.label}


class Networks:
    """Keeps the network that was used last: they are small, and the next picture often wants it."""

    def __init__(self, device: Device, hashes: Hashes) -> None:
        self._device = device.for_pixels
        self._hashes = hashes
        self._kept: tuple[tuple[str, int, int], Network] | None = None
        self._lock = threading.Lock()

    def get(self, upscaler: Upscaler, loading: Callable[[str], None]) -> Network:
        """The network of an upscaler that has one; `loading` is told before its weights are read.

        Raises `StudioError`.
        """
        with self._lock:
            try:
                path = upscaler.weights()
                if path is None:
                    raise FileNotFoundError
                stat = path.stat()
                stamp = (upscaler.id, stat.st_size, stat.st_mtime_ns)
                if self._kept is None or self._kept[0] != stamp:
                    self._kept = None
                    loading(f"Reading {upscaler.label}")
                    network = load(upscaler, path, self._device, self._hashes.sha256(path))
                    self._kept = (stamp, network)
            except OSError:
                raise Unavailable(
                    f"'{upscaler.label}' is no longer there.", "Choose another upscaler."
                ) from None
            return self._kept[1]

    def drop(self) -> None:
        """Gives its memory back."""
        with self._lock:
            self._kept = None

    def steps(self, upscaler: Upscaler, size: Size) -> int:
        """How many steps `enlarge` tells of for a picture of that size."""
        return 1 if upscaler.enlarge else len(cut(size, SIDE_PX[self._device.name]))

    def enlarge(
        self,
        upscaler: Upscaler,
        image: Image.Image,
        size: Size,
        *,
        check: Callable[[], None],
        tell: Callable[[int, int, float | None], None],
        loading: Callable[[str], None],
    ) -> tuple[Image.Image, Mapping[str, Any]]:
        """The picture in exactly that size, RGB or RGBA as it was, and what did it.

        `check` is called before each tile and may raise; `tell` hears how many steps of how many
        are done, and how many seconds are left, where that is known. Raises `StudioError`.
        """
        if upscaler.enlarge is not None:
            check()
            done = upscaler.enlarge(image, size)
            tell(1, 1, 0.0)
            return done, named(upscaler)
        network = self.get(upscaler, loading)
        work = _Work(
            network, self._device, size, check, _paced(tell, self.steps(upscaler, image.size))
        )
        return work.enlarged(image), network.facts


def _paced(
    tell: Callable[[int, int, float | None], None], steps: int
) -> Callable[[int, int], None]:
    """Tells in `steps`, however many tiles there are, with the time left from the first tile on."""
    began = time.monotonic()

    def told(done: int, count: int) -> None:
        left = (time.monotonic() - began) / done * (count - done)
        tell(min(steps, ceil(done * steps / count)), steps, left)

    return told


@dataclass(frozen=True, slots=True)
class _Work:
    """One picture on its way through a network."""

    network: Network
    device: Device
    size: Size
    check: Callable[[], None]
    tell: Callable[[int, int], None]

    def enlarged(self, image: Image.Image) -> Image.Image:
        colours = bled(image) if image.mode == "RGBA" else np.asarray(image)
        result = Image.fromarray(self._tiled(colours))
        if image.mode == "RGBA":
            # by itself: a network would read colours into it
            result.putalpha(image.getchannel("A").resize(self.size, Image.Resampling.LANCZOS))
        return result

    def _tiled(self, pixels: Pixels) -> Pixels:
        """Where memory runs out, once more with smaller tiles."""
        side = SIDE_PX[self.device.name]
        while True:
            try:
                return self._run(pixels, side)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or side <= LEAST_SIDE_PX:
                    raise
            # outside of the except block, since a traceback keeps the tensors of its frames
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            side //= 2
            log.warning(
                "memory ran out: %s goes on with tiles of %d px", self.network.upscaler.id, side
            )

    def _run(self, pixels: Pixels, side: int) -> Pixels:
        height, width, _ = pixels.shape
        across, down = self.size[0] / width, self.size[1] / height
        canvas = np.empty((self.size[1], self.size[0], 3), np.uint8)
        plan = cut((width, height), side)
        for number, tile in enumerate(plan, 1):
            self.check()
            seen = tile.seen
            large = self._forward(pixels[seen.top : seen.bottom, seen.left : seen.right])
            place = Box(
                round(tile.box.left * across),
                round(tile.box.top * down),
                round(tile.box.right * across),
                round(tile.box.bottom * down),
            )
            if place.width and place.height:
                over_left = round((tile.box.left + tile.over_left) * across) - place.left
                over_top = round((tile.box.top + tile.over_top) * down) - place.top
                piece = self._piece(large, seen, place, (across, down))
                tiles.lay(canvas, piece, place.left, place.top, over_left, over_top)
            self.tell(number, len(plan))
        return canvas

    def _piece(self, large: Pixels, seen: Box, place: Box, scale: tuple[float, float]) -> Pixels:
        """`place` of the result, out of what the network made of `seen`: as it is where the network
        has the scale that is wanted, else resampled without a shift of even a part of a pixel."""
        own = self.network.scale
        high, wide, _ = large.shape
        box = (
            max(0.0, (place.left / scale[0] - seen.left) * own),
            max(0.0, (place.top / scale[1] - seen.top) * own),
            min(float(wide), (place.right / scale[0] - seen.left) * own),
            min(float(high), (place.bottom / scale[1] - seen.top) * own),
        )
        if scale == (own, own):
            left, top, right, bottom = (round(edge) for edge in box)
            return large[top:bottom, left:right]
        image = Image.fromarray(large)
        return np.asarray(image.resize(place.size, Image.Resampling.LANCZOS, box=box))

    def _forward(self, pixels: Pixels) -> Pixels:
        height, width, _ = pixels.shape
        more = (max(0, LEAST_SEEN_PX - height), max(0, LEAST_SEEN_PX - width))
        if any(more):
            pixels = np.pad(pixels, ((0, more[0]), (0, more[1]), (0, 0)), mode="edge")
        network = self.network
        values = torch.from_numpy(np.array(pixels)).to(self.device.name)
        values = values.permute(2, 0, 1)[None].to(network.dtype) / 255
        with torch.inference_mode():
            made = network.descriptor(values)[0].float()
            if not bool(made.isfinite().all()):
                raise UnusableNetwork(
                    f"'{network.upscaler.label}' gave numbers that are not finite.",
                    "Choose another upscaler, or start the studio with --dtype float32.",
                )
            large = (made.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return large[: height * network.scale, : width * network.scale]


def cut(size: Size, side: int) -> tuple[tiles.Tile, ...]:
    return tiles.cut(size, side, margin_px=MARGIN_PX, blend_px=BLEND_PX)


def bled(image: Image.Image) -> Pixels:
    """The colours of an RGBA picture, those beside transparent pixels drawn into these.

    What lies under full transparency is often black, and would show as a dark rim around what a
    network makes of it.
    """
    import cv2

    pixels = np.asarray(image)
    alpha = pixels[..., 3:].astype(np.float32) / 255
    colours: Any = cv2.GaussianBlur(pixels[..., :3].astype(np.float32) * alpha, (0, 0), 4.0)
    weight: Any = cv2.GaussianBlur(alpha, (0, 0), 4.0)
    near = np.rint(np.clip(colours / np.maximum(weight, 1e-6)[..., None], 0, 255)).astype(np.uint8)
    inside = (alpha[..., 0] == 0) & (weight > 1e-3)
    return np.where(inside[..., None], near, pixels[..., :3])


def load(upscaler: Upscaler, path: Path, device: Device, sha256: str) -> Network:
    """Reads a network into memory. Raises `StudioError` for a file that holds none; code in a
    pickled file is not run but refused."""
    unknown = UnusableNetwork(
        f"'{upscaler.label}' is no upscaler of a kind that the studio knows.",
        "It takes what the library spandrel reads: ESRGAN, Compact, SwinIR, HAT, DAT and others.",
    )
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    state = _state(upscaler, path)
    _require_harmless(upscaler, state, path)
    try:
        descriptor = ModelLoader().load_from_state_dict(state)
    except UnsupportedModelError:
        raise unknown from None
    except Exception as error:
        # names that look like a network's, and shapes that are not
        if is_out_of_memory(error):
            raise
        log.exception("%s cannot be loaded", upscaler.id)
        raise unknown from error
    if not isinstance(descriptor, ImageModelDescriptor) or descriptor.purpose == "FaceSR":
        raise UnusableNetwork(
            f"'{upscaler.label}' is a network for faces or for filling holes, no upscaler.",
            "Choose another upscaler.",
        )
    if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        raise UnusableNetwork(
            f"'{upscaler.label}' is made for pictures of {descriptor.input_channels} channels, "
            "not of 3.",
            "Choose another upscaler.",
        )
    dtype = _dtype(device, half=descriptor.supports_half, brain=descriptor.supports_bfloat16)
    descriptor.eval().to(torch.device(device.name), dtype=dtype)
    for parameter in descriptor.model.parameters():
        parameter.requires_grad = False
    return Network(upscaler=upscaler, descriptor=descriptor, sha256=sha256, dtype=dtype)


def _dtype(device: Device, *, half: bool, brain: bool) -> torch.dtype:
    able = {torch.float16: half, torch.bfloat16: brain}.get(device.dtype, True)
    return device.dtype if able else torch.float32


def _state(upscaler: Upscaler, path: Path) -> dict[str, Any]:
    try:
        if upscaler.bundled is not None:
            read = upscaler.bundled.read(path)
            return {name: torch.from_numpy(values) for name, values in read.items()}
        check(path)
        if path.suffix.lower() == SAFE:
            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except BadFile as error:
        raise UnusableNetwork(str(error), "Copy or download it again.") from None
    except OSError:
        raise
    except Exception as error:
        # whatever torch says of what it does not read: pickled code, a broken zip, cut off tensors
        if is_out_of_memory(error):
            raise
        log.info("%s is refused: %s", upscaler.id, str(error).split("\n", 1)[0])
        raise UnusableNetwork(
            f"'{upscaler.label}' was not loaded: it is damaged, or holds more than weights.",
            "Files that can run code are refused; take its .safetensors version.",
        ) from None
    return _unwrapped(found)


def _unwrapped(found: Any) -> dict[str, Any]:
    """The weights themselves, however deep training scripts have packed them."""
    for _ in range(4):
        if not isinstance(found, dict):
            return {}
        inner = next((found[key] for key in _WRAPPERS if isinstance(found.get(key), dict)), None)
        if inner is None:
            break
        found = inner
    return {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}


_WRAPPERS = ("model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net")


def _require_harmless(upscaler: Upscaler, state: Mapping[str, Any], path: Path) -> None:
    """Tensors may not be larger than the file they come from, as pickled ones can claim to be, nor
    call for a network of a million blocks."""
    bundled = upscaler.bundled is not None
    held = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    numbers = (int(digits[-12:]) for name in state for digits in re.findall(r"\d+", name))
    if (held > 2 * path.stat().st_size and not bundled) or max(numbers, default=0) > MOST_IN_A_NAME:
        raise UnusableNetwork(
            f"'{upscaler.label}' announces more than its file holds.",
            "Copy or download it again.",
        )
