"""Cost volumes for optical flow; `correlation.cpp` and `correlation.cu` have faster kernels for the same operators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from flowcli.ops.library import accumulator, define, differentiate, impl_autocast

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def correlation(first: Tensor, second: Tensor, radius: int, dilation: int = 1) -> Tensor:
    """Local cost volume: mean product of each feature with its (2r+1)^2 neighbours in `second`.

    first, second: (N, C, H, W), same shape, dtype, device; half types accumulate in float32.
    Returns (N, (2r+1)^2, H, W) in the dtype and memory format of `first`; channel k is the displacement
    (dy, dx) = dilation * (k // (2r+1) - r, k % (2r+1) - r). Cells outside `second` count as zero.
    Raises ValueError if shapes, dtypes or devices differ, radius < 0 or dilation < 1.
    Source: cost volume of PWC-Net, Sun et al. 2018, arXiv:1709.02371, section 3.
    """
    _check_features(first, second, radius)
    if dilation < 1:
        raise ValueError(f"dilation is {dilation}, must be at least 1")
    volume: Tensor = torch.ops.flowcli.correlation(first, second, radius, dilation)
    return volume


def lookup_correlation(first: Tensor, second: Tensor, flow: Tensor, radius: int) -> Tensor:
    """Local cost volume around x + flow(x): mean product of each feature with bilinear samples of `second`.

    first, second: (N, C, H, W), same shape, dtype, device; half types accumulate in float32.
    flow: (N, 2, H, W) in pixels, u (right) then v (down), float32, or float64 for float64 features.
    Returns (N, (2r+1)^2, H, W) in the dtype and memory format of `first`; channel k samples `second` at
    (x + u + k % (2r+1) - r, y + v + k // (2r+1) - r), pixel centres at integers, zero outside. A flow that is not
    finite points outside. Raises ValueError if shapes, dtypes or devices do not fit, or radius < 0.
    Source: the lookup of RAFT, Teed and Deng 2020, arXiv:2003.12039, section 3.2, at a single level.
    """
    _check_features(first, second, radius)
    count, _, height, width = first.shape
    if flow.shape != (count, 2, height, width):
        raise ValueError(f"flow has the shape {tuple(flow.shape)}, must have {(count, 2, height, width)}")
    if flow.device != first.device:
        raise ValueError(f"flow is on {flow.device}, the features are on {first.device}")
    allowed = {torch.float32, first.dtype} - {torch.bfloat16, torch.float16}
    if flow.dtype not in allowed and not torch.is_autocast_enabled(first.device.type):
        raise ValueError(f"flow is {flow.dtype}, must be float32 (or float64 for float64 features)")
    volume: Tensor = torch.ops.flowcli.lookup_correlation(first, second, flow, radius)
    return volume


def _check_features(first: Tensor, second: Tensor, radius: int) -> None:
    if first.dim() != 4 or first.shape != second.shape or first.shape[1] == 0:
        raise ValueError(
            f"features have the shapes {tuple(first.shape)} and {tuple(second.shape)}, must have the same (N, C, H, W)"
        )
    if first.device != second.device:
        raise ValueError(f"features are on {first.device} and {second.device}, must be on the same device")
    if first.dtype not in DTYPES or second.dtype not in DTYPES:
        raise ValueError(f"features are {first.dtype} and {second.dtype}, must be floating point")
    if first.dtype != second.dtype and not torch.is_autocast_enabled(first.device.type):
        raise ValueError(f"features are {first.dtype} and {second.dtype}, must be the same")
    if radius < 0:
        raise ValueError(f"radius is {radius}, must not be negative")


# Plain torch kernels. They visit one displacement at a time: all shifted copies at once would fill the memory.


def _format(tensor: Tensor) -> torch.memory_format:
    last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _empty(like: Tensor, channels: int) -> Tensor:
    count, _, height, width = like.shape
    shape = (count, channels, height, width)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=_format(like))


def _shifts(second: Tensor, radius: int, dilation: int) -> Iterator[tuple[int, Tensor]]:
    """Each channel of the cost volume with the view of the padded `second` that belongs to it."""
    side = 2 * radius + 1
    height, width = second.shape[2] - 2 * radius * dilation, second.shape[3] - 2 * radius * dilation
    for channel in range(side * side):
        top, left = dilation * (channel // side), dilation * (channel % side)
        yield channel, second[:, :, top : top + height, left : left + width]


def _correlation_torch(first: Tensor, second: Tensor, radius: int, dilation: int) -> Tensor:
    volume = _empty(first, (2 * radius + 1) ** 2)
    one = first.to(accumulator(first.dtype))
    two = functional.pad(second.to(one.dtype), [radius * dilation] * 4)
    for channel, shifted in _shifts(two, radius, dilation):
        volume[:, channel] = (one * shifted).mean(1)
    return volume


def _correlation_backward_torch(
    grad: Tensor, first: Tensor, second: Tensor, radius: int, dilation: int
) -> tuple[Tensor, Tensor]:
    edge = radius * dilation
    one = first.to(accumulator(first.dtype))
    two = functional.pad(second.to(one.dtype), [edge] * 4)
    scaled = grad.to(one.dtype) / first.shape[1]
    grad_one, grad_two = torch.zeros_like(one), torch.zeros_like(two)
    places = zip(_shifts(two, radius, dilation), _shifts(grad_two, radius, dilation), strict=True)
    for (channel, shifted), (_, target) in places:
        weight = scaled[:, channel, None]
        grad_one.addcmul_(weight, shifted)
        target.addcmul_(weight, one)
    height, width = first.shape[2:]
    grad_first, grad_second = _empty(first, first.shape[1]), _empty(second, second.shape[1])
    return grad_first.copy_(grad_one), grad_second.copy_(grad_two[:, :, edge : edge + height, edge : edge + width])


def _rows(features: Tensor, dtype: torch.dtype) -> Tensor:
    """(N * H * W, C): one row for each pixel."""
    return features.to(dtype).permute(0, 2, 3, 1).flatten(0, 2)


def _unrow(rows: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_rows`, in the dtype and memory format of `like`."""
    count, _, height, width = like.shape
    return _empty(like, rows.shape[1]).copy_(rows.unflatten(0, (count, height, width)).permute(0, 3, 1, 2))


class _Window:
    """The (2r+2)^2 integer positions between which the samples of one pixel lie.

    All samples of a pixel have the same fractional offset, so one dot product per position and one bilinear blend give
    all of them.
    """

    def __init__(self, flow: Tensor, radius: int, dtype: torch.dtype) -> None:
        count, _, self.height, self.width = flow.shape
        self.side = 2 * radius + 1
        # Beyond the limit every place is outside; a clamped flow converts to integers safely.
        limits = [float(self.width + radius + 2), float(self.height + radius + 2)]
        u, v = (
            component.to(dtype).nan_to_num(nan=limit).clamp(-limit, limit).flatten()
            for component, limit in zip(flow.unbind(1), limits, strict=True)
        )
        image, y, x = torch.meshgrid(
            *(torch.arange(size, device=flow.device) for size in (count, self.height, self.width)), indexing="ij"
        )
        self.image = image.flatten()
        self.left = x.flatten() + u.floor().long() - radius
        self.top = y.flatten() + v.floor().long() - radius
        self.right_part, self.low_part = (u - u.floor())[:, None, None], (v - v.floor())[:, None, None]
        self.outside = count * self.height * self.width

    def places(self) -> Iterator[tuple[int, int, Tensor]]:
        """(j, i, index) for each position of the window: the row of `_rows(second)` there, or `outside`."""
        for j in range(self.side + 1):
            y = self.top + j
            for i in range(self.side + 1):
                x = self.left + i
                inside = (y >= 0) & (y < self.height) & (x >= 0) & (x < self.width)
                index = (self.image * self.height + y) * self.width + x
                yield j, i, torch.where(inside, index, self.outside)

    def blend(self, dots: Tensor) -> Tensor:
        """(P, side, side) samples from the (P, side + 1, side + 1) dot products."""
        rows = torch.lerp(dots[:, :, :-1], dots[:, :, 1:], self.right_part)
        return torch.lerp(rows[:, :-1], rows[:, 1:], self.low_part)

    def spread(self, grad: Tensor) -> Tensor:
        """The transpose of `blend`."""
        low = grad * self.low_part
        rows = functional.pad(grad - low, [0, 0, 0, 1]) + functional.pad(low, [0, 0, 1, 0])
        right = rows * self.right_part
        return functional.pad(rows - right, [0, 1]) + functional.pad(right, [1, 0])

    def slope(self, grad: Tensor, dots: Tensor) -> Tensor:
        """(P, 2) gradient of u and v."""
        across, down = dots.diff(dim=2), dots.diff(dim=1)
        by_u = torch.lerp(across[:, :-1], across[:, 1:], self.low_part)
        by_v = torch.lerp(down[:, :, :-1], down[:, :, 1:], self.right_part)
        return torch.stack([(grad * by_u).sum((1, 2)), (grad * by_v).sum((1, 2))], dim=1)


def _lookup_torch(first: Tensor, second: Tensor, flow: Tensor, radius: int) -> Tensor:
    window = _Window(flow, radius, accumulator(first.dtype))
    one = _rows(first, accumulator(first.dtype))
    two = functional.pad(_rows(second, one.dtype), [0, 0, 0, 1])
    dots = one.new_empty(one.shape[0], window.side + 1, window.side + 1)
    for j, i, index in window.places():
        dots[:, j, i] = (one * two[index]).mean(1)
    return _unrow(window.blend(dots).flatten(1), first)


def _lookup_backward_torch(
    grad: Tensor, first: Tensor, second: Tensor, flow: Tensor, radius: int
) -> tuple[Tensor, Tensor, Tensor]:
    window = _Window(flow, radius, accumulator(first.dtype))
    one = _rows(first, accumulator(first.dtype))
    two = functional.pad(_rows(second, one.dtype), [0, 0, 0, 1])
    grad_one, grad_two = torch.zeros_like(one), torch.zeros_like(two)
    scaled = _rows(grad, one.dtype).unflatten(1, (window.side, window.side)) / first.shape[1]
    weights = window.spread(scaled)
    dots = torch.empty_like(weights)
    for j, i, index in window.places():
        weight, sampled = weights[:, j, i, None], two[index]
        dots[:, j, i] = (one * sampled).sum(1)
        grad_one.addcmul_(weight, sampled)
        grad_two.index_add_(0, index, weight * one)
    slope = window.slope(scaled, dots)
    return _unrow(grad_one, first), _unrow(grad_two[:-1], second), _unrow(slope, flow)


# Empty results of the right shape and dtype, for torch.compile.


def _correlation_fake(first: Tensor, second: Tensor, radius: int, dilation: int) -> Tensor:
    return _empty(first, (2 * radius + 1) ** 2)


def _correlation_backward_fake(
    grad: Tensor, first: Tensor, second: Tensor, radius: int, dilation: int
) -> tuple[Tensor, Tensor]:
    return _empty(first, first.shape[1]), _empty(second, second.shape[1])


def _lookup_fake(first: Tensor, second: Tensor, flow: Tensor, radius: int) -> Tensor:
    return _empty(first, (2 * radius + 1) ** 2)


def _lookup_backward_fake(
    grad: Tensor, first: Tensor, second: Tensor, flow: Tensor, radius: int
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty(first, first.shape[1]), _empty(second, second.shape[1]), _empty(flow, 2)


def _correlation_grad(grad: Tensor, *arguments: Any) -> tuple[Tensor | None, ...]:
    return *torch.ops.flowcli.correlation_backward(grad, *arguments), None, None


def _lookup_grad(grad: Tensor, *arguments: Any) -> tuple[Tensor | None, ...]:
    return *torch.ops.flowcli.lookup_correlation_backward(grad, *arguments), None


def _correlation_trials() -> list[tuple[Any, ...]]:
    grids = {torch.float32: (4, 1), torch.bfloat16: (3, 2), torch.float16: (3, 1)}
    return [(*(each.to(dtype) for each in _trial_features()), *grid) for dtype, grid in grids.items()]


def _lookup_trials() -> list[tuple[Any, ...]]:
    first, second = _trial_features()
    # Smooth in most places, as the flow of a video is, with some discontinuities.
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(21.0), indexing="ij")
    flow = torch.stack([0.3 * x - y, 0.7 * y + 20.0 * (x > 15)])[None]
    radii = {torch.float32: 4, torch.bfloat16: 3, torch.float16: 3}
    return [(first.to(dtype), second.to(dtype), flow, radius) for dtype, radius in radii.items()]


def _trial_features() -> tuple[Tensor, Tensor]:
    """Two tensors (1, 40, 9, 21), channels_last; the sides are no multiples of the kernels' tiles."""
    features = torch.randn(2, 40, 9, 21, generator=torch.Generator().manual_seed(0))
    first, second = features.contiguous(memory_format=torch.channels_last).split(1)
    return first, second


define(
    "correlation(Tensor first, Tensor second, int radius, int dilation) -> Tensor",
    _correlation_torch,
    _correlation_fake,
    trials=_correlation_trials,
)
define(
    "correlation_backward(Tensor grad, Tensor first, Tensor second, int radius, int dilation) -> (Tensor, Tensor)",
    _correlation_backward_torch,
    _correlation_backward_fake,
)
define(
    "lookup_correlation(Tensor first, Tensor second, Tensor flow, int radius) -> Tensor",
    _lookup_torch,
    _lookup_fake,
    trials=_lookup_trials,
)
define(
    "lookup_correlation_backward(Tensor grad, Tensor first, Tensor second, Tensor flow, int radius)"
    " -> (Tensor, Tensor, Tensor)",
    _lookup_backward_torch,
    _lookup_backward_fake,
)
differentiate("correlation", _correlation_grad)
differentiate("lookup_correlation", _lookup_grad)


# Under autocast the features are promoted to the wider of their two dtypes, and the flow stays float32: in half
# precision it would be wrong by whole pixels.


def _correlation_autocast(first: Tensor, second: Tensor, radius: int, dilation: int) -> Tensor:
    dtype = torch.promote_types(first.dtype, second.dtype)
    with torch.autocast(first.device.type, enabled=False):
        return correlation(first.to(dtype), second.to(dtype), radius, dilation)


def _lookup_autocast(first: Tensor, second: Tensor, flow: Tensor, radius: int) -> Tensor:
    dtype = torch.promote_types(first.dtype, second.dtype)
    with torch.autocast(first.device.type, enabled=False):
        return lookup_correlation(first.to(dtype), second.to(dtype), flow.to(accumulator(flow.dtype)), radius)


impl_autocast("correlation", _correlation_autocast)
impl_autocast("lookup_correlation", _lookup_autocast)
