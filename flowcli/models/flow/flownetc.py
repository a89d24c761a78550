"""FlowNetC: features of each image, compared by a cost volume; Dosovitskiy et al. 2015, arXiv:1504.06852."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from flowcli.models.base import Features, FlowModel
from flowcli.models.flow._flownet import CorrelationNet, Order, finished, shifted


class FlowNetC(FlowModel):
    """The network.

    order: the order of colours that the weights were trained with; mean: what is subtracted from each colour, where 1
    is white; bias: whether deconvolutions and predictions have biases.
    """

    precisions = ("fp32", "fp16")

    def __init__(self, order: Order = "rgb", mean: Sequence[float] = (0.411, 0.432, 0.45), bias: bool = False) -> None:
        super().__init__()
        self.order = order
        self.mean = tuple(mean)
        self.net = CorrelationNet(bias=bias)

    def encode(self, image: Tensor) -> Features:
        seen = shifted(image, self.order, self.mean).to(self.dtype)
        return (*self.net.features(seen), image)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        return finished(self.net.match(first[0], first[1], second[1]), first[2])


MODEL = FlowNetC
