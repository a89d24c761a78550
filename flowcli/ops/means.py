"""Means over cells of a picture; `means.cpp` has a faster kernel for them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.ops.library import define


def cell_means(image: Tensor, cell: int) -> Tensor:
    """(C, h, w) float32: means of `image` over cells of `cell` x `cell` pixels; the last ones may be smaller.

    image: (C, H, W) uint8, or of numbers that are read as float32, H and W at least 1; what is not finite counts as 0.
    h = ceil(H / cell), likewise w. Raises ValueError if there is no picture, or cell is below 1.
    """
    if image.dim() != 3 or not image.shape[1:].numel() or cell < 1:
        raise ValueError(f"an image {tuple(image.shape)} has no cells of {cell} pixels")
    means: Tensor = torch.ops.flowcli.cell_means(image if image.dtype == torch.uint8 else image.float(), cell)
    return means


def _cell_means_torch(image: Tensor, cell: int) -> Tensor:
    height, width = image.shape[1:]
    whole = torch.nan_to_num(image.float(), nan=0.0, posinf=0.0, neginf=0.0)
    if height % cell or width % cell:
        whole = F.pad(whole, (0, -width % cell, 0, -height % cell))
    # Sums of whole slices are eight times as fast as avg_pool2d.
    rows = _sum(whole[:, first::cell] for first in range(cell))
    cells = _sum(rows[..., first::cell] for first in range(cell))
    return cells / (_sides(height, cell, image.device)[:, None] * _sides(width, cell, image.device))


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, tensors)


def _sides(length: int, cell: int, device: torch.device) -> Tensor:
    """(ceil(length / cell),): pixels of each cell along one side."""
    return (length - torch.arange(0, length, cell, device=device)).clamp(max=cell)


def _cell_means_fake(image: Tensor, cell: int) -> Tensor:
    height, width = image.shape[1:]
    return image.new_empty(image.shape[0], -(-height // cell), -(-width // cell), dtype=torch.float32)


def _trials() -> list[tuple[Any, ...]]:
    image = 200 * torch.arange(3.0 * 7 * 37).sin().abs().view(7, 37, 3)
    return [(image.byte().permute(2, 0, 1), 3), (image.permute(2, 0, 1).contiguous(), 2)]


define("cell_means(Tensor image, int cell) -> Tensor", _cell_means_torch, _cell_means_fake, trials=_trials)
