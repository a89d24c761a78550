"""Motion carried over the whole picture: into areas without texture, and to what is hidden, from what looks alike.

Attention by similarity follows GMA, Jiang et al. 2021, arXiv:2104.02409; that it carries flow itself, GMFlow, Xu et al.
2022, arXiv:2111.13680.

# Differs from both: what is carried is the hidden state and the flow, before an iteration and not within it or at the
# end; nearness counts too, by a learnt amount for each head; keys are never more than MOST_KEYS, so that cost grows
# linearly with the picture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli import geometry
from flowcli.models.conv import Conv

HEADS = 4
MOST_KEYS = 1024
"""Cells that are looked at from each one; of larger grids, the means of several cells."""
CAUTION = 4.0
"""Before training: the logit of keeping a flow, beside 0 for what each head carries."""
NEARNESS = (0.0, 0.005, 0.03, 0.15)
"""Before training: what each head loses of its logarithm with the square of the distance in cells."""
QUICK = 8.0
"""Makes logarithms of the numbers that say how far and how much is carried. An optimizer would else hardly change them:
it moves each number by less than a thousandth at a time."""


class Reach(nn.Module):
    """What each cell learns from all others, weighted by how alike and how near they are.

    hidden: channels of the state; outputs: of the result, which is zero before training.
    """

    def __init__(self, hidden: int, outputs: int) -> None:
        super().__init__()
        self.look = Conv(hidden + 2, 3 * hidden, 1)
        self.nearness = nn.Parameter(torch.tensor(NEARNESS).clamp_min(1e-3).log() / QUICK)
        self.tell = Conv(hidden, outputs, 1)
        self.trust = Conv(hidden, HEADS + 1, 1, precise=True)

    def start(self) -> None:
        """Begin as if nothing were carried."""
        for conv in (self.tell, self.trust):
            nn.init.zeros_(conv.weight)
        if self.trust.bias is not None:
            nn.init.constant_(self.trust.bias[HEADS:], CAUTION / QUICK)

    def forward(self, hidden: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """(N, outputs, h, w), of the state (N, C, h, w) and the flow (N, 2, h, w) before an iteration, both whole.

        And the flow that each head carries to each cell, (N, HEADS, 2, h, w).
        """
        known = torch.cat([hidden, flow.to(hidden.dtype) / 4], 1).contiguous(memory_format=torch.channels_last)
        query, key, value = self.look(known).float().chunk(3, 1)
        height, width = flow.shape[-2:]
        places = geometry.grid(height, width, flow.device)[None].expand(len(flow), -1, -1, -1)
        # Nearness comes out of the same product: -|a - b|^2 is 2 a b - |b|^2, but for what all keys share.
        shares = (QUICK * self.nearness.float()).exp().view(1, HEADS, 1, 1)
        factor = 2 ** _halvings(height, width)
        key, value, near, moves = (_smaller(each, factor) for each in (key, value, places, flow))
        centre = near.mean((2, 3), keepdim=True)
        here, there = ((each - centre).flatten(2).mT[:, None] for each in (places, near))
        moves = moves.flatten(2).mT[:, None].expand(-1, HEADS, -1, -1)
        query, key, value = (each.unflatten(1, (HEADS, -1)).flatten(3).mT for each in (query, key, value))
        channels = query.shape[-1]
        one = torch.ones_like(here[..., :1]).expand(-1, HEADS, -1, -1)
        query = torch.cat([channels**-0.5 * query, 2 * shares * here, one], -1)
        key = torch.cat([key, there.expand(-1, HEADS, -1, -1), -shares * there.square().sum(-1, keepdim=True)], -1)
        # As wide as the keys: other values would take a path that is several times as slow on a CPU.
        value = F.pad(torch.cat([value, moves], -1), (0, key.shape[-1] - channels - 2))
        found = F.scaled_dot_product_attention(query, key, value, scale=1.0).mT.unflatten(3, (height, width))
        told = found[:, :, :channels].flatten(1, 2).to(hidden.dtype).contiguous(memory_format=torch.channels_last)
        out: Tensor = self.tell(told)
        return out, found[:, :, channels : channels + 2]

    def taken(self, carried: Tensor, flow: Tensor, hidden: Tensor) -> Tensor:
        """(N, 2, h, w): what is added to the flow of what the heads carry; hidden: the state after the iteration."""
        shares = torch.softmax(QUICK * self.trust(hidden).float(), 1)[:, :HEADS, None]
        step: Tensor = (shares * (carried - flow[:, None])).sum(1)
        return step


def _halvings(height: int, width: int) -> int:
    """How often each side of that grid is halved until it has MOST_KEYS cells at most."""
    count = 0
    while -(-height // 2**count) * -(-width // 2**count) > MOST_KEYS:
        count += 1
    return count


def _smaller(image: Tensor, factor: int) -> Tensor:
    """The means of cells, `factor` x `factor` each, fewer at the right and lower border."""
    return image if factor == 1 else F.avg_pool2d(image, factor, ceil_mode=True)
