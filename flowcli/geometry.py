"""Geometry of pictures and flows: warping, splatting, resizing, padding, and forward-backward consistency.

Positions are in pixels with centres at integers, x to the right and y down; a flow adds to them. Resizing treats a
picture as an area, so that the corners of the areas coincide: the centre x lands on (x + 0.5) * W' / W - 0.5, and
every displacement is scaled by exactly W' / W, without an offset.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal["bilinear", "bicubic"]
"""How a picture is sampled between its pixels."""


@dataclass(frozen=True)
class Crop:
    """The part of a padded tensor that is the original: its first row and column, and its size."""

    top: int
    left: int
    height: int
    width: int


def grid(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """(2, H, W) float32: x, then y, of every pixel."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack((x, y))


def constants(numbers: Sequence[float], like: Tensor) -> Tensor:
    """(N, 1, 1): a number for each channel, of the dtype of `like` and on its device.

    Filled in there: a copy from the CPU would wait for the GPU, and could not be part of a CUDA graph.
    """
    return torch.cat([like.new_full((1, 1, 1), number) for number in numbers])


def backward_warp(
    image: Tensor, flow: Tensor, margin: float = 0.0, mode: Interpolation = "bilinear"
) -> tuple[Tensor, Tensor]:
    """`image` sampled at x + flow(x), (N, C, h, w) float32, and where that lies inside, (N, 1, h, w) bool.

    image: (N, C, H, W) floating; flow: (N, 2, h, w) float32, any value. Otherwise as `sample`.
    """
    return sample(image, grid(flow.shape[-2], flow.shape[-1], flow.device) + flow.float(), margin, mode)


def sample(
    image: Tensor, position: Tensor, margin: float = 0.0, mode: Interpolation = "bilinear"
) -> tuple[Tensor, Tensor]:
    """`image` sampled at `position`, (N, C, h, w) float32, and whether that lies inside, (N, 1, h, w) bool.

    image: (N, C, H, W) floating; position: (N, 2, h, w) float32 of x, y, any value. mode: of interpolation; bicubic is
    sharper, and may go beyond the values of the image. Outside the frame the border is repeated; an unknown position
    (NaN) samples something finite and is not inside. A sample is inside if it is at most `margin` pixels beyond the
    outermost pixel centres: 0 means that no repeated border enters, 0.5 is the area of the pixels.
    """
    height, width = image.shape[-2:]
    last = constants((width - 1, height - 1), position)
    inside = lies_inside(position, height, width, margin)
    # Far positions are cut here: grid_sample converts them to integers, which is undefined for huge values and NaN.
    position = torch.minimum(torch.nan_to_num(position).clamp(min=0), last)
    if mode == "bicubic":
        position = _linear(position)
    normal = position * (2 / last.clamp(min=1)) - 1
    sampled = F.grid_sample(
        image.float(), normal.permute(0, 2, 3, 1), mode=mode, padding_mode="border", align_corners=True
    )
    return sampled, inside


def lies_inside(position: Tensor, height: int, width: int, margin: float = 0.0) -> Tensor:
    """(N, 1, h, w) bool: whether `position` (N, 2, h, w), of x, y, is in a frame; margin: as for `sample`."""
    x, y = position[:, :1], position[:, 1:]
    least, right, bottom = -margin, width - 1 + margin, height - 1 + margin
    return (x >= least) & (x <= right) & (y >= least) & (y <= bottom)


def _linear(position: Tensor) -> Tensor:
    """Positions at which torch's bicubic interpolation finds in a ramp what is at `position`.

    Its kernel, of parameter -3/4 (Keys 1981), finds u^3 + 3/4 u instead of u from half way between two pixels: it is up
    to 0.05 pixels off. This is the inverse to 4e-4 pixels, exact at pixels; by the formula for cubic equations it would
    take as long as the interpolation itself.
    """
    half = position.floor() + 0.5
    u = position - half
    rest = 0.25 - u * u
    return half + u * (1 + rest * (0.733 + rest * (10.732 * rest - 0.417)))


def sample_isolated(image: Tensor, position: Tensor) -> Tensor:
    """`image` sampled bilinearly at `position`, (N, C, h, w), with zeros around it: samples fade within a pixel.

    image: (N, C, H, W) float32 or float64; position: (N, 2, h, w) of x, y, same dtype, any value; one that is not
    finite samples zero.
    """
    size = constants((image.shape[-1], image.shape[-2]), position)
    # Far positions are cut here, as in `sample`: beyond -1 and the size there are only zeros.
    position = torch.minimum(torch.nan_to_num(position, nan=-2.0).clamp(min=-2.0), size + 1)
    normal = (2 * position + 1) / size - 1
    return F.grid_sample(image, normal.permute(0, 2, 3, 1), mode="bilinear", padding_mode="zeros", align_corners=False)


def resize_image(image: Tensor, height: int, width: int, *, smooth: bool = True) -> Tensor:
    """`image` (N, C, H, W) floating in another size, bilinear; `smooth`: without aliasing where it shrinks."""
    if image.shape[-2:] == (height, width):
        return image
    shrinks = height < image.shape[-2] or width < image.shape[-1]
    # Where nothing shrinks both ways are the same; on a CPU only this one does not round by the share of each thread.
    steady = not shrinks and image.device.type == "cpu" and image.dtype in (torch.float32, torch.float64)
    antialias = steady or (smooth and shrinks)
    return F.interpolate(image, (height, width), mode="bilinear", align_corners=False, antialias=antialias)


