"""Colour words: what colour a sprite is, and how to give it another."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Colour:
    """A colour people name."""

    name: str
    rgb: tuple[int, int, int]
    """Used for plain backgrounds."""
    hue: float
    """0.0–1.0 round the wheel, red at 0.0."""
    saturation: float = 1.0
    """Factor on a recoloured sprite's saturation."""
    value: float = 1.0
    """Factor on its brightness."""


COLOURS: tuple[Colour, ...] = (
    Colour(name="red", rgb=(224, 54, 48), hue=0.0, saturation=1.1),
    Colour(name="orange", rgb=(244, 146, 44), hue=0.075, saturation=1.05),
    Colour(name="yellow", rgb=(250, 214, 70), hue=0.14, value=1.08),
    Colour(name="green", rgb=(84, 176, 80), hue=0.33),
    Colour(name="blue", rgb=(58, 124, 220), hue=0.6),
    Colour(name="purple", rgb=(142, 84, 196), hue=0.76),
    Colour(name="pink", rgb=(246, 166, 200), hue=0.92, saturation=0.6, value=1.12),
    Colour(name="brown", rgb=(140, 92, 58), hue=0.065, saturation=0.85, value=0.62),
    Colour(name="black", rgb=(38, 38, 42), hue=0.6, saturation=0.12, value=0.28),
    Colour(name="white", rgb=(250, 250, 250), hue=0.6, saturation=0.06, value=1.25),
)  # fmt: skip

COLOUR_NAMES: tuple[str, ...] = tuple(c.name for c in COLOURS)


def to_hsv(rgb: np.ndarray) -> np.ndarray:
    """RGB to hue, saturation, value; both [..., 3] float in 0.0–1.0."""
    high, low = rgb.max(-1), rgb.min(-1)
    span = np.maximum(high - low, 1e-6)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    hue = np.where(
        high == r, (g - b) / span % 6, np.where(high == g, (b - r) / span + 2, (r - g) / span + 4)
    )
    saturation = np.where(high > 0, (high - low) / np.maximum(high, 1e-6), 0)
    return np.stack([np.where(high - low < 1e-6, 0, hue / 6), saturation, high], -1)


def to_rgb(hsv: np.ndarray) -> np.ndarray:
    """Hue, saturation, value to RGB; both [..., 3] float in 0.0–1.0."""
    hue, saturation, value = hsv[..., 0:1], hsv[..., 1:2], hsv[..., 2:3]
    k = (np.array([5.0, 3.0, 1.0]) + hue * 6) % 6
    return value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)


def apart(a: np.ndarray | float, b: float) -> np.ndarray:
    """Distance of hues round the wheel, 0.0–0.5."""
    d = np.abs(np.asarray(a) - b) % 1
    return np.minimum(d, 1 - d)


def main_hue(sprite: np.ndarray) -> float | None:
    """The hue of a sprite [h, w, 4] uint8 that has one colour in the main, else None."""
    opaque = sprite[..., 3] > 128
    hsv = to_hsv(sprite[opaque][:, :3] / 255)
    vivid = (hsv[:, 1] > 0.3) & (hsv[:, 2] > 0.25)
    if vivid.mean() < 0.55:
        return None
    counts = np.histogram(hsv[vivid, 0], 36, (0, 1))[0]
    peak = (counts.argmax() + 0.5) / 36
    away = (hsv[vivid, 0] - peak + 0.5) % 1 - 0.5
    near = np.abs(away) < 0.07
    return float((peak + away[near].mean()) % 1) if near.mean() > 0.8 else None


def colour_of(sprite: np.ndarray, hue: float) -> str:
    """The name of a one-coloured sprite's colour, by its mean shade near `hue`."""
    opaque = sprite[..., 3] > 128
    hsv = to_hsv(sprite[opaque][:, :3] / 255)
    mine = hsv[(apart(hsv[:, 0], hue) < 0.08) & (hsv[:, 1] > 0.3)].mean(0)
    if apart(hue, 0.07) < 0.05 and mine[2] < 0.68:
        return "brown"
    if apart(hue, 0.93) < 0.07 and mine[1] < 0.68:
        return "pink"
    plain = [c for c in COLOURS if c.name not in {"brown", "black", "white", "pink"}]
    return min(plain, key=lambda c: float(apart(hue, c.hue))).name


def recolour(sprite: np.ndarray, hue: float, colour: Colour) -> np.ndarray:
    """The sprite [h, w, 4] uint8 with what is near `hue` turned to `colour`."""
    hsv = to_hsv(sprite[..., :3] / 255)
    near = (apart(hsv[..., 0], hue) < 0.12) & (hsv[..., 1] > 0.08)
    turned = hsv.copy()
    turned[..., 0] = (hsv[..., 0] - hue + colour.hue) % 1
    if colour.name in {"black", "white", "brown", "pink"}:
        turned[..., 0] = colour.hue
    turned[..., 1] = np.clip(hsv[..., 1] * colour.saturation, 0, 1)
    turned[..., 2] = np.clip(hsv[..., 2] * colour.value, 0, 1)
    if colour.name == "white":
        turned[..., 2] = np.clip(0.55 + 0.45 * hsv[..., 2], 0, 1)
    rgb = np.where(near[..., None], to_rgb(turned) * 255, sprite[..., :3])
    return np.concatenate([rgb.round().astype(np.uint8), sprite[..., 3:]], -1)
