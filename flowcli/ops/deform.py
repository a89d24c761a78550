"""Modulated deformable convolution; `deform.cpp` and `deform.cu` have faster kernels for it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from flowcli.geometry import grid, sample_isolated
from flowcli.ops.library import accumulator, define, differentiate_kernel, impl_autocast

AT_ONCE = 2**16
"""Pixels that the plain torch kernel works on together."""


def deform_conv(features: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution each of whose taps looks where its own offset says, and counts as much as its mask says.

    features: (N, C, H, W); offsets: (N, 2 G k l, H, W) in pixels; mask: (N, G k l, H, W); weight: (O, C, k, l), k and
    l odd; bias: (O,). All have the same floating dtype and device; half types are computed in float32. The channels
    of `features` are in G groups, whose offsets differ: channel 2 (k l g + t) of the offsets moves tap
    t = l row + column of group g down, the next one to the right; channel k l g + t of the mask scales it. Samples are
    bilinear, zeros outside; an offset that is not finite points outside. Returns (N, O, H, W), channels_last.
    Raises ValueError if shapes, dtypes or devices do not fit.
    Source: Deformable ConvNets v2, Zhu et al. 2019, arXiv:1811.11168, section 3.2; the layout of
    torchvision.ops.deform_conv2d.
    """
    given = {"features": features, "offsets": offsets, "mask": mask, "weight": weight, "bias": bias}
    if len({(each.dtype, each.device) for each in given.values()}) > 1 and not torch.is_autocast_enabled(
        features.device.type
    ):
        kinds = ", ".join(f"{name} {each.dtype} on {each.device}" for name, each in given.items())
        raise ValueError(f"must have the same dtype and device: {kinds}")
    count, channels, height, width = features.shape
    outputs, _, rows, columns = weight.shape
    taps = rows * columns
    groups = mask.shape[1] // taps if taps else 0
    if weight.shape[1] != channels or not rows % 2 or not columns % 2 or bias.shape != (outputs,):
        raise ValueError(
            f"weight has the shape {tuple(weight.shape)} and bias {tuple(bias.shape)}, "
            f"must have (O, {channels}, k, l), k and l odd, and (O,)"
        )
    if not groups or channels % groups or mask.shape != (count, groups * taps, height, width):
        raise ValueError(
            f"mask has the shape {tuple(mask.shape)}, must have ({count}, {taps} G, {height}, {width}), "
            f"where G divides {channels}"
        )
    if offsets.shape != (count, 2 * groups * taps, height, width):
        raise ValueError(
            f"offsets have the shape {tuple(offsets.shape)}, must have {(count, 2 * groups * taps, height, width)}"
        )
    convolved: Tensor = torch.ops.flowcli.deform_conv(features, offsets, mask, weight, bias)
    return convolved


def _deform_conv_torch(features: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    wide = accumulator(features.dtype)
    count, channels, height, width = features.shape
    rows, columns = weight.shape[2:]
    taps, device = rows * columns, features.device
    groups = mask.shape[1] // taps
    # Groups are treated as pictures of their own, and taps as rows of one picture more.
    maps = features.to(wide).reshape(count * groups, channels // groups, height, width)
    moves = offsets.to(wide).reshape(count * groups, taps, 2, height, width).flip(2).transpose(1, 2)
    scales = mask.to(wide).reshape(count * groups, 1, taps, height, width)
    window = grid(rows, columns, device).flatten(1) - grid(1, 1, device).new_tensor([[columns // 2], [rows // 2]])
    places = (window[:, :, None, None] + grid(height, width, device)[:, None]).to(wide)
    parts: list[Tensor] = []
    # All samples of a large picture at once would fill the memory.
    for band in (slice(top, top + max(1, AT_ONCE // width)) for top in range(0, height, max(1, AT_ONCE // width))):
        position = places[:, :, band] + moves[:, :, :, band]
        lines = position.shape[3]
        sampled = sample_isolated(maps, position.flatten(2, 3)).unflatten(2, (taps, lines)) * scales[:, :, :, band]
        parts.append(weight.to(wide).flatten(1) @ sampled.reshape(count, channels * taps, lines * width))
    convolved = torch.cat(parts, 2) + bias.to(wide)[:, None]
    rounded: Tensor = convolved.unflatten(2, (height, width)).to(features.dtype)
    return rounded.clone(memory_format=torch.channels_last)


def _deform_conv_fake(features: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    count, _, height, width = features.shape
    shape = (count, weight.shape[0], height, width)
    return torch.empty(shape, dtype=features.dtype, device=features.device, memory_format=torch.channels_last)


define(
    "deform_conv(Tensor features, Tensor offsets, Tensor mask, Tensor weight, Tensor bias) -> Tensor",
    _deform_conv_torch,
    _deform_conv_fake,
)
differentiate_kernel("deform_conv")


def _products(*shapes: torch.Size, out_shape: torch.Size, **_: Any) -> int:
    """Floating point operations of the convolution, as torch counts those of others, without the samples."""
    weight = shapes[3]
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


COUNTED = {torch.ops.flowcli.deform_conv: _products}
"""For torch.utils.flop_counter.FlopCounterMode, which does not know the operator."""


# Under autocast all are promoted to the widest of their dtypes.


def _deform_conv_autocast(features: Tensor, *others: Tensor) -> Tensor:
    dtype = features.dtype
    for each in others:
        dtype = torch.promote_types(dtype, each.dtype)
    with torch.autocast(features.device.type, enabled=False):
        return deform_conv(features.to(dtype), *(each.to(dtype) for each in others))


impl_autocast("deform_conv", _deform_conv_autocast)
