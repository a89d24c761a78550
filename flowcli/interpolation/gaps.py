"""Where in the input each wanted frame lies: between which two frames, and how far from one to the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

from flowcli.types import Frame

SNAP = Fraction(1, 2000)
"""Seconds by which a frame's time may be off: containers with a clock of 1 ms round it."""
MOST_SNAP = Fraction(1, 20)
"""The same as a share of the time between two frames, which SNAP must not exceed."""


@dataclass(frozen=True, eq=False)
class Gap:
    """A frame, the one after it (None at the end), and the wanted times from the one to the other."""

    first: Frame
    second: Frame | None
    times: tuple[Fraction, ...]

    @property
    def joined(self) -> bool:
        """Whether both frames are of one shot."""
        return self.second is not None and not self.second.cut

    @property
    def places(self) -> tuple[Fraction, ...]:
        """How far each time is from the first frame to the second, 0 to 1: across a cut 0 or 1, the nearer one."""
        return tuple(self._place(time) for time in self.times)

    @property
    def empty(self) -> bool:
        """Whether no time lies between both frames."""
        return all(place in (0, 1) for place in self.places)

    def _place(self, time: Fraction) -> Fraction:
        if self.second is None or time <= self.first.time:
            return Fraction(0)
        length = self.second.time - self.first.time
        place = (time - self.first.time) / length
        if not self.joined:
            return Fraction(place > Fraction(1, 2))
        return Fraction(0) if place * length <= snap(length) else place


def snap(length: Fraction) -> Fraction:
    """How near a wanted time must be to a frame to mean it, seconds; `length`: the time to its neighbour."""
    return min(SNAP, length * MOST_SNAP)


def find_gaps(frames: Iterable[Frame], times: Iterable[Fraction], hold: Fraction | None = None) -> Iterator[Gap]:
    """The gap after each frame, with the wanted times in it; times before the first frame are in the first gap.

    times: seconds, none before the one ahead of it; they may go on for ever. hold: how long the last frame is shown:
    times from then on are left out; None for no limit. Reads one frame and one time ahead. Raises ValueError for a
    time that goes back.
    """
    wanted = _ascending(times)
    time = next(wanted, None)
    first: Frame | None = None
    for second in frames:
        if first is not None:
            found = []
            start = second.time - snap(second.time - first.time)
            while time is not None and time < start:
                found.append(time)
                time = next(wanted, None)
            yield Gap(first, second, tuple(found))
        first = second
    end = None if first is None or hold is None else first.time + hold - snap(hold)
    while first is not None and time is not None and (end is None or time < end):
        yield Gap(first, None, (time,))
        time = next(wanted, None)


def regular(step: Fraction) -> Iterator[Fraction]:
    """0, step, 2 step and so on, for ever."""
    return (step * number for number in count())


def exposures(times: Iterable[Fraction], shutter: Fraction, samples: int) -> Iterator[Fraction]:
    """For each time, an odd number of `samples` times, evenly before and after it: the shutter is open for so long.

    shutter: share of the time to each neighbour, 0 to 1. At the ends there is one neighbour, and the other is taken to
    be as far. Reads one time ahead.
    """
    half = samples // 2
    before: Fraction | None = None
    ahead = iter(times)
    time = next(ahead, None)
    while time is not None:
        after = next(ahead, None)
        gap = after - time if after is not None else time - before if before is not None else Fraction(0)
        back = gap if before is None else time - before
        for number in range(-half, half + 1):
            reach = back if number < 0 else gap
            # The middles of equal parts of the exposure.
            yield time + shutter * reach * Fraction(number, samples)
        before, time = time, after


def _ascending(times: Iterable[Fraction]) -> Iterator[Fraction]:
    last: Fraction | None = None
    for time in times:
        if last is not None and time < last:
            raise ValueError(f"times must not go back, {float(time):g} s comes after {float(last):g} s")
        last = time
        yield time
