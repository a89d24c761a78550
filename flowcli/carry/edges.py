"""Borders between labels moved to edges of the picture that are near them, by OpenCV's GrabCut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch

from flowcli.carry.islands import nearest
from flowcli.carry.stream import Carried
from flowcli.opencv import cv2

REACH = 0.004
"""How far a border may move, as a share of the picture's diagonal: half of what is near for DAVIS's F."""
_AROUND = 8
"""How far around a thing colours are compared with, as a multiple of that."""
_ROUNDS = 2


def refine_edges(frames: Iterable[Carried[torch.Tensor]]) -> Iterator[Carried[torch.Tensor]]:
    """The frames with labels (H, W) int32 whose borders lie on edges; those of key frames are untouched."""
    for each in frames:
        if each.key or each.value is None:
            yield each
        else:
            snapped = snap(each.value.cpu().numpy(), each.frame.image)
            yield replace(each, value=torch.from_numpy(snapped).to(each.value.device))


def snap(labels: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(H, W) int32: the labels (H, W), each but 0 cut out of the picture (H, W, 3) uint8 anew, near its borders only.

    What a label loses gets the nearest other label. Source: Rother, Kolmogorov and Blake 2004, GrabCut, in OpenCV.
    """
    result = labels.astype(np.int32)
    numbers = np.unique(labels[labels != 0]).tolist()
    cuts = {number: _cut_out(labels == number, image) for number in numbers}
    lost = np.zeros(labels.shape, bool)
    for number, cut in cuts.items():
        lost |= (labels == number) & ~cut
    for number, cut in cuts.items():
        old = labels == number
        if (old & ~cut).any() and not (old | lost).all():
            result[old & ~cut] = nearest(labels, ~(old | lost))[old & ~cut]
    for number, cut in cuts.items():
        result[cut & (labels != number)] = number
    return result


def _cut_out(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(H, W) bool: the mask (H, W) bool, whose pixels near its border are told by colour."""
    reach = max(1, round(REACH * math.hypot(*mask.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    inner, outer = (grow(mask.astype(np.uint8), disc) > 0 for grow in (cv2.erode, cv2.dilate))
    box = tuple(
        slice(max(int(places.min()) - _AROUND * reach, 0), int(places.max()) + _AROUND * reach + 1)
        for places in np.nonzero(mask)
    )
    kinds = np.select((inner, ~outer, mask), (cv2.GC_FGD, cv2.GC_BGD, cv2.GC_PR_FGD), cv2.GC_PR_BGD)[box].astype(
        np.uint8
    )
    if not (kinds == cv2.GC_FGD).any() or not (kinds == cv2.GC_BGD).any():
        return mask
    # It begins with random numbers, and has to give the same twice.
    cv2.setRNGSeed(0)
    models = np.zeros((2, 1, 65))
    part = np.ascontiguousarray(image[box])
    cv2.grabCut(part, kinds, (0, 0, 0, 0), models[0], models[1], _ROUNDS, cv2.GC_INIT_WITH_MASK)
    result = mask.copy()
    result[box] = (kinds == cv2.GC_FGD) | (kinds == cv2.GC_PR_FGD)
    return result
