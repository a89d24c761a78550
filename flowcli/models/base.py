"""What every network is, what every network that estimates flow is, and what every network that makes frames is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

Features = tuple[Tensor, ...]
"""What `encode` returns: tensors with the batch as their first dimension, so that frames can be split and joined."""


class Network(nn.Module):
    """Base of every network, whatever it makes of two pictures. The network normalises its input itself."""

    makes: str
    """What it makes, as messages call it."""
    stride: int = 1
    """Height and width of the pictures given to the network are multiples of it."""
    precisions: tuple[str, ...] = ("fp32",)
    """Those in which its result is as good as in fp32; fp32 is taken instead of others."""
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})
    """Lowest and highest input of each convolution, by its name: known where "int8" is among `precisions`."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights, in which the network computes unless it says otherwise."""
        return next((each.dtype for each in self.parameters()), torch.float32)

    def result(self, first: Tensor, second: Tensor) -> Tensor:
        """What the network makes of two pictures, (N, C, h, w); `first` and `second`: (N, 3, H, W) RGB in [0, 1]."""
        raise NotImplementedError


class FlowModel(Network):
    """Base of every network that estimates flow: `encode` does all work on one image, `decode` all work on a pair.

    No statistic of a pair goes into `encode`: a video encodes each frame once and uses the result in two pairs.
    """

    makes = "flow"
    fit: Literal["pad", "resize"] = "pad"
    """How the engine brings pictures to such a size: by repeating their border, or by enlarging them."""
    least: int = 1
    """Smallest height and width that the network takes; smaller images are padded up to it."""
    precisions: tuple[str, ...] = ("fp32", "bf16", "fp16")
    """Precisions in which the flow changes by less than 0.05 px on average; the engine takes fp32 instead of others."""
    tiles: bool = False
    """Whether it can process large pictures tile by tile, which takes less memory and gives the same flow."""
    together: int = 0
    """Pixels that keep the cores of a CPU busy: smaller frames are processed several at once. 0: never."""
    tile: int = 0
    """Side of a tile in pixels, 0 for the whole picture at once; an engine sets it on a copy of its own."""

    def vary(self, generator: torch.Generator) -> None:
        """Draw anew what a user may choose later, such as the number of iterations, so that all of it is trained."""

    def encode(self, image: Tensor) -> Features:
        """Features of each image. `image`: (N, 3, H, W) float32 RGB in [0, 1]."""
        raise NotImplementedError

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        """Flows (N, 2, h, w) float32, coarse to fine, in pixels of each one's own grid; the last is the result."""
        raise NotImplementedError

    def result(self, first: Tensor, second: Tensor) -> Tensor:
        """The flow (N, 2, H, W) from `first` to `second`, pixels."""
        flow: Tensor = self(first, second)[-1]
        return flow

    def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """Flows from `first` to `second`, both (N, 3, H, W) in [0, 1]: the two frames are encoded as one batch."""
        halves = [features.chunk(2) for features in self.encode(torch.cat([first, second]))]
        return self.decode(tuple(half[0] for half in halves), tuple(half[1] for half in halves))


class FrameModel(Network):
    """Base of every network that makes frames between two, at any time and of any size.

    `encode` does what a pair needs once, `decode` what each new frame needs. The network pads its input itself, and
    takes pictures of any size.
    """

    needs_flow: bool = False
    """Whether `encode` is given the flow between the two frames, too."""

    makes = "frames"

    def encode(self, first: Tensor, second: Tensor, *flows: Tensor) -> Features:
        """What all frames of a pair have in common. first, second: (N, 3, h, w) float32 RGB in [0, 1].

        flows: if it needs them, from the first frame to the second and back, (N, 2, h, w) float32, pixels; unknown flow
        is NaN.
        """
        raise NotImplementedError

    def decode(
        self, features: Features, times: Sequence[Fraction | float], height: int, width: int
    ) -> Iterator[Tensor]:
        """Frames (N, 3, height, width) float32 RGB, about [0, 1] and not clamped, one for each time.

        times: in [0, 1], 0 is that of the first frame and 1 that of the second. Each frame is made when it is asked
        for, so that no more than one is in memory.
        """
        raise NotImplementedError

    def result(self, first: Tensor, second: Tensor) -> Tensor:
        """The frame (N, 3, H, W) in the middle between two; where flow is needed, nothing moves."""
        still = [torch.zeros_like(first[:, :2])] * (2 * self.needs_flow)
        (frame,) = self.decode(self.encode(first, second, *still), [0.5], *first.shape[-2:])
        return frame

    def forward(
        self, first: Tensor, second: Tensor, times: Sequence[Fraction | float], height: int, width: int, *flows: Tensor
    ) -> list[Tensor]:
        """The frames of `decode` all at once, as training needs them."""
        return list(self.decode(self.encode(first, second, *flows), times, height, width))
