"""What the formats share: flow in memory, and where it is unknown."""

from __future__ import annotations

import numpy as np

Flow = tuple[np.ndarray, np.ndarray | None]
"""uv: (2, H, W) float32, 0 where unknown; valid: (H, W) bool, None where all of it is known."""

UNKNOWN = 1e9
"""Larger values mean unknown, in every format."""


def known(uv: np.ndarray, valid: np.ndarray | None = None) -> Flow:
    """`uv`, set to 0 in place where it is unknown, and its mask; unknown are NaN and large values too."""
    finite = np.all(np.abs(uv) <= UNKNOWN, axis=0)
    valid = finite if valid is None else finite & valid
    if valid.all():
        return uv, None
    uv[:, ~valid] = 0
    return uv, valid


def where_known(uv: np.ndarray) -> np.ndarray:
    """(H, W) bool of a flow that is NaN where unknown."""
    known: np.ndarray = ~np.isnan(uv).any(axis=0)
    return known


def floats(numbers: np.ndarray) -> np.ndarray:
    """A copy as float32; numbers that are too large become infinite."""
    with np.errstate(over="ignore"):
        return np.array(numbers, np.float32, order="C")


def interleaved(uv: np.ndarray) -> np.ndarray:
    """The first two channels of an (H, W, C) array as (2, H, W) float32."""
    return floats(uv[..., :2].transpose(2, 0, 1))
