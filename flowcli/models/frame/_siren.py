"""A small network of sines for each pixel: SIREN, Sitzmann et al. 2020, arXiv:2006.09661."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn

from flowcli.ops.library import accumulator

OMEGA = 30.0
"""What goes into each sine is multiplied by it."""
AT_ONCE = 4096
"""Pixels that are worked on together: what is between the layers stays in the cache of a CPU."""


def full(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is."""
    return tensor.to(accumulator(tensor.dtype))


def without_autocast(like: Tensor) -> AbstractContextManager[object]:
    """A block in which nothing on the device of `like` is computed in less than it is given in."""
    device = like.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def mixed(weight: Tensor, maps: Tensor) -> Tensor:
    """(N, O, h, w): the channels of maps (N, C, h, w), which `weight` (O, C) mixes in each pixel."""
    out: Tensor = (weight @ maps.flatten(2)).unflatten(2, maps.shape[2:])
    return out


class Siren(nn.Module):
    """sin(OMEGA (W x + b)) in each hidden layer and W x + b in the last one, in float32 at least.

    Sines of OMEGA times a sum make small differences grow: half precision would give another picture.
    inputs: sizes of the parts that the input consists of.
    """

    def __init__(self, inputs: Sequence[int], hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.layers = nn.ModuleList(nn.Linear(*widths) for widths in pairwise((sum(inputs), *hidden, outputs)))
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            bound = math.sqrt(6 / layer.in_features) / OMEGA if number else 1 / layer.in_features
            nn.init.uniform_(layer.weight, -bound, bound)

    def first(self) -> tuple[Tensor, ...]:
        """OMEGA times the weights of the first layer, (hidden, size) for each part of the input, then its bias.

        The layer is linear: what it makes of parts that many pixels share is computed once, and added up.
        """
        weight, bias = self._layer(0)
        return *weight.split(self.inputs, 1), bias

    def forward(self, sums: Tensor) -> Tensor:
        """(N, outputs, h, w); sums: what goes into the first sines, (N, hidden, h, w)."""
        layers = [self._layer(number) for number in range(1, len(self.layers))]

        def run(values: Tensor) -> Tensor:
            for weight, bias in layers:
                values = torch.matmul(weight, values.sin()).add_(bias[:, None])
            return values

        parts = [run(part) for part in sums.flatten(2).split(AT_ONCE, 2)]
        out: Tensor = torch.cat(parts, 2).unflatten(2, sums.shape[2:])
        return out

    def _layer(self, number: int) -> tuple[Tensor, Tensor]:
        layer = self.layers[number]
        assert isinstance(layer, nn.Linear)
        scale = OMEGA if number < len(self.layers) - 1 else 1.0
        return scale * full(layer.weight), scale * full(layer.bias)
