"""A network whose answer is known: u is the change of mean brightness (0 to 255) times `gain`, v is `down`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowcli.models.base import Features, FlowModel


class Brightness(FlowModel):
    stride = 1

    def __init__(self, gain: float = 1.0, refine: int = 1) -> None:
        super().__init__()
        self.gain = gain * refine
        self.down = nn.Parameter(torch.zeros(1))

    def encode(self, image: Tensor) -> Features:
        return (image.float(),)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        change = (second[0] - first[0]).mean(1) * 255 * self.gain
        return [torch.stack([change, self.down.float().expand_as(change)], 1)]


MODEL = Brightness
