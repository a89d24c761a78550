"""What training minimises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

EXPONENT = 0.5
EPSILON = 0.01
DECAY = 0.85
"""Weight of an iteration relative to the one after it."""
LONGEST = 400.0
"""Pixels: longer true flows teach nothing in a crop and would dominate."""


def robust_loss(flows: Sequence[Tensor], truth: Tensor) -> Tensor:
    """Weighted mean over all flows of (endpoint error + 0.01)^0.5, in pixels of the full size; a scalar.

    flows: (N, 2, h, w), coarse to fine, each compared with `truth` (N, 2, H, W) averaged to its size;
    H / h = W / w, whole.
    Source of the robust form: Sun et al. 2018, arXiv:1709.02371, section 3 (fine-tuning loss).
    """
    known = (truth.square().sum(1, keepdim=True) < LONGEST**2).float()
    shrunk: dict[int, Tensor] = {1: torch.cat([truth, known], 1)}
    total = truth.new_zeros(())
    weights = 0.0
    for place, flow in enumerate(reversed(flows)):
        scale = truth.shape[-1] // flow.shape[-1]
        if scale not in shrunk:
            shrunk[scale] = F.avg_pool2d(shrunk[1], scale)
        target, mask = shrunk[scale].split((2, 1), 1)
        error = (scale * flow - target).square().sum(1, keepdim=True).add(1e-8).sqrt()
        weight = DECAY**place
        total = total + weight * ((error + EPSILON) ** EXPONENT * mask).mean()
        weights += weight
    return total / weights
