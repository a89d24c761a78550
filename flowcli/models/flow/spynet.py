"""SpyNet: a small network for each level of a pyramid corrects the flow; Ranjan and Black 2017, arXiv:1611.00850."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.geometry import backward_warp, constants
from flowcli.models.base import Features, FlowModel

LEVELS = 6
SMALLEST = 32
"""The pyramid ends at a picture whose sides are no longer than this, pixels."""
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Mean and standard deviation of each colour, where 1 is white, by which pictures are normalised."""


class SpyNet(FlowModel):
    """One small network for each level, coarsest first; a small picture uses only the first few."""

    stride = 32
    fit = "resize"
    precisions = ("fp32", "fp16")

    def __init__(self) -> None:
        super().__init__()
        self.basic = nn.ModuleList(_basic() for _ in range(LEVELS))

    def encode(self, image: Tensor) -> Features:
        """The normalised pyramid, finest first."""
        levels = [((image - constants(MEAN, image)) / constants(DEVIATION, image)).to(self.dtype)]
        while len(levels) < LEVELS and max(levels[-1].shape[-2:]) > SMALLEST:
            levels.append(F.avg_pool2d(levels[-1], 2))
        return tuple(levels)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        count, _, height, width = first[-1].shape
        flow = torch.zeros(count, 2, height, width, device=first[-1].device)
        flows: list[Tensor] = []
        for net, one, other in zip(self.basic, reversed(first), reversed(second), strict=False):
            if flows:
                # Differs from `resize_flow`: the corners of the outermost pixels coincide, and vectors double exactly.
                flow = 2 * F.interpolate(flow, one.shape[-2:], mode="bilinear", align_corners=True)
            warped, _ = backward_warp(other, flow)
            flow = flow + net(torch.cat([one, warped.to(one.dtype), flow.to(one.dtype)], 1)).float()
            flows.append(flow)
        return flows


def _basic() -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((8, 32, 64, 32, 16, 2)):
        layers += [nn.Conv2d(inputs, outputs, 7, 1, 3), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


MODEL = SpyNet
