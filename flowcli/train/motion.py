"""Where points of a layer are at any time: `position`, and its inverse, `origin`."""

from __future__ import annotations

import torch
from torch import Tensor

from flowcli.train.scenes import WAVES, Layer, Motion

Time = Tensor | float
"""One for all scenes of a batch, or (B,); 0.0 is what scenes are described at."""


def _waves(layer: Layer, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    dx, dy = torch.zeros_like(x), torch.zeros_like(y)
    for number in range(WAVES):
        mx, my, kx, ky, phase = (layer.wave[:, number, i, None, None] for i in range(5))
        swing = torch.sin(kx * x + ky * y + phase)
        dx, dy = dx + mx * swing, dy + my * swing
    return dx, dy


def _plane(motion: Motion, time: Tensor) -> Tensor:
    """Homographies (B, 3, 3): where the points of a plane are at `time` (B,)."""
    one = torch.ones_like(motion.turn)
    zero = torch.zeros_like(one)
    cos, sin = torch.cos(motion.turn * time), torch.sin(motion.turn * time)
    scale = torch.exp(motion.zoom * time)
    cx, cy = motion.center.unbind(1)
    tx, ty = (motion.shift * time[:, None] + motion.center).unbind(1)
    px, py = (motion.tilt * time[:, None]).unbind(1)
    longer, shear = (motion.stretch * time[:, None]).unbind(1)
    back = torch.stack([one, zero, -cx, zero, one, -cy, zero, zero, one], 1).view(-1, 3, 3)
    turn = torch.stack([scale * cos, -scale * sin, zero, scale * sin, scale * cos, zero, px, py, one], 1).view(-1, 3, 3)
    stretch = torch.stack([one + longer, shear, zero, shear, one - longer, zero, zero, zero, one], 1).view(-1, 3, 3)
    forth = torch.stack([one, zero, tx, zero, one, ty, zero, zero, one], 1).view(-1, 3, 3)
    return forth @ turn @ stretch @ back


def rigid(layer: Layer, time: Tensor) -> Tensor:
    """Homographies (B, 3, 3): where the layer's points are at `time` (B,), without the waves."""
    return _plane(layer.carrier, time) @ _plane(layer.motion, time)


def project(matrix: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The points (x, y), (B, H, W), where the homographies (B, 3, 3) put them."""
    (a, b, c), (d, e, f), (g, h, i) = ([matrix[:, row, col, None, None] for col in range(3)] for row in range(3))
    depth = (g * x + h * y + i).clamp_min(0.1)
    return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth


def times_of(time: Time, layer: Layer) -> Tensor:
    """(B,) of `time`."""
    return torch.as_tensor(time, dtype=torch.float32, device=layer.angle.device).expand_as(layer.angle)


def position(layer: Layer, x: Tensor, y: Tensor, time: Time) -> tuple[Tensor, Tensor]:
    """Where the layer's points (x, y) of time 0 are at `time`; all (B, H, W), pixels."""
    if isinstance(time, float) and time == 0:
        return x, y
    times = times_of(time, layer)
    dx, dy = _waves(layer, x, y)
    x, y = project(rigid(layer, times), x, y)
    return x + times[:, None, None] * dx, y + times[:, None, None] * dy


def origin(layer: Layer, x: Tensor, y: Tensor, time: Time) -> tuple[Tensor, Tensor]:
    """Inverse of `position`, by fixed-point iteration (the waves' gradient is below one)."""
    if isinstance(time, float) and time == 0:
        return x, y
    times = times_of(time, layer)
    inverse = torch.linalg.inv(rigid(layer, times))
    x0, y0 = project(inverse, x, y)
    if bool(layer.wave.any()):
        times = times[:, None, None]
        for _ in range(6):
            dx, dy = _waves(layer, x0, y0)
            x0, y0 = project(inverse, x - times * dx, y - times * dy)
    return x0, y0
