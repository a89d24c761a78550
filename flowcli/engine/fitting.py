"""Sizes: frames resized and padded for a network, and its flow brought back to the size of the frames."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from flowcli.geometry import crop, pad_to, padded_size, resize_flow, resize_image
from flowcli.models.base import FlowModel
from flowcli.ops import unpack_pixels


@dataclass(frozen=True)
class Fitting:
    """How frames of one size are brought to the network, and their flow back.

    height, width: size of the frames; max_side: limit for the longer side in the network, None for no limit.
    """

    model: FlowModel
    height: int
    width: int
    max_side: int | None = None

    @property
    def limited(self) -> tuple[int, int]:
        """Height and width, scaled down to `max_side` if larger."""
        longer = max(self.height, self.width)
        if self.max_side is None or longer <= self.max_side:
            return self.height, self.width
        height, width = (max(1, round(side * self.max_side / longer)) for side in (self.height, self.width))
        return height, width

    def images(self, pixels: Tensor) -> Tensor:
        """(N, 3, H', W') in [0, 1], in a size that the network takes. pixels: (N, height, width, 3) uint8."""
        stride, least = self.model.stride, self.model.least
        size = self._resized
        if size == (self.height, self.width):
            return unpack_pixels(pixels, stride, least)[0]
        return pad_to(resize_image(unpack_pixels(pixels)[0], *size), stride, least)[0]

    def flow(self, flow: Tensor) -> Tensor:
        """(N, 2, height, width): the network's flow in the size of the frames."""
        pads = self.model.fit == "pad"
        if pads:
            tall, wide, part = padded_size(*self._resized, self.model.stride, self.model.least)
            flow = crop(resize_flow(flow, tall, wide), part)
        # Published networks that resize do so without smoothing, and weights may be sensitive to it.
        return resize_flow(flow, self.height, self.width, smooth=pads)

    @property
    def _resized(self) -> tuple[int, int]:
        if self.model.fit == "pad":
            return self.limited
        stride, least = self.model.stride, self.model.least
        height, width = (-(-max(side, least) // stride) * stride for side in self.limited)
        return height, width
