"""Quantised flow: 16-bit pictures as in KITTI, 8-bit pictures for two-stream networks, and the input of I3D.

uv is (2, H, W) float32, pixels, and NaN where unknown. Values are rounded to the nearest step and clamped to the range;
within it the error is at most half a step.
"""

from __future__ import annotations

import numpy as np

KITTI_BOUND = 512.0
"""Pixels; steps of 1/64."""
TSN_BOUND = 20.0
"""Pixels; steps of 40/255."""
_ZERO = 32768
_GREATEST = 65535


def to_uint16(uv: np.ndarray, bound: float = KITTI_BOUND) -> np.ndarray:
    """(H, W, 3) uint16: u, v as 32768 + value * 32768 / bound, and 1; all 0 where unknown.

    The step is bound / 32768 pixels, the range from -bound to bound - step.
    Source: the development kit of KITTI 2015, whose bound is 512.
    """
    valid = ~np.isnan(uv).any(axis=0)
    stored = np.rint(np.where(valid, uv, 0) * (_ZERO / bound)) + _ZERO
    stored = np.where(valid, np.clip(stored, 0, _GREATEST), 0)
    return np.dstack((*stored, valid)).astype(np.uint16)


def from_uint16(image: np.ndarray, bound: float = KITTI_BOUND) -> tuple[np.ndarray, np.ndarray]:
    """uv of such a picture, any values where it is unknown, and where it is known, (H, W) bool."""
    uv = np.ascontiguousarray(image[..., :2].transpose(2, 0, 1), np.float32)
    return (uv - _ZERO) * (bound / _ZERO), image[..., 2] > 0


def to_uint8(uv: np.ndarray, bound: float = TSN_BOUND) -> np.ndarray:
    """(2, H, W) uint8: -bound is 0, bound is 255, rest and unknown 128, half a step off.

    A step is 2 bound / 255 pixels.
    Source: dense_flow, the tool that made the pictures of temporal segment networks, Wang et al. 2016.
    """
    levels: np.ndarray = np.rint((_clipped(uv, bound) + bound) * (255 / (2 * bound)))
    return levels.astype(np.uint8)


def from_uint8(levels: np.ndarray, bound: float = TSN_BOUND) -> np.ndarray:
    """uv of such pictures."""
    return levels.astype(np.float32) * (2 * bound / 255) - bound


def to_i3d(uv: np.ndarray, bound: float = TSN_BOUND) -> np.ndarray:
    """(2, H, W) float32 from -1 to 1.004: rest and unknown are 1/255, a step of 2/255 is 2 bound / 255 pixels.

    Source: I3D, Carreira and Zisserman 2017, as in the video_features package: 256 levels around 128, scaled.
    """
    levels: np.ndarray = np.rint(128 + _clipped(uv, bound) * (255 / (2 * bound)))
    return (levels * (2 / 255) - 1).astype(np.float32)


def from_i3d(values: np.ndarray, bound: float = TSN_BOUND) -> np.ndarray:
    """uv of such values."""
    return ((values + 1) * (255 / 2) - 128) * (2 * bound / 255)


def _clipped(uv: np.ndarray, bound: float) -> np.ndarray:
    clipped: np.ndarray = np.clip(np.nan_to_num(uv), -bound, bound)
    return clipped
