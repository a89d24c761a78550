"""FlowNetS: flow from a stack of convolutions over both images at once; Dosovitskiy et al. 2015, arXiv:1504.06852.

Nothing can be computed of one image alone, so a video costs as much as its pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowcli.models.base import Features, FlowModel
from flowcli.models.flow._flownet import Order, Simple, finished, shifted


class FlowNetS(FlowModel):
    """order, mean: of the colours that the weights were trained with, what is subtracted of each, of 1 for white.

    norm: batch normalisation; bias: of deconvolutions and predictions.
    """

    def __init__(
        self,
        order: Order = "rgb",
        mean: Sequence[float] = (0.411, 0.432, 0.45),
        norm: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.order = order
        self.mean = tuple(mean)
        self.net = Simple(bias=bias, norm=norm)

    def encode(self, image: Tensor) -> Features:
        return (shifted(image, self.order, self.mean).to(self.dtype),)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        return finished(self.net(torch.cat([first[0], second[0]], 1)), first[0])


MODEL = FlowNetS
