"""How far a mask agrees with the true one: by its area, and by its outline."""

from __future__ import annotations

import math

import numpy as np

from flowcli.opencv import cv2

REACH = 0.008
"""How far apart outlines may be that agree, as a share of the picture's diagonal."""


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    """J of two masks (H, W) bool: intersection over union; 1 if both are empty.

    Source: Perazzi et al. 2016, A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation.
    """
    union = int((found | truth).sum())
    return int((found & truth).sum()) / union if union else 1.0


def outline_agreement(found: np.ndarray, truth: np.ndarray) -> float:
    """F of two masks (H, W) bool: the harmonic mean of the shares of both outlines that are near the other one.

    Near is at most REACH of the diagonal, rounded up to whole pixels. 1 if neither has an outline. Source: Perazzi et
    al. 2016, and the choices of DAVIS's own measurement: discs grown around outlines take the place of a matching.
    """
    lines = outline(found), outline(truth)
    counts = [int(line.sum()) for line in lines]
    if not all(counts):
        return float(not any(counts))
    reach = math.ceil(REACH * math.hypot(*found.shape))
    rows, columns = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc = (rows**2 + columns**2 <= reach**2).astype(np.uint8)
    grown = [cv2.dilate(line.astype(np.uint8), disc) > 0 for line in lines]
    precision, recall = (
        int((line & other).sum()) / count for line, other, count in zip(lines, reversed(grown), counts, strict=True)
    )
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels of the mask (H, W) bool that differ from the one to the right, below, or right and below."""
    grown = np.pad(mask, (0, 1), mode="edge")
    line: np.ndarray = (mask != grown[:-1, 1:]) | (mask != grown[1:, :-1]) | (mask != grown[1:, 1:])
    return line
