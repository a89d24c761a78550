"""OpenCV's dense flow, as it comes: what a network has to be better than."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np


def dis(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Flow (2, H, W) float32 between (H, W, 3) uint8 RGB pictures: dense inverse search, preset medium.

    Source: Kroeger et al. 2016, arXiv:1603.03590, as implemented by OpenCV.
    """
    # The annotations leave out that None is taken for the flow to start from.
    nothing: Any = None
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return _planes(search.calc(_grey(first), _grey(second), nothing))


def farneback(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Flow (2, H, W) float32 between (H, W, 3) uint8 RGB pictures: polynomial expansion, 5 levels, windows of 15.

    Source: Farneback 2003, as implemented by OpenCV.
    """
    start = np.zeros((*first.shape[:2], 2), np.float32)
    return _planes(cv2.calcOpticalFlowFarneback(_grey(first), _grey(second), start, 0.5, 5, 15, 3, 7, 1.5, 0))


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"dis": dis, "farneback": farneback}


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _planes(flow: Any) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(flow, 2, 0), np.float32)
