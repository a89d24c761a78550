"""FlowNet 2.0: stacked FlowNets, one for small displacements, and their fusion; Ilg et al. 2017, arXiv:1612.01925.

It follows NVIDIA's PyTorch version, whose weights it takes; quirks that those weights depend on are marked.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from flowcli.geometry import backward_warp
from flowcli.models.base import Features, FlowModel
from flowcli.models.flow._flownet import (
    DIV_FLOW,
    CorrelationNet,
    Order,
    Refinement,
    SimpleNet,
    add_deep,
    centred,
    conv,
    deconv,
    deep,
    finished,
    full_size,
    ordered,
    predict_flow,
    upsampled_flow,
)

Variant = Literal["c", "s", "sd", "cs", "css", "full"]
ALL = FlowModel.precisions


class SmallDisplacement(Refinement):
    """FlowNet2-SD: small kernels instead of 7 and 5 pixels, and a convolution before each prediction."""

    def __init__(self) -> None:
        super().__init__(bias=True, up_bias=True, inter=True)
        self.conv0 = conv(6, 64)
        self.conv1 = conv(64, 64, stride=2)
        self.conv1_1 = conv(64, 128)
        self.conv2 = conv(128, 128, stride=2)
        self.conv2_1 = conv(128, 128)
        self.conv3 = conv(128, 256, stride=2)
        self.conv3_1 = conv(256, 256)
        add_deep(self, norm=False)

    def forward(self, pair: Tensor) -> list[Tensor]:
        """Flows / DIV_FLOW, coarse to fine, the last at 1/4 of full size; pair: (N, 6, H, W)."""
        first = self.conv1_1(self.conv1(self.conv0(pair)))
        second = self.conv2_1(self.conv2(first))
        return self.refine({2: second, **deep(self, self.conv3_1(self.conv3(second)))})


class Fusion(nn.Module):
    """Flow at full size from two estimates and how well each explains the first image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = conv(11, 64)
        self.conv1 = conv(64, 64, stride=2)
        self.conv1_1 = conv(64, 128)
        self.conv2 = conv(128, 128, stride=2)
        self.conv2_1 = conv(128, 128)
        self.predict_flow2 = predict_flow(128, bias=True)
        channels = 128
        for level, skip, width, seen in ((1, 128, 32, 32), (0, 64, 16, 16)):
            setattr(self, f"deconv{level}", deconv(channels, width, bias=True))
            setattr(self, f"upsampled_flow{level + 1}_to_{level}", upsampled_flow(bias=True))
            channels = skip + width + 2
            setattr(self, f"inter_conv{level}", nn.Sequential(nn.Conv2d(channels, seen, 3, 1, 1)))
            setattr(self, f"predict_flow{level}", predict_flow(seen, bias=True))

    def forward(self, known: Tensor) -> list[Tensor]:
        """Flows in pixels of full size, at 1/4, 1/2 and full size; known: (N, 11, H, W)."""
        skips = {0: self.conv0(known)}
        skips[1] = self.conv1_1(self.conv1(skips[0]))
        features = self.conv2_1(self.conv2(skips[1]))
        flows: list[Tensor] = [self.predict_flow2(features)]
        for level in (1, 0):
            wider = getattr(self, f"deconv{level}")(features)
            flow = getattr(self, f"upsampled_flow{level + 1}_to_{level}")(flows[-1])
            features = torch.cat([skips[level], wider, flow], 1)
            flows.append(getattr(self, f"predict_flow{level}")(getattr(self, f"inter_conv{level}")(features)))
        return flows


class FlowNet2(FlowModel):
    """The whole network, or some of its parts.

    variant: a part alone (c, s, sd), two or three in a stack (cs, css), or all with the fusion (full).
    order: the order of colours that the weights were trained with; centre: whether the mean of the pair is subtracted;
    last: how the flow of the third network is enlarged to full size.
    """

    stride = 64
    fit = "resize"

    def __init__(
        self,
        variant: Variant = "full",
        order: Order = "rgb",
        centre: bool = True,
        last: Literal["nearest", "bilinear"] = "nearest",
    ) -> None:
        super().__init__()
        self.order, self.centre, self.last = order, centre, last
        stack = {"full": "css", "sd": ""}.get(variant, variant)
        self.variant = variant
        # What one network of a stack rounds, the next ones make more of.
        self.precisions = {"c": ALL, "s": ALL, "css": ("fp32",)}.get(variant, ("fp32", "fp16"))
        if stack.startswith("c"):
            self.flownetc = CorrelationNet(bias=True)
        self.depth = stack.count("s")
        for number in range(1, self.depth + 1):
            setattr(self, f"flownets_{number}", SimpleNet(6 if stack == "s" else 12, bias=True))
        if variant in ("sd", "full"):
            self.flownets_d = SmallDisplacement()
        if variant == "full":
            self.flownetfusion = Fusion()

    def _stacked(self, number: int) -> SimpleNet:
        net: SimpleNet = getattr(self, f"flownets_{number}")
        return net

    def encode(self, image: Tensor) -> Features:
        """The image itself: what is subtracted from it depends on the other one."""
        return (ordered(image, self.order),)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        one, other = centred(first[0], second[0]) if self.centre else (first[0], second[0])
        dtype = self.dtype
        pair = torch.cat([one, other], 1).to(dtype)
        if self.variant == "s":
            return finished(self._stacked(1)(pair), one)
        if self.variant == "sd":
            return finished(self.flownets_d(pair), one)
        (quarter, eighth), (_, compared) = (self.flownetc.features(image.to(dtype)) for image in (one, other))
        flows = finished(self.flownetc.match(quarter, eighth, compared), one)
        for number in range(1, self.depth + 1):
            known = [pair, _warped(other, flows[-1]), flows[-1] / DIV_FLOW, _misfit(one, other, flows[-1])]
            # Quirk: NVIDIA's third network has its flow brought to full size by the nearest neighbour.
            mode = self.last if number == 2 else "bilinear"
            net = self._stacked(number)
            flows = finished(net(torch.cat([each.to(dtype) for each in known], 1)), one, mode)
        if self.variant == "full":
            # Quirk: this flow is divided where FlowNet2-SD alone multiplies, as in the first, Caffe version.
            small = full_size(self.flownets_d(pair)[-1], one, "nearest") / DIV_FLOW**2
            both = [small, flows[-1]]
            known = [one, *both, *map(_length, both), *(_misfit(one, other, flow) for flow in both)]
            flows = [flow.float() for flow in self.flownetfusion(torch.cat(known, 1).to(dtype))]
        return flows


def _warped(image: Tensor, flow: Tensor) -> Tensor:
    return backward_warp(image, flow)[0]


def _length(vectors: Tensor) -> Tensor:
    return vectors.square().sum(1, keepdim=True).sqrt()


def _misfit(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    """Difference in colour between the first image and the second, warped onto it: (N, 1, H, W)."""
    return _length(first - _warped(second, flow))


MODEL = FlowNet2
