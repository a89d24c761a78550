"""Pictures in the layouts that networks read; `pixels.cpp` and `pixels.cu` have faster kernels for it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.geometry import Crop, padded_size
from flowcli.ops.library import define, differentiate_kernel


def unpack_pixels(pixels: Tensor, stride: int = 1, least: int = 1) -> tuple[Tensor, Crop]:
    """(N, 3, H', W') float32 in [0, 1], padded as by `pad_to`, and the part of it that holds the original.

    pixels: (N, H, W, 3) uint8. Raises ValueError for another shape or dtype.
    """
    if pixels.dim() != 4 or pixels.shape[3] != 3 or not pixels.shape[1:].numel() or pixels.dtype != torch.uint8:
        raise ValueError(f"pixels are {pixels.dtype} of {tuple(pixels.shape)}, must be torch.uint8 of (N, H, W, 3)")
    height, width, part = padded_size(pixels.shape[1], pixels.shape[2], stride, least)
    planes: Tensor = torch.ops.flowcli.unpack_pixels(pixels, part.top, part.left, height, width)
    return planes, part


def _unpack_pixels_torch(pixels: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    planes = pixels.permute(0, 3, 1, 2).float().div_(255)
    below, right = height - top - pixels.shape[1], width - left - pixels.shape[2]
    return F.pad(planes, (left, right, top, below), mode="replicate").contiguous()


def _unpack_pixels_fake(pixels: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    return pixels.new_empty(pixels.shape[0], 3, height, width, dtype=torch.float32)


def unshuffle_pixels(image: Tensor, factor: int, dtype: torch.dtype) -> Tensor:
    """F.pixel_unshuffle of the image: (N, k^2 C, H / k, W / k) in `dtype`, channels_last.

    image: (N, C, H, W) floating, read as float32; factor: k, 2 or more, dividing H and W; dtype: floating.
    Raises ValueError if the factor does not fit.
    """
    if factor < 2 or image.shape[-2] % factor or image.shape[-1] % factor:
        raise ValueError(f"factor is {factor}, must be 2 or more and divide {image.shape[-2]}x{image.shape[-1]}")
    cells: Tensor = torch.ops.flowcli.unshuffle_pixels(image.float(), factor, dtype)
    return cells


def _unshuffle_pixels_torch(image: Tensor, factor: int, dtype: torch.dtype) -> Tensor:
    cells = F.pixel_unshuffle(image.to(dtype, memory_format=torch.channels_last), factor)
    # pixel_unshuffle does not change the shape of an empty tensor.
    return cells.reshape(_cells(image, factor)).contiguous(memory_format=torch.channels_last)


def _unshuffle_pixels_fake(image: Tensor, factor: int, dtype: torch.dtype) -> Tensor:
    shape = _cells(image, factor)
    return torch.empty(shape, dtype=dtype, device=image.device, memory_format=torch.channels_last)


def _cells(image: Tensor, factor: int) -> tuple[int, int, int, int]:
    count, channels, height, width = image.shape
    return count, channels * factor**2, height // factor, width // factor


define(
    "unpack_pixels(Tensor pixels, int top, int left, int height, int width) -> Tensor",
    _unpack_pixels_torch,
    _unpack_pixels_fake,
)
define(
    "unshuffle_pixels(Tensor image, int factor, ScalarType dtype) -> Tensor",
    _unshuffle_pixels_torch,
    _unshuffle_pixels_fake,
)
differentiate_kernel("unshuffle_pixels")
