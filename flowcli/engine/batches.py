"""The number of frames per step: as requested, as many as keep a CPU busy, or as many as fit a GPU's memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from flowcli.engine import cuda

MOST = 8
"""Largest number of frames per step: more hardly gain speed, and delay the output."""
_SHARE = 0.5
"""Share of the free memory for a step; the rest is for a graph's copy, for flow on its way out, and for others."""

_log = logging.getLogger("flowcli")


class Batches:
    """`size` frames per step, fewer when memory is short."""

    settled = True
    """Whether `size` is final for frames of the current size; otherwise it is after the first full step."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self._warned = False

    def begin(self, frame: tuple[int, int], inner: tuple[int, int]) -> None:
        """Announces frames of this height and width. inner: height and width in the network."""

    @contextmanager
    def full_step(self) -> Iterator[None]:
        """A context for a step that does everything that later steps do."""
        yield

    def shrink(self, count: int, device: torch.device) -> None:
        """Halves the `count` frames for which the device had too little memory."""
        self.size = count // 2
        if not self._warned:
            self._warned = True
            _log.warning("not enough memory on %s for %d frames at once: taking fewer", device, count)


class BusyBatches(Batches):
    """As many frames as keep the cores of a CPU busy. together: the number of pixels that does."""

    def __init__(self, together: int) -> None:
        super().__init__()
        self._together = together

    def begin(self, frame: tuple[int, int], inner: tuple[int, int]) -> None:
        self.size = whole_batch(self._together // (inner[0] * inner[1]))


class FittingBatches(Batches):
    """As many frames as fit the memory of a GPU; one, until the memory per frame is measured."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._frame: tuple[int, int] | None = None
        """The size of frames that `size` is for."""

    def begin(self, frame: tuple[int, int], inner: tuple[int, int]) -> None:
        if frame != self._frame:
            self._frame, self.size, self.settled = frame, 1, False

    @contextmanager
    def full_step(self) -> Iterator[None]:
        if self.settled:
            yield
            return
        self.settled = True
        with cuda.measured(self._device) as need:
            yield
        self.size = choose_batch(cuda.free_memory(self._device), need.bytes)


def open_batches(device: torch.device, asked: int | None, together: int) -> Batches:
    """The rule that suits the device. asked: requested frames per step, or None; together: as in FlowModel."""
    if asked is not None:
        return Batches(asked)
    if device.type == "cuda":
        return FittingBatches(device)
    return BusyBatches(together) if together else Batches()


def choose_batch(free: int, need: int) -> int:
    """Frames per step. free: free memory in bytes; need: bytes per frame."""
    return whole_batch(int(_SHARE * free) // max(need, 1))


def whole_batch(fit: int) -> int:
    """The largest power of two up to `fit`, between 1 and MOST."""
    # If memory is short anyway, the engine takes halves.
    return 1 << max(1, min(MOST, fit)).bit_length() - 1
