"""Steps of Lucas and Kanade's method on two pictures; `lucas_kanade.cpp` and `.cu` have faster kernels for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.geometry import backward_warp, resize_flow
from flowcli.ops.library import define

MEASURES = 4
"""Channels for each window."""
MOST_MISFIT = 2.0


@torch.no_grad()
def lucas_kanade(first: Tensor, second: Tensor, flow: Tensor, windows: Sequence[int], damping: float) -> Tensor:
    """(N, 4 K, h, w) float32: for each of K windows a step (u, v) towards the true flow, its confidence, its residual.

    first, second: (N, 1, H, W) brightness; flow: (N, 2, h, w) in pixels of its own grid, where H = k h and W = k w with
    an integer k: each vector stands for a cell of k x k pixels. windows: radii in cells over which steps are measured.
    damping: added to the diagonal of the structure tensor, so that steps stay small without texture, in squares of
    brightness. Steps are in pixels of the pictures, between -1 and 1 in each direction; the confidence is in [0, 1);
    the residual is the root mean square difference of brightness, at most 2. Samples outside `second` are ignored.
    There is no gradient. Raises ValueError if the shapes do not fit, or a window is negative.
    Source: Lucas and Kanade 1981, "An iterative image registration technique"; a single damped step.
    """
    count, _, height, width = first.shape
    cell = height // max(flow.shape[2], 1)
    if first.shape != (count, 1, height, width) or second.shape != first.shape:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"pictures have the shapes {shapes}, must have the same (N, 1, H, W)")
    if not cell or flow.shape != (count, 2, height // cell, width // cell) or (height % cell, width % cell) != (0, 0):
        raise ValueError(f"flow has the shape {tuple(flow.shape)}, must have (N, 2, H / k, W / k) of {height}x{width}")
    if min(windows, default=-1) < 0:
        raise ValueError(f"windows are {list(windows)}, must be at least one, and none negative")
    steps: Tensor = torch.ops.flowcli.lucas_kanade(
        first.float(), second.float(), flow.float(), list(windows), float(damping)
    )
    return steps


def _lucas_kanade_torch(first: Tensor, second: Tensor, flow: Tensor, windows: list[int], damping: float) -> Tensor:
    warped, inside = backward_warp(second, resize_flow(flow, *first.shape[-2:]))
    x, y = (slope * inside for slope in _slopes((first + warped) / 2))
    change = (warped - first) * inside
    products = torch.cat([x * x, y * y, x * y, x * change, y * change, change * change], 1)
    cells = F.avg_pool2d(products, first.shape[-1] // flow.shape[-1])
    out: list[Tensor] = []
    for radius in windows:
        window = F.avg_pool2d(cells, 2 * radius + 1, 1, radius, count_include_pad=False)
        xx, yy, xy, xc, yc, cc = window.split(1, 1)
        xx, yy = xx + damping, yy + damping
        area = xx * yy - xy * xy
        step = torch.cat([xy * yc - yy * xc, xy * xc - xx * yc], 1) / area
        out += [step.clamp(-1, 1), area / (area + xx + yy), cc.sqrt().clamp(max=MOST_MISFIT)]
    return torch.cat(out, 1)


def _slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences to the right and down, (N, 1, H, W) each."""
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2, (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2


def _lucas_kanade_fake(first: Tensor, second: Tensor, flow: Tensor, windows: list[int], damping: float) -> Tensor:
    count, _, height, width = flow.shape
    return flow.new_empty(count, MEASURES * len(windows), height, width)


define(
    "lucas_kanade(Tensor first, Tensor second, Tensor flow, int[] windows, float damping) -> Tensor",
    _lucas_kanade_torch,
    _lucas_kanade_fake,
)
