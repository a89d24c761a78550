"""OpenCV's methods for dense flow, in the place of a network, and its variational refinement of any flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowcli.models.base import Features, FlowModel
from flowcli.opencv import cv2
from flowcli.types import FlowField, FlowPair
from flowcli.weights.entries import CLASSIC


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


def refined(pair: FlowPair) -> FlowPair:
    """The same pair with its flow refined: it is made smooth, and brightness and its gradients constant along it.

    An energy is minimised: the "+v" of Dosovitskiy et al. 2015, arXiv:1504.06852, with OpenCV's implementation of the
    refinement in DIS.
    """
    one, other = _grey(pair.first.image), _grey(pair.second.image)
    forward = _refined(one, other, pair.forward)
    return replace(pair, forward=forward, backward=pair.backward and _refined(other, one, pair.backward))


def _refined(first: np.ndarray, second: np.ndarray, field: FlowField) -> FlowField:
    # Changed in place.
    flow = np.ascontiguousarray(field.uv.permute(1, 2, 0).cpu().numpy())
    cv2.VariationalRefinement.create().calc(first, second, flow)
    return FlowField(torch.from_numpy(_planes(flow)).to(field.uv.device), field.valid)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {name: globals()[name] for name in CLASSIC}
"""The functions above by name. The list of names is elsewhere, since `flowcli models` reads it without OpenCV."""


class Classic(FlowModel):
    """A method in the place of a network, on the CPU. name: which one of METHODS."""

    least = 32
    precisions = ("fp32",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.method = METHODS[name]

    def encode(self, image: Tensor) -> Features:
        """The image itself, in bytes, as it was read."""
        return ((255 * image).round().to(torch.uint8),)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        pictures = (part[0].permute(0, 2, 3, 1).cpu().numpy() for part in (first, second))
        flows = [self.method(*pair) for pair in zip(*pictures, strict=True)]
        return [torch.from_numpy(np.stack(flows)).to(first[0].device)]


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _planes(flow: Any) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(flow, 2, 0), np.float32)
