"""The speed below which drawn flow fades: what is slower may be the noise of the frames."""

from __future__ import annotations

import statistics
from collections import deque

import torch

from flowcli.geometry import sample
from flowcli.opencv import cv2
from flowcli.pictures import in_bytes
from flowcli.types import FlowField, FlowPair


class NoiseFloor:
    """The floor of a video, pair by pair, in pixels.

    A pair's measure is how far the first frame would have to move to change as much as it differs from the second along
    the flow: `factor` times the mean of |second(x + f) - first(x)| over the root of the mean of |gradient of first|^2,
    of grey levels. It is kept between a half and twice the `usual`, 0.3 pixels in frames 640 pixels wide or tall, which
    is taken until a pair has a measure: black frames have none, nor have frames that repeat the one before. The floor
    follows the median of the last `memory` measures, by at most a factor of `step` per frame, and starts anew after a
    cut.
    """

    usual = 0.3 / 640
    factor = 2.0
    memory = 5
    step = 1.04
    repeats = 0.3
    """Levels of 255: a mean difference below this one is a repeated frame."""
    samples = 20_000

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._measures: deque[float] = deque(maxlen=self.memory)
        self._floor: float | None = None

    def update(self, pair: FlowPair) -> float:
        """The floor for the next pair of the video."""
        if pair.at.cut:
            self._begin()
        usual = self.usual * max(pair.forward.uv.shape[1:])
        measure = None if pair.repeats else self._measure(pair)
        if measure is not None:
            self._measures.append(min(max(self.factor * measure, usual / 2), usual * 2))
        aim = statistics.median_low(self._measures or [usual])
        if self._floor is not None:
            aim = min(max(aim, self._floor / self.step), self._floor * self.step)
        self._floor = aim
        return aim

    def _measure(self, pair: FlowPair) -> float | None:
        """Pixels; None where the frames do not say."""
        first, second = (
            torch.from_numpy(cv2.cvtColor(in_bytes(each.image), cv2.COLOR_RGB2GRAY))
            for each in (pair.first, pair.second)
        )
        height, width = first.shape
        if height < 2 or width < 2:
            return None
        # A constant step over the flattened frame, odd so that samples do not line up in columns of even widths.
        place = torch.arange(0, height * width, height * width // self.samples | 1)
        y, x = (place // width).clamp(max=height - 2), (place % width).clamp(max=width - 2)
        here, right, below = (first[y + down, x + across].float() for down, across in ((0, 0), (0, 1), (1, 0)))
        if (second[y, x].float() - here).abs().mean() < self.repeats:
            return None
        slope = ((right - here).square() + (below - here).square()).mean().sqrt().item()
        flow = pair.forward.known[:, y.to(pair.forward.uv.device), x.to(pair.forward.uv.device)].cpu()
        target = (torch.stack((x, y)) + flow)[None, :, None]
        there, inside = sample(second[None, None].float(), target)
        difference = (there[0, 0, 0] - here).abs()[inside[0, 0, 0]]
        return difference.mean().item() / slope if slope and len(difference) else None


def faded(field: FlowField, floor: float) -> FlowField:
    """The same flow, shorter where it is slower than the floor, in pixels, 0 for the same flow.

    Zero up to half the floor, whole from the floor on, between them in proportion to the square of the speed.
    """
    if not floor:
        return field
    low = (floor / 2) ** 2
    share = field.uv.square().sum(0).sub_(low).div_(floor**2 - low).clamp_(0, 1)
    return FlowField(field.uv * share, field.valid)


def without_slow(field: FlowField, floor: float) -> FlowField:
    """The same flow, zero where it is slower than the floor, in pixels."""
    return FlowField(field.uv.where(~(field.uv.square().sum(0) < floor**2), 0.0), field.valid) if floor else field
