"""What a GPU needs besides the work itself: its own clock, uploads, streams for several threads, and room in memory.

Work on a GPU is only queued by the CPU, in streams: within one it runs in order, different ones run side by side unless
one waits for the other. The network runs on the current stream of the thread that asks for flow, uploads on a stream of
their own, and each thread that draws flow on one of its own.
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
    """Measures on the GPU's own clock, since the CPU only queues the work and must not wait for it."""

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
        """Waits for the work that is queued and counts it."""
        self._stream.synchronize()
        while self._running:
            self._add(*self._running.popleft())

    def _add(self, start: torch.cuda.Event, end: torch.cuda.Event) -> None:
        self.seconds += start.elapsed_time(end) / 1000


class Uploads:
    """Brings pictures to the GPU on a stream of its own, while the network is busy with those before them."""

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
    """Bytes that a block of work took at most, more than before it; known at its end."""

    bytes: int = 0


@contextmanager
def measured(device: torch.device) -> Iterator[Need]:
    """Measures the memory that the block takes on the GPU."""
    need = Need()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    yield need
    need.bytes = torch.cuda.max_memory_allocated(device) - before


def free_memory(device: torch.device) -> int:
    """Bytes that torch can still take, with those that it holds unused."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
