"""Cuts a picture into areas of like colour."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.preprocessors._pixels import lab
from studio.preprocessors._stopping import Check, heard, wanted

Labels = NDArray[np.int32]
"""[height, width]: the number of the area each pixel is in, 0 … areas - 1, none left out."""


def areas(
    pixels: NDArray[np.uint8], *, likeness: float, least: float, check: Check = wanted
) -> Labels:
    """Areas of like colour; those smaller than `least` of the picture join a neighbour.

    `likeness` is about the colour distance that is overlooked: more makes fewer, larger areas
    (Felzenszwalb and Huttenlocher, Efficient Graph-Based Image Segmentation, 2004).
    """
    import cv2
    from skimage.segmentation import felzenszwalb

    whole = np.ascontiguousarray(pixels)
    flat: Any = heard(lambda: cv2.pyrMeanShiftFiltering(whole, 6, likeness), check)
    smallest = max(1, round(least * pixels.shape[0] * pixels.shape[1]))
    # skimage divides its scale by 255, and a seed of about 40 pixels may differ by `likeness`
    found = heard(
        lambda: felzenszwalb(lab(flat), scale=likeness * 40 * 255, sigma=0.6, min_size=smallest),
        check,
    )
    return np.asarray(found, np.int32)


def means(values: Any, labels: Labels) -> NDArray[np.float32]:
    """The mean of `values` over each area: [areas, channels]."""
    count = int(labels.max()) + 1
    sizes = np.bincount(labels.ravel(), minlength=count)
    flat = values.reshape(labels.size, -1)
    sums = np.stack(
        [np.bincount(labels.ravel(), flat[:, c], minlength=count) for c in range(flat.shape[1])],
        axis=-1,
    )
    return (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
