"""Label maps as pictures: in colours, over the frame, or as what is cut out of it."""

from __future__ import annotations

import numpy as np

_COUNT = 1 << 16
_WHITE = 255
"""The label that masks of black and white have."""
_ACCENT = (240, 60, 50)


def usual_colours(accent: bool = False) -> np.ndarray:
    """(65536, 3) uint8 RGB: those of PASCAL VOC, repeated; 255 is white, or red with `accent`. 0 is black.

    Source: the colour map of the VOC devkit: each third bit of the label is a bit of red, green or blue, high to low.
    """
    labels = np.arange(_COUNT)
    colours = np.zeros((_COUNT, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((labels >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    colours[_WHITE] = _ACCENT if accent else _WHITE
    return colours


def paint(image: np.ndarray, labels: np.ndarray, colours: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """A copy of the uint8 RGB picture with labels (H, W) in their colours over it, their borders without the picture.

    colours: (N, 3) uint8, of more labels than there are; what has label 0 is left as it is.
    """
    painted = image.copy()
    inside = labels != 0
    border = np.zeros_like(inside)
    for axis in (0, 1):
        step = np.diff(labels, axis=axis) != 0
        before = tuple(slice(None, -1) if each == axis else slice(None) for each in (0, 1))
        after = tuple(slice(1, None) if each == axis else slice(None) for each in (0, 1))
        border[before] |= step
        border[after] |= step
    over = colours[labels[inside]].astype(np.float32)
    share = np.where(border[inside], 1.0, opacity)[:, None].astype(np.float32)
    painted[inside] = np.rint(over * share + image[inside] * (1 - share))
    return painted


def tint(image: np.ndarray, matte: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """A copy of the uint8 RGB picture with a colour over it, the more the higher `matte` (H, W), 0 to 1, is."""
    share = (matte * opacity).astype(np.float32)[..., None]
    return np.rint(image * (1 - share) + np.array(_ACCENT, np.float32) * share).astype(np.uint8)


def cut_out(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8: the picture with alpha (H, W) uint8."""
    return np.dstack((image, alpha))
