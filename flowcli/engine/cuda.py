"""Timing, uploads and memory on a GPU.

The CPU only queues work on a GPU, in streams. Work in one stream runs in order; different streams run concurrently
unless one waits for the other. The network runs on the current stream of the thread that asks for flow, uploads have a
stream of their own, and so has each thread that draws flow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flowcli.pipeline import Stopwatch


class CudaStopwatch(Stopwatch):
    """A stopwatch with the GPU's own clock, since the CPU only queues the work and must not wait for it."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._stream = torch.cuda.current_stream(device)
        self._running: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()

    @contextmanager
    def timed(self, items: int = 1) -> Iterator[None]:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record(self._stream)
        yield
        end.record(self._stream)
        self._running.append((start, end))
        self.items += items
        while self._running and self._running[0][1].query():
            self._add(*self._running.popleft())

    def settle(self) -> None:
        """Waits for the queued work and counts it."""
        self._stream.synchronize()
        while self._running:
            self._add(*self._running.popleft())

    def _add(self, start: torch.cuda.Event, end: torch.cuda.Event) -> None:
        self.seconds += start.elapsed_time(end) / 1000


class Uploads:
    """Uploads pictures to the GPU in a separate stream, while the network works on earlier ones."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def __call__(self, images: Sequence[np.ndarray]) -> Tensor:
        """(N, H, W, 3) uint8, ready for the current stream of this thread. images: (H, W, 3) uint8 each."""
        # torch keeps the pinned memory for later calls, but hands it out only when the copy from it is done.
        pinned = torch.empty((len(images), *images[0].shape), dtype=torch.uint8, pin_memory=True)
        np.stack(images, out=pinned.numpy())
        here = torch.cuda.current_stream(self._stream.device)
        with torch.cuda.stream(self._stream):
            pixels = pinned.to(self._stream.device, non_blocking=True)
        here.wait_stream(self._stream)
        pixels.record_stream(here)
        return pixels


@dataclass
class Need:
    """The peak of a block's additional memory in bytes, known at its end."""

    bytes: int = 0


@contextmanager
def measured(device: torch.device) -> Iterator[Need]:
    """Measures the peak of the memory that the block takes on the GPU."""
    need = Need()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    yield need
    need.bytes = torch.cuda.max_memory_allocated(device) - before


def free_memory(device: torch.device) -> int:
    """Bytes that torch can still use, including reserved memory that is not allocated."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