def resize_flow(flow: Tensor, height: int, width: int, *, smooth: bool = True) -> Tensor:
    """The flow (N, 2, H, W) or (2, H, W) of the same scene in another size: resized, and its vectors scaled with it."""
    if flow.shape[-2:] == (height, width):
        return flow
    batch = flow if flow.dim() == 4 else flow[None]
    scale = constants((width / flow.shape[-1], height / flow.shape[-2]), flow)
    resized = resize_image(batch, height, width, smooth=smooth) * scale
    return resized if flow.dim() == 4 else resized[0]


def blurred(values: Tensor, side: int) -> Tensor:
    """(N, C, H, W): the means over squares of `side` pixels, an odd number; the border is repeated."""
    # Sums of slices take a quarter of the time of torch's pooling.
    wide = F.pad(values, (side // 2,) * 4, mode="replicate")
    for dimension in (2, 3):
        count = wide.shape[dimension] - side + 1
        total = wide.narrow(dimension, 0, count).clone()
        for start in range(1, side):
            total += wide.narrow(dimension, start, count)
        wide = total
    return wide / side**2


def padded_size(height: int, width: int, stride: int, least: int = 1) -> tuple[int, int, Crop]:
    """Height and width of a picture that `pad_to` has padded, and where the original lies in it."""
    tall, wide = (-(-max(size, least) // stride) * stride for size in (height, width))
    return tall, wide, Crop((tall - height) // 2, (wide - width) // 2, height, width)


def pad_to(image: Tensor, stride: int, least: int = 1) -> tuple[Tensor, Crop]:
    """`image` with its border repeated, and where the original lies in it: `crop` undoes the padding.

    image: (N, C, H, W) floating. Height and width become the smallest multiples of `stride` that are at least `least`
    and hold the image; the padding is split evenly, an odd row or column goes below or to the right.
    """
    tall, wide, part = padded_size(image.shape[-2], image.shape[-1], stride, least)
    more_y, more_x = tall - part.height, wide - part.width
    if more_y or more_x:
        image = F.pad(image, (part.left, more_x - part.left, part.top, more_y - part.top), mode="replicate")
    return image, part


def crop(image: Tensor, part: Crop) -> Tensor:
    """A view of `part` of the image or flow (..., H, W)."""
    return image[..., part.top : part.top + part.height, part.left : part.left + part.width]


def in_tiles(
    work: Callable[..., tuple[Tensor, ...]], images: tuple[Tensor, ...], side: int, margin: int
) -> tuple[Tensor, ...]:
    """The result of `work(*images)`, computed in tiles if the images are larger than one, which takes less memory.

    images: (N, C, h, w) each. work: maps images of any size to (N, C', k h, k w) each, with a whole number k >= 1.
    side: largest side of a tile without its margin; 0 for no tiles. margin: how far from a pixel the input lies that
    its result depends on; tiles overlap by that much, so that nothing changes where they meet.
    """
    height, width = images[0].shape[-2:]
    if not side or max(height, width) <= side:
        return work(*images)
    wholes: list[Tensor] = []
    for top, bottom in _spans(height, side):
        for left, right in _spans(width, side):
            y, x = max(top - margin, 0), max(left - margin, 0)
            taken = [image[..., y : bottom + margin, x : right + margin] for image in images]
            for number, part in enumerate(work(*taken)):
                k = part.shape[-1] // taken[0].shape[-1]
                if number == len(wholes):
                    size = (*part.shape[:2], k * height, k * width)
                    wholes.append(
                        torch.empty(size, dtype=part.dtype, device=part.device, memory_format=torch.channels_last)
                    )
                inner = part[..., k * (top - y) : k * (bottom - y), k * (left - x) : k * (right - x)]
                wholes[number][..., k * top : k * bottom, k * left : k * right] = inner
    return tuple(wholes)


def _spans(length: int, most: int) -> list[tuple[int, int]]:
    """Starts and ends of parts of about equal length, none longer than `most`."""
    count = -(-length // most)
    edges = [length * number // count for number in range(count + 1)]
    return list(itertools.pairwise(edges))


def consistency(forward: Tensor, backward: Tensor, alpha: float = 0.01, beta: float = 0.5) -> Tensor:
    """(N, 1, H, W) bool on the frame of `forward`: True where a pixel is occluded in the other frame, or leaves it.

    forward, backward: (N, 2, H, W) float32. Occluded means |f + b|^2 > alpha (|f|^2 + |b|^2) + beta with
    b = backward(x + f), alpha without unit, beta in px^2; unknown flow (NaN) counts as occluded. Half a pixel beyond
    the outermost centres is still in the frame. Source: Sundaram, Brox, Keutzer 2010, section 3, equation 5.
    """
    error, limit, inside = _round_trip(forward, backward, alpha, beta)
    return ~((error <= limit) & inside)


def confidence(forward: Tensor, backward: Tensor, alpha: float = 0.01, beta: float = 0.5) -> Tensor:
    """(N, 1, H, W) float32, 0 to 1: how well each pixel of `forward` comes back to where it was.

    2 ** -(|f + b|^2 / (alpha (|f|^2 + |b|^2) + beta)), with the numbers of `consistency`: 1 where both flows agree, 1/2
    where `consistency` begins to call pixels occluded, 0 for those that leave the frame or are unknown.
    """
    error, limit, inside = _round_trip(forward, backward, alpha, beta)
    return torch.exp2(-error / limit).nan_to_num_(0.0) * inside


def _round_trip(forward: Tensor, backward: Tensor, alpha: float, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """|f + b|^2, its limit, and whether x + f is in the frame, (N, 1, H, W) each."""
    back, inside = backward_warp(backward, forward, margin=0.5)
    error = (forward + back).square().sum(dim=1, keepdim=True)
    motion = forward.square().sum(dim=1, keepdim=True) + back.square().sum(dim=1, keepdim=True)
    return error, alpha * motion + beta, inside
