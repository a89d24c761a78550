"""Costs of each cell far around it, in the other picture at a quarter of the level's size, for what is small and fast.

The coarse levels see too little of a small thing to find it, and the level itself looks only around what they have
found. It is a lookup at a coarser level of the pyramid, as in RAFT, Teed and Deng 2020, arXiv:2003.12039, section 3.2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.ops import lookup_correlation

FACTOR = 4


def far_costs(first: Tensor, second: Tensor, flow: Tensor, radius: int) -> Tensor:
    """(N, (2 radius + 1)^2, h, w): mean products with the means of FACTOR x FACTOR cells, around where the flow leads.

    first, second: (N, C, h, w); flow: (N, 2, h, w), cells. Channels are in the order of `lookup_correlation`.
    """
    height, width = flow.shape[-2:]
    edge = (0, -width % FACTOR, 0, -height % FACTOR)
    # Every FACTOR-th cell of a row and a column: together they are a map as large as the other one.
    cells, moves = (_apart(F.pad(each, edge)) for each in (first, flow))
    places = (torch.arange(FACTOR, device=flow.device) + 0.5) / FACTOR - 0.5
    offsets = torch.stack(torch.meshgrid(places, places, indexing="ij")[::-1], -1).flatten(0, 1)
    moves = moves / FACTOR + offsets.repeat(len(flow), 1)[..., None, None]
    small = F.avg_pool2d(second, FACTOR, ceil_mode=True).repeat_interleave(FACTOR**2, 0)
    costs = lookup_correlation(cells, small, moves, radius).unflatten(0, (-1, FACTOR**2))
    whole: Tensor = F.pixel_shuffle(costs.transpose(1, 2).flatten(1, 2), FACTOR)
    return whole[..., :height, :width]


def _apart(maps: Tensor) -> Tensor:
    """(FACTOR^2 N, C, h / FACTOR, w / FACTOR) of (N, C, h, w): cells whose neighbours are FACTOR cells away."""
    apart: Tensor = F.pixel_unshuffle(maps, FACTOR).unflatten(1, (-1, FACTOR**2)).transpose(1, 2).flatten(0, 1)
    return apart
