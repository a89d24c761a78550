"""Specks of a label that nothing vouches for, given to what surrounds them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flowcli.opencv import cv2

SMALL = 0.01
"""Share of all pixels of a label below which a part of it is a speck. Without specks, IoU on generated clips is
0.001 to 0.003 higher."""
VOUCHED = 0.1
"""Trust above which a cell vouches for its label, and share of a speck's cells that have to."""


def drown_islands(labels: Tensor, trust: Tensor) -> Tensor:
    """(h, w): the labels (h, w) int32 without small parts, apart from others of the same label, that are in doubt.

    trust: (h, w), 0 to 1. They get the nearest other label, as a whole speck has come from a wrong place. What belongs
    to no speck keeps its label, and so does 0: ground seen through a thing is not doubted.
    """
    given, vouched = labels.cpu().numpy(), (trust > VOUCHED).cpu().numpy()
    specks = np.zeros(given.shape, bool)
    for number in np.unique(given[given != 0]):
        mask = (given == number).astype(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        box = np.s_[top : top + height, left : left + width]
        count, parts, measures, _ = cv2.connectedComponentsWithStats(mask[box])
        if count == 2:
            continue
        sizes = measures[:, cv2.CC_STAT_AREA]
        support = np.bincount(parts.ravel(), vouched[box].ravel(), count)
        doubtful = (sizes < SMALL * sizes[1:].sum()) & (support < VOUCHED * sizes)
        doubtful[0] = False
        specks[box] |= doubtful[parts]
    if not specks.any():
        return labels
    return torch.from_numpy(np.where(specks, nearest(given, ~specks), given)).to(labels.device)


def nearest(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(H, W): of each pixel the label of the nearest one that is known, (H, W) bool, of which there is one at least."""
    _, places = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(places.max()) + 1, labels.dtype)
    table[places[known]] = labels[known]
    found: np.ndarray = table[places]
    return found
