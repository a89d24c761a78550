"""What networks cost to compute, whatever machine computes them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from flowcli import models

HEIGHT, WIDTH = 436, 1024
"""The size of MPI-Sintel's pictures, for which costs are stated."""


def multiply_adds(network: str, **settings: Any) -> float:
    """10^9 multiply-adds of the convolutions for one pair of 1024x436 pictures; settings: arguments of the network."""
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model = models.find(network)(**settings).eval()
        height, width = (-(-side // model.stride) * model.stride for side in (HEIGHT, WIDTH))
        model.result(*torch.empty(2, 1, 3, height, width))
    return float(counter.get_total_flops()) / 2e9
