"""The flow of two frames, carried to a time between them by softmax splatting.

Source: Niklaus and Liu 2020, arXiv:2003.05534. Where several pixels arrive, those count that look the same in the other
frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.geometry import backward_warp, blurred, resize_image
from flowcli.ops import forward_splat

TRUST = 20.0
"""How fast a pixel loses weight as it differs from the pixel that it moves to; differences are from 0 to 1."""
HOLE = 0.3
"""Where pixels arrive less densely than this is a hole."""
LEAST = 0.02
"""Weight of a frame that no pixel comes from, beside 1 for a frame that is seen."""


def trusted(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    """(N, 1, H, W): 1 where a pixel of the first picture looks the same where it goes, near 0 where it does not."""
    difference = (first - backward_warp(second, flow)[0]).abs().mean(1, keepdim=True)
    return torch.exp(-TRUST * difference)


def carried(flow: Tensor, trust: Tensor, share: float, around: int = 5) -> tuple[Tensor, Tensor]:
    """The flow (N, 2, H, W) of what is at each place after a share of its way, and how dense it is there, 0 to 1.

    around: side of the squares over which the density is averaged, pixels.
    """
    weighted = torch.cat((flow.nan_to_num() * trust, trust), 1)
    sums, cover = forward_splat(weighted, share * flow, torch.ones_like(trust))
    # Single pixels that miss, or are hit by what moves otherwise, would be seen as specks along edges.
    sums, cover = blurred(sums, 3), blurred(cover.clamp(max=1), around)
    known = cover > HOLE
    return _filled(sums[:, :2] * known, sums[:, 2:] * known), cover


def _filled(sums: Tensor, weights: Tensor) -> Tensor:
    """sums / weights, and where the weight is 0, what the picture of half the size has there."""
    hole = weights == 0
    height, width = sums.shape[-2:]
    if not hole.any() or height * width == 1:
        return sums / weights.clamp(min=1e-12)
    half = [F.interpolate(each, (-(-height // 2), -(-width // 2)), mode="area") for each in (sums, weights)]
    coarse = resize_image(_filled(*half), height, width)
    return torch.where(hole, coarse, sums / weights.clamp(min=1e-12))
