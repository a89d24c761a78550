"""Quantisation of feature maps for 8-bit convolutions; `quantise.cpp` has a faster kernel for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowcli.ops.library import define


def quantise(maps: Sequence[Tensor], scale: float, zero: int) -> Tensor:
    """uint8 (N, C, H, W), channels_last: x / scale + zero, rounded and clamped, of the maps joined along channels.

    maps: at least one (N, C_i, H, W) floating tensor, all on one device. scale: the width of a quantisation step, above
    0; zero: the zero point, 0 to 255. Halves are rounded up; results are clamped to 0...255; NaN becomes 0.
    Raises ValueError if the maps do not fit together, or scale or zero are out of range.
    """
    if not maps or any(each.shape[0] != maps[0].shape[0] or each.shape[2:] != maps[0].shape[2:] for each in maps):
        raise ValueError(f"maps do not lie side by side: {[tuple(each.shape) for each in maps]}")
    if not scale > 0 or not 0 <= zero <= 255:
        raise ValueError(f"scale must be above 0 and zero from 0 to 255, got {scale} and {zero}")
    numbers: Tensor = torch.ops.flowcli.quantise(maps, scale, zero)
    return numbers


def _quantise_torch(maps: Sequence[Tensor], scale: float, zero: int) -> Tensor:
    whole = torch.cat([each.float() for each in maps], 1).contiguous(memory_format=torch.channels_last)
    return whole.mul(1 / scale).add_(zero + 0.5).nan_to_num_(0.0).clamp_(0, 255).to(torch.uint8)


def _quantise_fake(maps: Sequence[Tensor], scale: float, zero: int) -> Tensor:
    count, _, height, width = maps[0].shape
    shape = (count, sum(each.shape[1] for each in maps), height, width)
    return torch.empty(shape, dtype=torch.uint8, device=maps[0].device, memory_format=torch.channels_last)


define("quantise(Tensor[] maps, float scale, int zero) -> Tensor", _quantise_torch, _quantise_fake)
