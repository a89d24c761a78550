"""Time taken by turns: what is compared is measured in the same rounds, for a machine's speed changes by the minute."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

LEAST = 3
"""Rounds that are always taken."""
_FLUSH = 2**28
"""Bytes, more than the cache of any GPU."""
STREAM = 8
"""Calls that stand for a long run of them."""

Call = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Of what was measured `rounds` times: the median and the quartiles around it."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of two values at least."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))

    def over(self, divisor: float) -> Spread:
        return Spread(self.median / divisor, self.low / divisor, self.high / divisor, self.rounds)


class Clock:
    """Seconds that work on a device takes; on a GPU by its own clock, beginning with cold caches.

    queued: how many calls a GPU is given at once. A single one is the time of the work itself; more tell how fast it
    goes on and on, as in a video, when the GPU works on one thing while the next is launched.
    """

    def __init__(self, device: torch.device, queued: int = 1) -> None:
        self._device = device
        self._queued = queued
        self._flush = torch.empty(_FLUSH if device.type == "cuda" else 0, dtype=torch.uint8, device=device)

    def seconds(self, call: Call) -> float:
        if self._device.type != "cuda":
            began = time.perf_counter()
            call()
            return time.perf_counter() - began
        stream = torch.cuda.current_stream(self._device)
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        # Busy with this, the GPU finds the work that follows queued, and does not wait for it to be launched.
        self._flush.zero_()
        start.record(stream)
        for _ in range(self._queued):
            call()
        end.record(stream)
        end.synchronize()
        milliseconds: float = start.elapsed_time(end)
        return milliseconds / 1000 / self._queued


def rounds(seconds: float) -> Iterator[None]:
    """Goes on until so many seconds have passed, for LEAST rounds at least."""
    began, count = time.perf_counter(), 0
    while count < LEAST or time.perf_counter() - began < seconds:
        yield
        count += 1


@torch.inference_mode()
def by_turns(calls: Mapping[str, Call], seconds: float, clock: Clock) -> dict[str, Spread]:
    """Seconds that each call takes, after one that does not count."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in rounds(seconds):
        for name, call in calls.items():
            taken[name].append(clock.seconds(call))
    return {name: Spread.of(values) for name, values in taken.items()}
