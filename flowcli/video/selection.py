"""The choice of frames from a source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Selection:
    """Every nth frame from `start` up to `stop`, exclusive: frame numbers if int, seconds if Fraction.

    Raises ValueError if a bound is negative or `every` is below 1.
    """

    start: int | Fraction | None = None
    stop: int | Fraction | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1 or min(self.start or 0, self.stop or 0) < 0:
            raise ValueError(f"start and stop must be 0 or more and every 1 or more: {self}")

    def indices(self, total: int, rate: Fraction) -> range:
        """The numbers of the selected frames, of `total` frames at a constant `rate`."""
        stop = total if self.stop is None else min(total, _number(self.stop, rate))
        return range(_number(self.start or 0, rate), stop, self.every)

    def over(self, index: int, time: Fraction) -> bool:
        """Whether this frame, and so every later one, is at `stop` or past it."""
        return self.stop is not None and (index if isinstance(self.stop, int) else time) >= self.stop

    def expression(self) -> str:
        """The selection for ffmpeg's select filter. Frames past `stop` pass as well: they tell the reader to end."""
        wanted = _reached(self.start or 0)
        if self.every > 1:
            wanted += f"*(isnan(prev_selected_n)+gte(n-prev_selected_n,{self.every}))"
        return wanted if self.stop is None else f"{wanted}+{_reached(self.stop)}"


def _number(bound: int | Fraction, rate: Fraction) -> int:
    return bound if isinstance(bound, int) else math.ceil(bound * rate)


def _reached(bound: int | Fraction) -> str:
    # ffmpeg computes t in double precision: a nanosecond is far above its rounding and far below any frame's duration.
    return f"gte(n,{bound})" if isinstance(bound, int) else f"gte(t,{float(bound) - 1e-9:.10f})"
