"""Masks: what of a picture is painted anew, and how much of it.

A mask is an array [height, width] of uint8, the size of its picture: 255 is repainted, 0 stays to
the byte, and what lies between is mixed in that proportion. The page shows what these functions
give, and the pipeline uses the very same array.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.core.geometry import Box

Mask = NDArray[np.uint8]
Pixels = NDArray[np.uint8]
"""[height, width, 3 or 4], RGB or RGBA."""

HALF = 128
"""From here on a pixel counts as inside, where a sharp edge is needed."""

_WIDEST_BLUR_PX = 12.0
"""A standard deviation."""
_FILL_PX = 2048
"""The longer side that the masked part is filled at, at most: nothing is painted in more."""

_TONE_PX = 128
"""Tones are compared at this size, of the longer side; the lengths that follow are of it."""
_SEAM_PX = 14
"""As far as a network paints a border between two of its squares."""
_MOST_SAMPLES = 512
_NEAR_PX, _WIDENING = 6.0, 0.6
"""How far around a place the seam is looked at, and how much further for each px into the new part."""
_SAME_COLOUR = 14.0
"""A standard deviation, as a distance in RGB."""
_TRUSTED_OFF = 75.0
"""As a distance in RGB: less is another tone, more another thing."""
_TRUSTED_DRIFT, _EVEN_PX = 40.0, 4.0
"""As a distance in RGB, and how far around a place drifting tones are evened out."""
_HELD = 0.5
"""Share of the way to the far end over which they are held."""
_DOUBT = 0.02
"""The share of the seam that must be alike before it is heard."""


def read(image: Image.Image) -> Mask:
    """The mask that a picture shows: its lightness, where it is not transparent.

    White is repainted, black and transparent stay; colours count as bright as they look.
    """
    if image.mode == "RGBA":
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return np.asarray(image.convert("L"))


def of_transparency(image: Image.Image) -> Mask:
    """The mask that repaints what is transparent; all black for a picture without transparency."""
    if image.mode != "RGBA":
        return np.zeros((image.height, image.width), np.uint8)
    return 255 - np.asarray(image.getchannel("A"))


def effective(mask: Mask, *, invert: bool, grow_px: int, feather_px: int) -> Mask:
    """The mask as it is used: turned round, then grown (or, below 0, shrunk), then feathered.

    The feather lies outside of what was drawn: it falls from 255 at the edge to 0 at `feather_px`
    from it, so all that was drawn is repainted in full.
    """
    if invert:
        mask = 255 - mask
    if grow_px > 0:
        mask = np.maximum(mask, np.where(_distance(mask) <= grow_px, 255, 0).astype(np.uint8))
    if grow_px < 0:
        inward = _distance(np.where(mask >= HALF, 0, 255).astype(np.uint8))
        mask = np.where(inward > -grow_px, mask, 0).astype(np.uint8)
    if feather_px > 0:
        mask = np.maximum(mask, _falling(_distance(mask), feather_px))
    return mask


def share(mask: Mask) -> float:
    """How much of the picture is touched at all, 0.0 … 1.0."""
    return float(np.count_nonzero(mask)) / mask.size


def box(mask: Mask) -> Box | None:
    """The smallest box around everything that is touched, or None if nothing is."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def blocks(mask: Mask, side: int) -> Mask:
    """The mask in squares of `side` pixels, each 255 if any pixel of it is touched, else 0.

    Networks work on such squares (8 px and more), and what is only touched must be painted too.
    Width and height are multiples of `side`.
    """
    height, width = mask.shape
    touched = mask.reshape(height // side, side, width // side, side).any(axis=(1, 3))
    return np.repeat(np.repeat(touched, side, axis=0), side, axis=1).astype(np.uint8) * 255


def mixed(old: Pixels, new: Pixels, mask: Mask) -> Pixels:
    """`new` over `old` as far as the mask says; where it is 0, the bytes of `old`.

    `old` may be RGBA: what is repainted becomes opaque in the same proportion. `new` is RGB.
    """
    weight = mask.astype(np.uint16)
    result = old.copy()
    for band in range(3):
        blend = old[..., band] * (255 - weight)
        blend += new[..., band] * weight
        blend += 127
        result[..., band] = blend // 255
    if old.shape[-1] == 4:
        result[..., 3] = np.maximum(old[..., 3], mask)
    return result


def filled(picture: Pixels, mask: Mask) -> Pixels:
    """The RGB picture with its masked part replaced by the colours around, blurred into each other.

    A picture that is all masked keeps its own colours. In one that is larger than anything is painted
    in, what is filled is as coarse as that.
    """
    import cv2

    height, width = mask.shape
    result = picture[..., :3].copy()
    inside = mask >= HALF
    if inside.all():
        return result
    outside = (~inside).astype(np.float32)
    scale = min(1.0, _FILL_PX / max(height, width))
    small = max(1, round(width * scale)), max(1, round(height * scale))
    known: Any = cv2.resize(outside, small, interpolation=cv2.INTER_AREA)
    colours = _carried_on(_shrunk(result, small, outside), known)
    flat = np.clip(np.rint(colours), 0, 255).astype(np.uint8)
    large: Any = cv2.resize(flat, (width, height), interpolation=cv2.INTER_LINEAR)
    np.copyto(result, large, where=inside[..., None])
    return result


def _carried_on(colours: NDArray[np.float32], known: Any) -> NDArray[np.float32]:
    """Colours [height, width, 3] over all of a picture, from those that are known; they come times how
    much of each place is: `known`, 0.0 … 1.0."""
    found, weight = np.zeros_like(colours), np.zeros_like(known)
    sigma = 2.0
    # ever wider: what is near an edge takes its colours from there, the middle from all round
    while True:
        near, sure = _blurred(colours, sigma), _blurred(known, sigma)
        fresh = np.clip(sure * 8, 0, 1) * (1 - weight)
        found += fresh[..., None] * near / np.maximum(sure, 1e-6)[..., None]
        weight += fresh
        if weight.min() > 0.999 or sigma > 2 * max(known.shape):
            break
        sigma *= 2
    return found / np.maximum(weight, 1e-6)[..., None]


def attuned(new: Pixels, old: Pixels, mask: Mask) -> Pixels:
    """`new` with its colours moved, smoothly, so that it meets `old` where the mask is 0.

    An autoencoder gives even what it should keep back in slightly other colours, and a seam would
    show. How far off it is outside of the mask is carried on into it, and fades with distance.
    """
    known = (mask == 0).astype(np.float32)
    if not known.any():
        return new
    sigma = max(2.0, max(mask.shape) / 24)
    sure = np.maximum(_blurred(known, sigma), 0.05)
    result = np.empty_like(new[..., :3])
    for band in range(3):
        off = np.subtract(old[..., band], new[..., band], dtype=np.float32)
        off *= known
        off = _blurred(off, sigma)
        off /= sure
        result[..., band] = _moved(new[..., band], off)
    return result


def harmonised(new: Pixels, drawn_out: Pixels, mask: Mask) -> Pixels:
    """`new` in the tones of what it goes on from, so that a sky stays one sky.

    For what continues a picture: `drawn_out` is the picture with its colours carried on over the
    masked part (see `filled`). How far `new` is off near the seam is learned there by place and
    colour, and taken out wherever `new` has such a colour, near and far. What is of another colour
    than anything at the seam, a moon or a house, keeps its own; so does what is so far off at the
    seam that it is another thing and not another tone. What drifts away from the seam little by
    little is held near it, and let go further out.
    """
    import cv2

    height, width = mask.shape
    scale = min(1.0, _TONE_PX / max(height, width))
    small = max(1, round(width * scale)), max(1, round(height * scale))

    share: Any = cv2.resize((mask > 0).astype(np.float32), small, interpolation=cv2.INTER_AREA)
    inside = share > min(0.5, share.max() / 2)  # what is new may be a thin strip
    if inside.all() or not inside.any():
        return new
    deep: Any = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    known = np.argwhere(inside & (deep <= _SEAM_PX))
    known = known[:: -(-len(known) // _MOST_SAMPLES)]
    own: Any = cv2.GaussianBlur(_shrunk(new, small), (0, 0), 1.0)
    wanted: Any = cv2.GaussianBlur(_shrunk(drawn_out, small), (0, 0), 1.0)
    colours = own[tuple(known.T)]
    off = wanted[tuple(known.T)] - colours
    trust = np.exp(-np.square(np.square(off).sum(-1) / _TRUSTED_OFF**2))
    moved = np.zeros_like(own)
    for row in np.flatnonzero(inside.any(axis=1)):
        columns = np.flatnonzero(inside[row])
        away = np.square(row - known[:, 0]) + np.square(columns[:, None] - known[:, 1])
        # from near the seam what is nearest counts, from afar all of it
        reach = _NEAR_PX + _WIDENING * deep[row, columns][:, None]
        near = np.exp((away.min(-1, keepdims=True) - away) / (2 * reach**2))
        unlike = np.square(own[row, columns][:, None] - colours).sum(-1)
        counts = near / near.sum(-1, keepdims=True)
        counts = counts * np.exp(-unlike / (2 * _SAME_COLOUR**2)) * trust
        # not a matrix product: libraries for those may add in another order on another machine
        learned = np.stack([(counts * off[:, band]).sum(-1) for band in range(3)], -1)
        moved[row, columns] = learned / (counts.sum(-1, keepdims=True) + _DOUBT)
    # tones that drift away from there are held for a while, as far as they are tones still
    left = wanted - own - moved
    trust = np.exp(-np.square(left).sum(-1) / _TRUSTED_DRIFT**2) * inside
    even: Any = cv2.GaussianBlur(left * trust[..., None], (0, 0), _EVEN_PX)
    sure: Any = cv2.GaussianBlur(trust, (0, 0), _EVEN_PX)
    held = trust * np.exp(-np.square(deep / (_HELD * deep.max())))
    moved += even / (sure + _DOUBT)[..., None] * held[..., None]
    result = np.empty_like(new[..., :3])
    for band in range(3):
        plane = np.ascontiguousarray(moved[..., band])
        smooth: Any = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        result[..., band] = _moved(new[..., band], smooth)
    return result


def _shrunk(
    pixels: Pixels, size: tuple[int, int], weight: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The RGB of a picture in a smaller size (width, height), each pixel times its weight.

    Here as in what else works on photographs, one band comes after the other: as floats, all of a
    photograph of 40 megapixels would be half a gigabyte, several times over.
    """
    import cv2

    bands: list[Any] = []
    for band in range(3):
        plane = pixels[..., band].astype(np.float32)
        if weight is not None:
            plane *= weight
        bands.append(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))
    return np.stack(bands, -1)


def _moved(band: NDArray[np.uint8], by: NDArray[np.float32]) -> NDArray[np.uint8]:
    """One band of a picture and what is added to it; `by` is used up."""
    by += band
    np.rint(by, out=by)
    return np.clip(by, 0, 255, out=by).astype(np.uint8)


def _blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """A Gaussian blur. A wide one is made of a smaller copy, which looks the same: its kernel grows
    with it, and would take minutes for a photograph."""
    import cv2

    height, width = values.shape[:2]
    scale = min(1.0, _WIDEST_BLUR_PX / sigma)
    if scale == 1.0:
        near: Any = cv2.GaussianBlur(values, (0, 0), sigma)
        return near
    across, down = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(values, (across, down), interpolation=cv2.INTER_AREA)
    found = cv2.GaussianBlur(small, (0, 0), sigma * across / width, sigmaY=sigma * down / height)
    large: Any = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)
    return large


def _distance(mask: Mask) -> NDArray[np.float32]:
    """Of each pixel to the nearest one inside, in pixels; endless where there is none."""
    import cv2

    inside = mask >= HALF
    if not inside.any():
        return np.full(mask.shape, np.inf, np.float32)
    outside = (~inside).astype(np.uint8)
    found: Any = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return found


def _falling(distance: NDArray[np.float32], width: int) -> Mask:
    """255 at no distance, 0 at `width` and beyond, level at both ends."""
    rest = np.clip(1 - distance / width, 0, 1)
    return np.rint(255 * rest * rest * (3 - 2 * rest)).astype(np.uint8)
