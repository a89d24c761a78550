"""Features of one picture moved to where those of another are, from coarse to fine, by deformable convolutions.

Source: EDVR, Wang et al. 2019, arXiv:1905.02716, section 3.2; both ways and joined as in Zooming Slow-Mo, Xiang et al.
2020, arXiv:2002.11616, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.geometry import resize_image
from flowcli.ops import deform_conv

LEVELS = 3
"""Full size, 1/2 and 1/4."""
SLOPE = 0.1


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that leaves height and width as they are, or divides them by `stride`."""
    return nn.Conv2d(inputs, outputs, size, stride, size // 2)


def leaky(features: Tensor) -> Tensor:
    """The activation that is used everywhere but in residual blocks."""
    return F.leaky_relu(features, SLOPE)


def doubled(features: Tensor) -> Tensor:
    """Twice as high and wide."""
    return resize_image(features, 2 * features.shape[-2], 2 * features.shape[-1])


class Pyramid(nn.Module):
    """Features at all levels, finest first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.ModuleList((conv(channels, channels, stride=2), conv(channels, channels))) for _ in range(LEVELS - 1)
        )

    def forward(self, features: Tensor) -> list[Tensor]:
        """features: (N, C, h, w), h and w multiples of 2 ** (LEVELS - 1)."""
        levels = [features]
        for step in self.steps:
            for layer in step.children():
                features = leaky(layer(features))
            levels.append(features)
        return levels


class DeformConv(nn.Module):
    """A deformable convolution whose offsets and mask come from features of their own."""

    def __init__(self, channels: int, groups: int, size: int = 3) -> None:
        super().__init__()
        plain = conv(channels, channels, size)
        assert plain.bias is not None
        self.weight, self.bias = plain.weight, plain.bias
        self.taps = groups * size * size
        self.places = conv(channels, 3 * self.taps, size)
        # Training starts from a convolution that looks where any looks.
        nn.init.zeros_(self.places.weight)
        if self.places.bias is not None:
            nn.init.zeros_(self.places.bias)

    def forward(self, features: Tensor, known: Tensor) -> Tensor:
        places = self.places(known)
        # In place: of a large picture this is the largest map.
        offsets, mask = places[:, : 2 * self.taps], places[:, 2 * self.taps :].sigmoid_()
        return deform_conv(features, offsets, mask, self.weight, self.bias)


class Level(nn.Module):
    """One level of an alignment; all but the coarsest see what the one below them found."""

    def __init__(self, channels: int, groups: int, *, coarsest: bool) -> None:
        super().__init__()
        self.compare = conv(2 * channels, channels)
        self.guide = conv(channels if coarsest else 2 * channels, channels)
        self.deform = DeformConv(channels, groups)
        if not coarsest:
            self.refine = conv(channels, channels)
            self.blend = conv(2 * channels, channels)

    def forward(self, own: Tensor, other: Tensor, below: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Features that say where to look, and `own` moved to `other`; below: both of the coarser level."""
        known = leaky(self.compare(torch.cat([own, other], 1)))
        if below is None:
            known = leaky(self.guide(known))
            return known, self.deform(own, known)
        known = leaky(self.guide(torch.cat([known, 2 * doubled(below[0])], 1)))
        known = leaky(self.refine(known))
        moved = self.deform(own, known)
        return known, self.blend(torch.cat([moved, doubled(below[1])], 1))


class Alignment(nn.Module):
    """The features of one pyramid moved to those of another."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Level(channels, groups, coarsest=level == LEVELS - 1) for level in range(LEVELS))

    def forward(self, own: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """(N, C, h, w) at the finest level. own, other: the levels of a pyramid, finest first."""
        below: tuple[Tensor, Tensor] | None = None
        for number, level in reversed(list(enumerate(self.levels))):
            known, moved = level(own[number], other[number], below)
            # The result itself is linear.
            below = known, leaky(moved) if number else moved
        assert below is not None
        return below[1]


class Meeting(nn.Module):
    """Features of what is between two maps: each aligned to the other, and both joined."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(channels)
        self.ways = nn.ModuleList(Alignment(channels, groups) for _ in range(2))
        self.join = conv(2 * channels, channels, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(N, C, h, w), as `first` and `second` are."""
        one, two = self.pyramid(first), self.pyramid(second)
        forth, back = self.ways
        out: Tensor = self.join(torch.cat([forth(one, two), back(two, one)], 1))
        return out
