"""Forward splatting: what pixels carry, added up where they go; `splat.cpp` has a faster kernel for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flowcli.geometry import grid
from flowcli.ops.library import define, differentiate_kernel


def forward_splat(image: Tensor, flow: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Each pixel carried along its flow and shared among the four nearest: sums of weight * image, and of weight.

    image: (N, C, H, W); flow: (N, 2, H, W) pixels; weight: (N, 1, H, W), 0 or more; all float32. Returns (N, C, H, W)
    and (N, 1, H, W): their quotient is the mean of what arrived, weight 0 a hole. What leaves the frame, or whose flow
    is unknown (NaN), is dropped. Raises ValueError if the shapes do not fit. Source: summation splatting, Niklaus and
    Liu 2020, arXiv:2003.05534, section 3.1.
    """
    count, _, height, width = image.shape
    if flow.shape != (count, 2, height, width) or weight.shape != (count, 1, height, width):
        raise ValueError(
            f"flow {tuple(flow.shape)} and weight {tuple(weight.shape)} do not fit to an image of {tuple(image.shape)}"
        )
    total = torch.ops.flowcli.splat(torch.cat((image * weight, weight), dim=1), flow)
    return total[:, :-1], total[:, -1:]


def _splat_torch(values: Tensor, flow: Tensor) -> Tensor:
    count, channels, height, width = values.shape
    flat = values.flatten(2)
    position = grid(height, width, flow.device) + flow
    corner = torch.nan_to_num(position, nan=-9.0).clamp(-9.0, max(height, width) + 9.0).floor()
    fraction = position - corner
    total = flat.new_zeros(count, channels, height * width)
    for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = corner[:, 0] + right, corner[:, 1] + below
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        share_x = fraction[:, 0] if right else 1 - fraction[:, 0]
        share_y = fraction[:, 1] if below else 1 - fraction[:, 1]
        share = torch.where(inside, share_x * share_y, 0.0).flatten(1)
        index = torch.where(inside, y * width + x, 0.0).long().flatten(1)
        total.scatter_add_(2, index[:, None].expand_as(flat), flat * share[:, None])
    return total.view_as(values)


def _splat_fake(values: Tensor, flow: Tensor) -> Tensor:
    return values.new_empty(values.shape)


def _trials() -> list[tuple[Any, ...]]:
    values = torch.arange(2.0 * 3 * 7 * 11).sin().view(2, 3, 7, 11)
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(11.0), indexing="ij")
    flow = torch.stack((0.7 * y - 0.31 * x, 2.3 - 0.6 * y)).repeat(2, 1, 1, 1)
    return [(values, flow)]


define("splat(Tensor values, Tensor flow) -> Tensor", _splat_torch, _splat_fake, trials=_trials)
differentiate_kernel("splat")
