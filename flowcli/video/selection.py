"""The choice of frames from a source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

_EARLY = Fraction(1, 4)
"""How far ahead of its instant a frame may come, in periods of the rate: times in files are rounded."""


@dataclass(frozen=True)
class Selection:
    """Every nth frame from `start` up to `stop`, exclusive: frame numbers if int, seconds if Fraction.

    rate: instead of every nth, at the instants 0, 1/rate, 2/rate and so on the first frame that is not a quarter of
    1/rate too early. No frame is taken twice, so that there are no more of them than the source has.
    Raises ValueError if a bound is negative, `every` is below 1, the rate is not above 0, or both are given.
    """

    start: int | Fraction | None = None
    stop: int | Fraction | None = None
    every: int = 1
    rate: Fraction | None = None

    def __post_init__(self) -> None:
        if self.every < 1 or min(self.start or 0, self.stop or 0) < 0:
            raise ValueError(f"start and stop must be 0 or more and every 1 or more: {self}")
        if self.rate is not None and (self.rate <= 0 or self.every > 1):
            raise ValueError(f"the rate must be above 0, and every be 1 beside it: {self}")

    def indices(self, total: int, rate: Fraction) -> Sequence[int]:
        """The numbers of the selected frames, of `total` frames at a constant `rate`."""
        frames, instants = self._bounds(total, rate), self._instants(total, rate)
        if instants is None or self.rate is None:
            return frames
        return [max(frames.start, math.ceil((instant - _EARLY) * rate / self.rate)) for instant in instants]

    def count(self, total: int, rate: Fraction) -> int:
        """How many these are."""
        instants = self._instants(total, rate)
        return len(self._bounds(total, rate) if instants is None else instants)

    def over(self, index: int, time: Fraction) -> bool:
        """Whether this frame, and so every later one, is at `stop` or past it."""
        return self.stop is not None and (index if isinstance(self.stop, int) else time) >= self.stop

    def expression(self) -> str:
        """The selection for ffmpeg's select filter. Frames past `stop` pass as well: they tell the reader to end."""
        wanted = _reached(self.start or 0)
        if self.every > 1:
            wanted += f"*(isnan(prev_selected_n)+gte(n-prev_selected_n,{self.every}))"
        if self.rate is not None:
            # Times that jump back are another instant, too.
            wanted += f"*not(eq({_instant('t', self.rate)},{_instant('prev_selected_t', self.rate)}))"
        return wanted if self.stop is None else f"{wanted}+{_reached(self.stop)}"

    def _bounds(self, total: int, rate: Fraction) -> range:
        stop = total if self.stop is None else min(total, _number(self.stop, rate))
        return range(_number(self.start or 0, rate), stop, self.every)

    def _instants(self, total: int, rate: Fraction) -> range | None:
        """The numbers of the instants for which there is a frame; None if every frame has one of its own."""
        frames = self._bounds(total, rate)
        if self.rate is None or self.rate >= rate or not frames:
            return None
        first, last = (math.floor(index / rate * self.rate + _EARLY) for index in (frames[0], frames[-1]))
        return range(first, last + 1)


_BIT = 1e-9
"""Seconds. ffmpeg computes times in double precision: this is far above its rounding, and far below the duration of any
frame."""


def _number(bound: int | Fraction, rate: Fraction) -> int:
    return bound if isinstance(bound, int) else math.ceil(bound * rate)


def _reached(bound: int | Fraction) -> str:
    return f"gte(n,{bound})" if isinstance(bound, int) else f"gte(t,{float(bound) - _BIT:.10f})"


def _instant(time: str, rate: Fraction) -> str:
    """The number of the instant to which the frame at this time belongs."""
    return f"floor(({time}+{_BIT:.10f})*{rate.numerator}/{rate.denominator}+{float(_EARLY)})"
