"""The user's options for frames at other times and of other sizes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from flowcli.errors import UsageError
from flowcli.types import StreamInfo

Duplicates = Literal["keep", "skip"]
"""What becomes of frames that repeat the one before them."""
Rule = Literal["splat", "blend", "nearest"]
"""Ways to make a frame between two frames that have no weights of their own."""
ALONG_FLOW = ("synthesis",)
"""Networks that make frames along the flow between two."""
LARGEST = 16384
"""Largest height and width of frames that are made, pixels."""


@dataclass(frozen=True)
class Multiple:
    """So many times what the input has."""

    factor: Fraction


@dataclass(frozen=True)
class InterpolationOptions:
    """Which frames are made. Raises UsageError for a contradiction.

    fps: rate of the output, frames per second. slow: how many times as long it lasts. times: seconds since the first
    frame, for two pictures 0 to 1 from one to the other. size: width and height. shutter: share of the time between
    two frames for which one is exposed, 0 to 1. method: a Rule, or a network that makes frames, or a file of its
    weights.
    """

    fps: Fraction | Multiple | None = None
    slow: Fraction | None = None
    times: tuple[Fraction, ...] | None = None
    size: tuple[int, int] | Multiple | None = None
    shutter: Fraction | None = None
    duplicates: Duplicates = "keep"
    method: str = "splat"

    def __post_init__(self) -> None:
        if self.slow is not None and self.times is not None:
            raise UsageError("--slow and given times contradict each other", "leave one out")

    @property
    def nothing(self) -> bool:
        """Whether all frames would stay as they are."""
        return (self.fps, self.slow, self.times, self.size, self.shutter) == (None,) * 5

    def rate(self, info: StreamInfo) -> Fraction | None:
        """Frames per second of the output; None where frames keep their own times."""
        if self.fps is None:
            return None if self.slow is None and self.times is None else info.rate
        return info.rate * self.fps.factor if isinstance(self.fps, Multiple) else self.fps

    def step(self, info: StreamInfo) -> Fraction | None:
        """Seconds of the input from one frame of the output to the next; None where the times are not regular."""
        rate = self.rate(info)
        return None if rate is None or self.times is not None else 1 / (rate * (self.slow or 1))

    def shape(self, info: StreamInfo) -> tuple[int, int]:
        """Height and width of the output. Raises UsageError for one that is too small or too large."""
        if self.size is None:
            return info.height, info.width
        if isinstance(self.size, Multiple):
            height, width = (round(side * self.size.factor) for side in (info.height, info.width))
        else:
            width, height = self.size
        if not (1 <= height <= LARGEST and 1 <= width <= LARGEST):
            raise UsageError(f"frames of {width}x{height} cannot be made", f"sides may be 1 to {LARGEST} pixels")
        return height, width

    def count(self, info: StreamInfo) -> int | None:
        """About how many frames will be made, None where nobody knows."""
        if self.times is not None:
            return len(self.times)
        step = self.step(info)
        return info.frames if step is None or info.frames is None else round(info.frames / (info.rate * step))
