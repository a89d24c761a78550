"""Flow as colour: direction is hue, length is saturation."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from flowcli.geometry import grid
from flowcli.ops import paint_flow

_RAMPS = ((15, 0, 1), (6, 1, 0), (4, 1, 2), (11, 2, 1), (13, 2, 0), (6, 0, 2))
"""Red to yellow to green to cyan to blue to magenta to red: steps, the channel that is full, the one that changes."""


@cache
def wheel(device: torch.device | str = "cpu") -> Tensor:
    """(55, 3) uint8 RGB: the Middlebury colour wheel, from red (right) over yellow (down) to magenta.

    Calls for one device share a tensor, which must not be changed.
    Source: Baker et al. 2011, "A Database and Evaluation Methodology for Optical Flow", and its colorcode.cpp.
    """
    colours = torch.zeros(sum(steps for steps, _, _ in _RAMPS), 3, dtype=torch.uint8)
    start = 0
    for number, (steps, full, changing) in enumerate(_RAMPS):
        ramp = torch.arange(steps) * 255 // steps
        colours[start : start + steps, full] = 255
        colours[start : start + steps, changing] = (255 - ramp if number % 2 else ramp).to(torch.uint8)
        start += steps
    return colours.to(device)


def flow_to_rgb(uv: Tensor, scale: float, valid: Tensor | None = None, *, darken: bool = True) -> Tensor:
    """(H, W, 3) uint8 RGB on the device of `uv`: white without motion, full colour at `scale` pixels, darker above.

    uv: (2, H, W) float32 pixels; scale above 0; valid: (H, W) bool. Unknown pixels (not valid, NaN or infinite) are
    black. darken: False keeps the full colour above the scale. Source: as `wheel`.
    """
    return paint_flow(uv, valid, wheel(uv.device), scale, darken)


def flow_to_hsv(uv: Tensor, scale: float, valid: Tensor | None = None) -> Tensor:
    """(H, W, 3) uint8 RGB: the hue is the direction, from red (right) over green to magenta; the value is the speed.

    Black without motion, full colour at `scale` pixels and above. Arguments and unknown pixels as in `flow_to_rgb`.
    Source: OpenCV's tutorial on optical flow, which scales each frame by itself.
    """
    radius, known = relative_speed(uv, scale, valid)
    value = radius.clamp_(max=1).where(known, 0.0).mul_(255)
    # The hue runs from 0 to 6; red, green and blue are full around 0, 2 and 4.
    hue = (torch.atan2(uv[1], uv[0]) * (3 / math.pi)).nan_to_num_()
    apart = (((hue - full + 3) % 6 - 3).abs() for full in (0, 2, 4))
    return torch.stack([value * (2 - each).clamp_(0, 1) for each in apart], dim=-1).round_().to(torch.uint8)


def relative_speed(uv: Tensor, scale: float, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(H, W) length of the flow (2, H, W) divided by `scale`, and (H, W) bool, where the flow is known."""
    speed = torch.hypot(uv[0], uv[1]).div_(scale)
    return speed, speed.isfinite() if valid is None else speed.isfinite() & valid


def legend(size: int, paint: Callable[[Tensor, float], Tensor] = flow_to_rgb) -> Tensor:
    """(size, size, 4) uint8 RGBA: a disc with the colours of all flows up to the scale, transparent outside.

    Each point has the colour of the motion from the centre to it; the rim stands for the scale.
    paint: makes the colours of a flow at a scale.
    """
    arrows = (grid(size, size) - (size - 1) / 2) / (size / 2)
    inside = torch.hypot(arrows[0], arrows[1]) <= 1
    return torch.cat((paint(arrows, 1.0), inside[..., None].to(torch.uint8) * 255), dim=-1)
