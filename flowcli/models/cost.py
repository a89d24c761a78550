"""What networks cost to compute, whatever machine computes them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from flowcli import models
from flowcli.ops.deform import COUNTED

HEIGHT, WIDTH = 436, 1024
"""The size of MPI-Sintel's pictures, for which costs are stated."""


def counting() -> FlopCounterMode:
    """Counts two operations for each multiply-add inside; `get_total_flops` says how many there were."""
    return FlopCounterMode(display=False, custom_mapping=COUNTED)


def multiply_adds(network: str, **settings: Any) -> float:
    """10^9 multiply-adds of the convolutions for one pair of 1024x436 pictures; settings: arguments of the network.

    Of a network that makes frames those of all products of matrices, for the pair and one frame of its size.
    """
    with torch.device("meta"), torch.inference_mode(), counting() as counter:
        model = models.find(network)(**settings).eval()
        height, width = (-(-side // model.stride) * model.stride for side in (HEIGHT, WIDTH))
        model.result(*torch.empty(2, 1, 3, height, width))
    return float(counter.get_total_flops()) / 2e9
