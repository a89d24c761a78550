"""Flow as colour: direction is hue, length is saturation."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from flowcli.geometry import grid

_RAMPS = ((15, 0, 1), (6, 1, 0), (4, 1, 2), (11, 2, 1), (13, 2, 0), (6, 0, 2))
"""Red to yellow to green to cyan to blue to magenta to red: steps, the channel that is full, the one that changes."""

BAND = 64
"""Rows that are coloured at a time."""


def wheel() -> Tensor:
    """(55, 3) uint8 RGB: the Middlebury colours, from red (to the right) over yellow (down) round to magenta.

    Source: Baker et al. 2011, "A Database and Evaluation Methodology for Optical Flow", and its colorcode.cpp.
    """
    colours = torch.zeros(sum(steps for steps, _, _ in _RAMPS), 3, dtype=torch.uint8)
    start = 0
    for number, (steps, full, changing) in enumerate(_RAMPS):
        ramp = torch.arange(steps) * 255 // steps
        colours[start : start + steps, full] = 255
        colours[start : start + steps, changing] = (255 - ramp if number % 2 else ramp).to(torch.uint8)
        start += steps
    return colours


def flow_to_rgb(uv: Tensor, scale: float, valid: Tensor | None = None, *, darken: bool = True) -> Tensor:
    """(H, W, 3) uint8 RGB on the device of `uv`: white at rest, full colour at `scale` pixels, darker above.

    uv: (2, H, W) float32 pixels; scale above 0; valid: (H, W) bool. Unknown pixels (not valid, NaN or infinite) are
    black. darken: False keeps the full colour above the scale. Source: as `wheel`.
    """
    height, width = uv.shape[1:]
    rgb = torch.empty((height, width, 3), dtype=torch.uint8, device=uv.device)
    # In bands on a CPU, whose cache then holds what one step hands to the next: at 3840x2160 in 0.6 times the time.
    rows = BAND if uv.device.type == "cpu" else height
    for top in range(0, height, rows):
        band = slice(top, top + rows)
        _paint(uv[:, band], scale, None if valid is None else valid[band], darken, rgb[band])
    return rgb


def _paint(uv: Tensor, scale: float, valid: Tensor | None, darken: bool, rgb: Tensor) -> None:
    u, v = uv[0], uv[1]
    radius, known = relative_speed(uv, scale, valid)
    if not darken:
        radius.clamp_(max=1)
    # A colour of the wheel, c, becomes peak - depth * (255 - c): 255 - r (255 - c) up to radius 1, 0.75 c beyond.
    peak = torch.where(radius <= 1, 255.0, 0.75 * 255).where(known, 0.0)
    depth = torch.where(radius <= 1, radius, 0.75).where(known, 0.0)

    colours = 255 - wheel().to(uv.device, torch.float32)
    steps = colours.roll(-1, 0) - colours
    last = len(colours) - 1
    position = torch.atan2(-v, -u).add_(math.pi).mul_(last / (2 * math.pi)).clamp_(0, last).nan_to_num_().flatten()
    index = position.int()
    position -= index
    # One channel at a time: three times as fast as rows of three (28 against 90 ms at 1920x1080 on one CPU core).
    for channel in range(3):
        start, step = (table[:, channel].contiguous().index_select(0, index) for table in (colours, steps))
        rgb[..., channel] = torch.addcmul(peak, depth, torch.addcmul(start, step, position).view_as(depth), value=-1)


def flow_to_hsv(uv: Tensor, scale: float, valid: Tensor | None = None) -> Tensor:
    """(H, W, 3) uint8 RGB: hue is the direction, from red (to the right) over green round to magenta, value the speed.

    Black at rest, full colour at `scale` pixels and above; otherwise as `flow_to_rgb`. Source: OpenCV's tutorial on
    optical flow, whose scale is the frame's own.
    """
    radius, known = relative_speed(uv, scale, valid)
    value = radius.clamp_(max=1).where(known, 0.0).mul_(255)
    # The hue goes from 0 to 6, a side of the colours' hexagon each; red, green and blue are full around 0, 2 and 4.
    hue = (torch.atan2(uv[1], uv[0]) * (3 / math.pi)).nan_to_num_()
    apart = (((hue - full + 3) % 6 - 3).abs() for full in (0, 2, 4))
    return torch.stack([value * (2 - each).clamp_(0, 1) for each in apart], dim=-1).round_().to(torch.uint8)


def relative_speed(uv: Tensor, scale: float, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The length of (2, H, W) flow as a part of `scale`, (H, W), and where it is known, (H, W) bool."""
    speed = torch.hypot(uv[0], uv[1]).div_(scale)
    return speed, speed.isfinite() if valid is None else speed.isfinite() & valid


def legend(size: int, paint: Callable[[Tensor, float], Tensor] = flow_to_rgb) -> Tensor:
    """(size, size, 4) uint8 RGBA: the colours of all flows up to the scale, as a disc, transparent outside.

    The colour at a point of the disc is that of the motion from its centre to the point; the rim is the scale itself.
    paint: gives them, of flow and a scale.
    """
    arrows = (grid(size, size) - (size - 1) / 2) / (size / 2)
    inside = torch.hypot(arrows[0], arrows[1]) <= 1
    return torch.cat((paint(arrows, 1.0), inside[..., None].to(torch.uint8) * 255), dim=-1)


class RunningScale:
    """The length in pixels that gets full colour, for each frame in turn: it follows the video without flicker.

    Each frame's measure is a high percentile of its lengths, `percentile` of 100; the aim is the median of the last few
    measures, so that a single odd frame (a cut, a flash) counts for nothing; the scale goes there by a few percent a
    frame, up faster than down, and never below `least`, so that the noise of a still scene stays pale.
    """

    least = 1.0
    memory = 5
    attack = 1.04
    release = 0.99
    samples = 20_000

    def __init__(self, percentile: float = 99.0) -> None:
        self._percentile = percentile
        self._measures: deque[float] = deque(maxlen=self.memory)
        self._scale: float | None = None
        self._range: tuple[float, float] | None = None

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and highest scale so far. Raises ValueError before the first frame."""
        if self._range is None:
            raise ValueError("no frame has been measured")
        return self._range

    def update(self, uv: Tensor, valid: Tensor | None = None) -> float:
        """The scale for this frame, the next one of the video. uv: (2, H, W) pixels; valid: (H, W) bool.

        A frame without known flow leaves the scale as it is.
        """
        # A constant step over the flattened frame, odd so that it does not run along columns of even widths.
        step = uv[0].numel() // self.samples | 1
        length = torch.hypot(uv[0].flatten()[::step], uv[1].flatten()[::step])
        known = length.isfinite() if valid is None else length.isfinite() & valid.flatten()[::step]
        length = length[known]
        if len(length):
            self._measures.append(float(torch.quantile(length, self._percentile / 100)))
        # The lower median, so that of two measures the odd high one does not count either.
        aim = max(self.least, statistics.median_low(self._measures)) if self._measures else self.least
        if self._scale is not None:
            aim = min(max(aim, self._scale * self.release), self._scale * self.attack)
        self._scale = aim
        low, high = self._range or (aim, aim)
        self._range = min(low, aim), max(high, aim)
        return aim
