"""Pictures at the places that a flow leads to; `warp.cpp` has a faster kernel for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flowcli.geometry import Interpolation, backward_warp
from flowcli.ops.library import define


def warp(image: Tensor, flow: Tensor, mode: Interpolation = "bilinear") -> Tensor:
    """(C, h, w): `image` sampled at the place that the flow leads each pixel to, in the layout of the image.

    image: (C, H, W) float32 or bfloat16, H and W at least 1; flow: (2, h, w) float32, pixels; mode: of interpolation.
    Beyond the frame its border counts; where the flow is unknown (NaN) a pixel stays where it is. As
    `geometry.backward_warp`, without gradients, and three times as fast on a CPU, or more; faster still where the
    channels of a pixel lie together (channels_last). Raises ValueError if the shapes do not fit.
    """
    if image.dim() != 3 or flow.dim() != 3 or flow.shape[0] != 2 or not image.shape[1:].numel():
        raise ValueError(f"image {tuple(image.shape)} and flow {tuple(flow.shape)} do not fit")
    warped: Tensor = torch.ops.flowcli.warp(image, flow, mode == "bicubic")
    return warped


def _warp_torch(image: Tensor, flow: Tensor, bicubic: bool = False) -> Tensor:
    moved = torch.where(flow.isnan(), 0.0, flow)
    warped, _ = backward_warp(image[None], moved[None], mode="bicubic" if bicubic else "bilinear")
    return _laid_out(warped[0].to(image.dtype), image)


def _warp_fake(image: Tensor, flow: Tensor, bicubic: bool = False) -> Tensor:
    return _laid_out(image.new_empty(image.shape[0], *flow.shape[1:]), image)


def _laid_out(warped: Tensor, like: Tensor) -> Tensor:
    """The same, with the channels of each pixel together if those of `like` are."""
    if like.is_contiguous() or not like.permute(1, 2, 0).is_contiguous():
        return warped.contiguous()
    return warped.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def _trials() -> list[tuple[Any, ...]]:
    image = torch.arange(3.0 * 7 * 11).sin().view(3, 7, 11)
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(37.0), indexing="ij")
    flow = torch.stack((0.7 * y - 1.31 * x, 2.3 - 0.6 * y))
    together = torch.arange(7.0 * 11 * 16).sin().view(7, 11, 16).permute(2, 0, 1)
    images = (image, together, together.bfloat16())
    return [(each, flow, bicubic) for each in images for bicubic in (False, True)]


define("warp(Tensor image, Tensor flow, bool bicubic=False) -> Tensor", _warp_torch, _warp_fake, trials=_trials)
