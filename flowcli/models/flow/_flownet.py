"""Parts that the FlowNets share, under the names that they have in published weights.

Source: Dosovitskiy et al. 2015, arXiv:1504.06852, and Ilg et al. 2017, arXiv:1612.01925.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.geometry import constants
from flowcli.ops import correlation

DIV_FLOW = 20.0
"""The networks give flow in pixels of full size, divided by this."""
SKIPS = {5: 512, 4: 512, 3: 256, 2: 128}
"""Channels of the contracting half at 1/2^level of full size."""
EXPANDED = {5: 512, 4: 256, 3: 128, 2: 64}
"""Channels of the expanding half."""

Order = Literal["rgb", "bgr"]


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, norm: bool = False) -> nn.Sequential:
    """Convolution, batch normalisation if `norm`, LeakyReLU."""
    layers = [nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, bias=not norm)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(outputs)] if norm else []), nn.LeakyReLU(0.1))


def deconv(inputs: int, outputs: int, bias: bool) -> nn.Sequential:
    """Deconvolution to twice the size, then LeakyReLU."""
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias), nn.LeakyReLU(0.1))


def predict_flow(inputs: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(inputs, 2, 3, 1, 1, bias=bias)


def upsampled_flow(bias: bool) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=bias)


def cut(image: Tensor, like: Tensor) -> Tensor:
    """`image` without the rows below and columns to the right that `like` does not have."""
    return image[:, :, : like.shape[2], : like.shape[3]]


class Refinement(nn.Module):
    """The expanding half, from 1/64 to 1/4 of full size.

    Networks derive from it, since published weights name the parts of both halves without a prefix.
    bias: whether deconvolutions and predictions have biases; up_bias: whether the upsampling of flow has them; inter:
    whether a convolution comes before each prediction, as in FlowNet2-SD.
    """

    def __init__(self, bias: bool, up_bias: bool, inter: bool = False) -> None:
        super().__init__()
        self.inter = inter
        channels = 1024
        self.predict_flow6 = predict_flow(channels, bias)
        for level, width in EXPANDED.items():
            setattr(self, f"deconv{level}", deconv(channels, width, bias))
            setattr(self, f"upsampled_flow{level + 1}_to_{level}", upsampled_flow(up_bias))
            channels = SKIPS[level] + width + 2
            if inter:
                setattr(self, f"inter_conv{level}", nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1)))
            setattr(self, f"predict_flow{level}", predict_flow(width if inter else channels, bias))

    def refine(self, skips: Mapping[int, Tensor]) -> list[Tensor]:
        """Flows / DIV_FLOW, coarse to fine. skips: the contracting half's output by level, 6 to 2."""
        features = skips[6]
        flows: list[Tensor] = [self.predict_flow6(features)]
        for level in EXPANDED:
            skip = skips[level]
            wider = cut(getattr(self, f"deconv{level}")(features), skip)
            flow = cut(getattr(self, f"upsampled_flow{level + 1}_to_{level}")(flows[-1]), skip)
            features = torch.cat([skip, wider, flow], 1)
            seen = getattr(self, f"inter_conv{level}")(features) if self.inter else features
            flows.append(getattr(self, f"predict_flow{level}")(seen))
        return flows


class SimpleNet(Refinement):
    """FlowNetS: one stack of convolutions over everything that is known of a pair."""

    def __init__(self, inputs: int = 6, bias: bool = False, norm: bool = False) -> None:
        super().__init__(bias, up_bias=False)
        self.conv1 = conv(inputs, 64, 7, 2, norm)
        self.conv2 = conv(64, 128, 5, 2, norm)
        self.conv3 = conv(128, 256, 5, 2, norm)
        self.conv3_1 = conv(256, 256, norm=norm)
        add_deep(self, norm)

    def forward(self, pair: Tensor) -> list[Tensor]:
        """Flows / DIV_FLOW, coarse to fine, the last at 1/4 of full size; pair: (N, inputs, H, W)."""
        second = self.conv2(self.conv1(pair))
        return self.refine({2: second, **deep(self, self.conv3_1(self.conv3(second)))})


class CorrelationNet(Refinement):
    """FlowNetC: the same convolutions over each image, whose features are then compared."""

    def __init__(self, bias: bool = False) -> None:
        super().__init__(bias, up_bias=bias)
        self.conv1 = conv(3, 64, 7, 2)
        self.conv2 = conv(64, 128, 5, 2)
        self.conv3 = conv(128, 256, 5, 2)
        self.conv_redir = conv(256, 32, 1)
        self.conv3_1 = conv(441 + 32, 256)
        add_deep(self, norm=False)

    def features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Features at 1/4 and 1/8 of full size: all that is done to one image alone. image: (N, 3, H, W)."""
        second = self.conv2(self.conv1(image))
        return second, self.conv3(second)

    def match(self, second: Tensor, third: Tensor, other: Tensor) -> list[Tensor]:
        """Flows / DIV_FLOW, as `SimpleNet` gives them.

        second, third: features of the first image at 1/4 and 1/8; other: features of the second image at 1/8.
        """
        costs = F.leaky_relu(correlation(third, other, radius=10, dilation=2), 0.1)
        joined = torch.cat([self.conv_redir(third), costs], 1)
        return self.refine({2: second, **deep(self, self.conv3_1(joined))})


def add_deep(module: nn.Module, norm: bool) -> None:
    """Adds the convolutions of levels 4 to 6 to the module."""
    channels = 256
    for level, width in ((4, 512), (5, 512), (6, 1024)):
        setattr(module, f"conv{level}", conv(channels, width, stride=2, norm=norm))
        setattr(module, f"conv{level}_1", conv(width, width, norm=norm))
        channels = width


def deep(module: nn.Module, third: Tensor) -> dict[int, Tensor]:
    """The contracting half's output by level, 3 to 6; third: its output at level 3."""
    skips = {3: third}
    for level in (4, 5, 6):
        skips[level] = getattr(module, f"conv{level}_1")(getattr(module, f"conv{level}")(skips[level - 1]))
    return skips


def full_size(flow: Tensor, image: Tensor, mode: str = "bilinear") -> Tensor:
    """Flow at the size of `image`, (N, 2, H, W) float32, pixels; `flow`: divided by DIV_FLOW, at 1/4 of that size."""
    size = image.shape[-2:]
    return F.interpolate(DIV_FLOW * flow.float(), size, mode=mode, align_corners=None if mode == "nearest" else False)


def finished(flows: list[Tensor], image: Tensor, mode: str = "bilinear") -> list[Tensor]:
    """The flows of `Refinement.refine`, each in pixels of its own grid, the last at the size of `image`."""
    coarse = [flow.float() * (DIV_FLOW / 2**level) for level, flow in zip((6, 5, 4, 3), flows, strict=False)]
    return [*coarse, full_size(flows[-1], image, mode)]


def ordered(image: Tensor, order: Order) -> Tensor:
    """The RGB image with its colours in the order that the weights were trained with."""
    return image.flip(1) if order == "bgr" else image


def shifted(image: Tensor, order: Order, mean: Sequence[float]) -> Tensor:
    """The RGB image with its colours in the order that the weights were trained with, minus `mean` of each."""
    return ordered(image, order) - constants(mean, image)


def centred(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both images minus the mean of each colour over the two together, as NVIDIA's FlowNet2 family wants them."""
    mean = (first.mean((2, 3), keepdim=True) + second.mean((2, 3), keepdim=True)) / 2
    return first - mean, second - mean
