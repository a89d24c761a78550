"""Flow in few bytes: rounded to steps, as differences from pixel to pixel, compressed with zlib."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

UNKNOWN = -32768
"""The level of a pixel whose flow is unknown."""
_MOST = 32767
RATIO = 3
"""Factor from one step to the next. It is odd, so that rounding twice is as exact as rounding once."""


@dataclass(frozen=True, eq=False)
class PackedFlow:
    """Flow (2, height, width) in steps of `step` pixels; values are at most half a step off."""

    data: bytes
    height: int
    width: int
    step: float


def pack_flow(uv: np.ndarray, step: float) -> PackedFlow:
    """The flow in steps of `step` pixels, or of RATIO times that, and so on, where 16 bits would not hold its range.

    uv: (2, H, W) float32, pixels, NaN where unknown.
    """
    known = np.isfinite(uv).all(axis=0)
    values = np.where(known, uv, 0)
    most = float(np.abs(values).max(initial=0))
    while most > _MOST * step:
        step *= RATIO
    levels = np.where(known, np.rint(values / step), UNKNOWN).astype(np.int16)
    return _packed(levels, step)


def unpack_flow(flow: PackedFlow) -> np.ndarray:
    """The flow as (2, H, W) float32, NaN where unknown."""
    levels = _levels(flow)
    return np.where(levels == UNKNOWN, np.float32(np.nan), levels * np.float32(flow.step))


def coarser_flow(flow: PackedFlow, spacing: int, step: float) -> PackedFlow:
    """Every pixel in `spacing` across and down, from the first one on, in steps of at least `step` pixels.

    step: that of the flow, times a power of RATIO.
    """
    levels = _levels(flow)[:, ::spacing, ::spacing]
    now = flow.step
    while now * 2 < step:
        levels = np.where(levels == UNKNOWN, UNKNOWN, np.rint(levels / RATIO)).astype(np.int16)
        now *= RATIO
    return _packed(levels, now)


def _packed(levels: np.ndarray, step: float) -> PackedFlow:
    """levels: (2, H, W) int16. Low bytes come first, then high bytes, since the high ones are nearly all alike."""
    change = levels.copy()
    change[..., 1:] -= levels[..., :-1]
    change[:, 1:, 0] -= levels[:, :-1, 0]
    # 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
    folded = ((change << 1) ^ (change >> 15)).astype(np.uint16)
    halves = np.stack((folded & 255, folded >> 8)).astype(np.uint8)
    _, height, width = levels.shape
    return PackedFlow(zlib.compress(halves.tobytes(), 6), height, width, step)


def _levels(flow: PackedFlow) -> np.ndarray:
    """(2, H, W) int16."""
    halves = np.frombuffer(zlib.decompress(flow.data), np.uint8).reshape(2, 2, flow.height, flow.width)
    folded = halves[0] | halves[1].astype(np.uint16) << 8
    change = ((folded >> 1) ^ -(folded & 1)).astype(np.int16)
    change[..., 0] = np.cumsum(change[..., 0], axis=1, dtype=np.int16)
    return np.cumsum(change, axis=2, dtype=np.int16)
