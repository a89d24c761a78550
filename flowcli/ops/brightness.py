"""Locally normalised brightness; `brightness.cpp` and `brightness.cu` have faster kernels for it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.geometry import resize_image
from flowcli.ops.library import define, differentiate_kernel


def levelled_brightness(image: Tensor, cell: int, least: float) -> Tensor:
    """(N, 1, H, W) float32: the mean of the channels, normalised to local mean 0 and standard deviation 1.

    image: (N, 3, H, W) floating, read as float32; cell: side of the cells in pixels, dividing H and W; least: the
    deviation of noise, whose square is added to the variance. Mean and variance are taken over 3x3 cells, fewer at the
    border, and interpolated bilinearly. This removes slow changes of light and exposure from the difference of two
    frames. Raises ValueError if the shape does not fit.
    """
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[1] != 3 or cell < 1 or any(not side or side % cell for side in shape[2:]):
        raise ValueError(f"image has the shape {shape}, must have (N, 3, H, W) with whole cells of {cell}x{cell}")
    levelled: Tensor = torch.ops.flowcli.levelled_brightness(image.float(), cell, float(least))
    return levelled


def _levelled_brightness_torch(image: Tensor, cell: int, least: float) -> Tensor:
    grey = image.mean(1, keepdim=True)
    cells = F.avg_pool2d(torch.cat([grey, grey.square()], 1), cell)
    mean, square = F.avg_pool2d(cells, 3, 1, 1, count_include_pad=False).split(1, 1)
    deviation = (square - mean.square()).clamp_min_(0).add_(least**2).sqrt_()
    mean, deviation = resize_image(torch.cat([mean, deviation], 1), *grey.shape[-2:]).split(1, 1)
    levelled: Tensor = (grey - mean).div_(deviation)
    return levelled


def _levelled_brightness_fake(image: Tensor, cell: int, least: float) -> Tensor:
    count, _, height, width = image.shape
    return image.new_empty(count, 1, height, width)


define(
    "levelled_brightness(Tensor image, int cell, float least) -> Tensor",
    _levelled_brightness_torch,
    _levelled_brightness_fake,
)
differentiate_kernel("levelled_brightness")
