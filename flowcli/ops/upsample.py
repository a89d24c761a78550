"""Convex upsampling of flow; `upsample.cpp` and `upsample.cu` have faster kernels for it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.ops.library import accumulator, define, differentiate_kernel


def convex_upsample(flow: Tensor, mask: Tensor) -> Tensor:
    """The flow upsampled by k: each fine vector is k times a convex combination of the 3x3 coarse vectors around it.

    flow: (N, 2, h, w) float32 or float64, in pixels of its own grid; mask: (N, 9 k^2, h, w), any floating dtype:
    channel (3 j + i) k^2 + k y + x is the weight, before softmax, of the coarse vector at row j - 1 and column i - 1
    around a cell, for the cell's fine pixel (y, x). The border is replicated. Returns (N, 2, k h, k w) in the dtype of
    the flow. Raises ValueError if the shapes do not fit.
    Source: RAFT, Teed and Deng 2020, arXiv:2003.12039, section 3.3.
    """
    count, channels, height, width = mask.shape
    if flow.shape != (count, 2, height, width):
        raise ValueError(f"flow has the shape {tuple(flow.shape)}, must have {(count, 2, height, width)}")
    if not channels or channels != 9 * math.isqrt(channels // 9) ** 2:
        raise ValueError(f"mask has {channels} channels, must have 9 k^2")
    upsampled: Tensor = torch.ops.flowcli.convex_upsample(flow, mask)
    return upsampled


def _convex_upsample_torch(flow: Tensor, mask: Tensor) -> Tensor:
    count, channels, height, width = mask.shape
    factor = math.isqrt(channels // 9)
    wide = accumulator(flow.dtype)
    weights = mask.permute(0, 2, 3, 1).to(wide).view(count, height, width, 9, factor * factor).softmax(3)
    bordered = F.pad(factor * flow.to(wide), (1, 1, 1, 1), mode="replicate")
    near = F.unfold(bordered, 3).view(count, 2, 9, height, width)
    blends = [(weights * part[..., None]).sum(3) for part in near.permute(1, 0, 3, 4, 2)]
    return F.pixel_shuffle(torch.cat(blends, 3).permute(0, 3, 1, 2), factor).to(flow.dtype).contiguous()


def _convex_upsample_fake(flow: Tensor, mask: Tensor) -> Tensor:
    count, channels, height, width = mask.shape
    factor = math.isqrt(channels // 9)
    return flow.new_empty(count, 2, factor * height, factor * width)


define("convex_upsample(Tensor flow, Tensor mask) -> Tensor", _convex_upsample_torch, _convex_upsample_fake)
differentiate_kernel("convex_upsample")
