"""FlowNetS: flow from a stack of convolutions over both images at once; Dosovitskiy et al. 2015, arXiv:1504.06852.

Nothing can be computed from one image alone, so a video costs as much as its pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowcli.models.base import Features, FlowModel
from flowcli.models.flow._flownet import Order, SimpleNet, finished, shifted


class FlowNetS(FlowModel):
    """The network.

    order: the order of colours that the weights were trained with; mean: what is subtracted from each colour, where 1
    is white; norm: whether it has batch normalisation; bias: whether deconvolutions and predictions have biases.
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
        self.net = SimpleNet(bias=bias, norm=norm)

    def encode(self, image: Tensor) -> Features:
        return (shifted(image, self.order, self.mean).to(self.dtype),)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        return finished(self.net(torch.cat([first[0], second[0]], 1)), first[0])


MODEL = FlowNetS
