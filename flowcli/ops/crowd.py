"""Which pixels of a flow come from a place that is too full, and have to give way; `crowd.cpp` has a faster kernel."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.geometry import grid
from flowcli.ops.library import define
from flowcli.ops.splat import forward_splat
from flowcli.ops.warp import warp


def crowded_out(flow: Tensor, error: Tensor, most: float, margin: float) -> Tensor:
    """(h, w) bool: where more than `most` pixels come from one place, and another of them fits better.

    flow: (2, h, w) float32, finite, to a picture of the same size; error: (h, w) float32: how badly each pixel fits to
    what it comes from; one next to the place fits better if its error is less by more than `margin`. Several pixels
    that come from one place cannot all be right: what has been uncovered moves with the ground around it, and so comes
    from where something stood in front of it. Raises ValueError if the shapes do not fit.
    """
    if flow.dim() != 3 or flow.shape != (2, *error.shape):
        raise ValueError(f"flow {tuple(flow.shape)} and error {tuple(error.shape)} do not fit")
    crowded: Tensor = torch.ops.flowcli.crowded_out(flow, error, most, margin)
    return crowded


def _crowded_out_torch(flow: Tensor, error: Tensor, most: float, margin: float) -> Tensor:
    height, width = error.shape
    ones = torch.ones(1, 1, height, width, device=flow.device)
    _, cover = forward_splat(ones[:, :0], flow[None], ones)
    crowd = warp(cover[0], flow)[0]
    place = (grid(height, width, flow.device) + flow).round()
    column, row = place[0].clamp(0, width - 1), place[1].clamp(0, height - 1)
    index = (row * width + column).long().flatten()
    least = torch.full((height * width,), torch.inf, device=flow.device)
    least = least.scatter_reduce(0, index, error.flatten(), "amin").view(1, 1, height, width)
    # A neighbour's error counts as well: the flow of both rarely ends on the very same pixel.
    least = -F.max_pool2d(-least, 3, 1, 1).flatten()
    return (crowd > most) & (error - least[index].view(height, width) > margin)


def _crowded_out_fake(flow: Tensor, error: Tensor, most: float, margin: float) -> Tensor:
    return torch.empty_like(error, dtype=torch.bool)


def _trials() -> list[tuple[Any, ...]]:
    y, x = torch.meshgrid(torch.arange(13.0), torch.arange(29.0), indexing="ij")
    return [(torch.stack((0.25 * y - 0.31 * x, 2.25 - 0.6 * y)), 5 * (x * x + 3 * y).sin().abs(), 1.6, 1.0)]


define(
    "crowded_out(Tensor flow, Tensor error, float most, float margin) -> Tensor",
    _crowded_out_torch,
    _crowded_out_fake,
    trials=_trials,
)
