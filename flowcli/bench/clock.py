"""Timing in turns: things to compare are measured in the same rounds, since a machine's speed changes by the minute."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

LEAST = 3
"""Number of rounds that are always measured."""
_FLUSH = 2**28
"""Bytes; larger than the cache of any GPU."""
STREAM = 8
"""Number of queued calls that stands for a long run."""

Call = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of a quantity that was measured `rounds` times."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))

    def over(self, divisor: float) -> Spread:
        return Spread(self.median / divisor, self.low / divisor, self.high / divisor, self.rounds)


class Clock:
    """Measures how long work on a device takes; on a GPU by its own clock and with cold caches.

    queued: number of calls that a GPU is given at once. One call measures the time of the work itself; several measure
    the throughput of a video, where the GPU works on one call while the next is launched.
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
        # While the GPU is busy with this, the work is queued behind it: the time of launching is not measured.
        self._flush.zero_()
        start.record(stream)
        for _ in range(self._queued):
            call()
        end.record(stream)
        end.synchronize()
        milliseconds: float = start.elapsed_time(end)
        return milliseconds / 1000 / self._queued


def rounds(seconds: float) -> Iterator[None]:
    """Yields once per round until `seconds` have passed, but at least LEAST times."""
    began, count = time.perf_counter(), 0
    while count < LEAST or time.perf_counter() - began < seconds:
        yield
        count += 1


@torch.inference_mode()
def by_turns(calls: Mapping[str, Call], seconds: float, clock: Clock) -> dict[str, Spread]:
    """The seconds that each call takes, measured in turns after one call for warming up."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in rounds(seconds):
        for name, call in calls.items():
            taken[name].append(clock.seconds(call))
    return {name: Spread.of(values) for name, values in taken.items()}
