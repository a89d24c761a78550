"""PWC-Net: pyramid, warping and cost volume; Sun et al. 2018, arXiv:1709.02371. The dense network with context ("DC").

Features are warped as by the published weights' own code: bilinear, zero wherever a sample is not wholly inside.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.geometry import backward_warp
from flowcli.models.base import Features, FlowModel
from flowcli.models.flow._flownet import DIV_FLOW, predict_flow, upsampled_flow
from flowcli.ops import correlation

PYRAMID = (16, 32, 64, 96, 128, 196)
"""Channels at 1/2, 1/4 ... 1/64 of full size."""
DENSE = (128, 128, 96, 64, 32)
"""Channels that each convolution of a dense block adds."""
CONTEXT = ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1))
"""Channels and dilation of the convolutions of the context network."""
RADIUS = 4
COARSEST, FINEST = 6, 2
INSIDE = 1e-4
"""Pixels by which a sample may lie outside and still count."""


def _conv(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation), nn.LeakyReLU(0.1))


class PWCNet(FlowModel):
    """The network. Its weights are for BGR, and its parts have the names of NVlabs' weights."""

    stride = 64
    fit = "resize"
    precisions = ("fp32",)

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for level, width in enumerate(PYRAMID, 1):
            for name, stride in zip(names(level), (2, 1, 1), strict=True):
                setattr(self, name, _conv(inputs, width, stride))
                inputs = width
        for level in range(COARSEST, FINEST - 1, -1):
            channels = (2 * RADIUS + 1) ** 2 + (PYRAMID[level - 1] + 4 if level < COARSEST else 0)
            for number, width in enumerate(DENSE):
                setattr(self, f"conv{level}_{number}", _conv(channels, width))
                channels += width
            setattr(self, f"predict_flow{level}", predict_flow(channels, bias=True))
            if level > FINEST:
                setattr(self, f"deconv{level}", upsampled_flow(bias=True))
                setattr(self, f"upfeat{level}", nn.ConvTranspose2d(channels, 2, 4, 2, 1))
        for number, (width, dilation) in enumerate(CONTEXT, 1):
            setattr(self, f"dc_conv{number}", _conv(channels, width, dilation=dilation))
            channels = width
        self.dc_conv7 = predict_flow(channels, bias=True)

    def encode(self, image: Tensor) -> Features:
        """Features at 1/4 ... 1/64 of full size."""
        features = image.flip(1).to(self.dtype)
        levels: list[Tensor] = []
        for level in range(1, COARSEST + 1):
            for name in names(level):
                features = getattr(self, name)(features)
            levels.append(features)
        return tuple(levels[1:])

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        flows: list[Tensor] = []
        flow = features = first[-1]
        for level in range(COARSEST, FINEST - 1, -1):
            one, other = first[level - FINEST], second[level - FINEST]
            known: list[Tensor] = []
            if level < COARSEST:
                flow, features = (
                    getattr(self, f"deconv{level + 1}")(flow),
                    getattr(self, f"upfeat{level + 1}")(features),
                )
                other, inside = backward_warp(other, flow.float() * (DIV_FLOW / 2**level), margin=INSIDE)
                other = (other * inside).to(one.dtype)
                known = [one, flow, features]
            features = torch.cat([F.leaky_relu(correlation(one, other, RADIUS), 0.1), *known], 1)
            for number in range(len(DENSE)):
                features = torch.cat([getattr(self, f"conv{level}_{number}")(features), features], 1)
            flow = getattr(self, f"predict_flow{level}")(features)
            if level == FINEST:
                for number in range(1, len(CONTEXT) + 1):
                    features = getattr(self, f"dc_conv{number}")(features)
                flow = flow + self.dc_conv7(features)
            flows.append(flow.float() * (DIV_FLOW / 2**level))
        return flows


def names(level: int) -> tuple[str, ...]:
    """Names of the convolutions of a level, in order; in published weights two of the last level are swapped."""
    order = ("aa", "a", "b") if level == COARSEST else ("a", "aa", "b")
    return tuple(f"conv{level}{letters}" for letters in order)


MODEL = PWCNet
