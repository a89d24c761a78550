"""How many frames go through a network at once: as many as are asked for, keep a CPU busy, or fit a GPU's memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from flowcli.engine import cuda

MOST = 8
"""Frames in a step: more of them hardly gain speed, and come out later."""
_SHARE = 0.5
"""Of the free memory, for a step: the rest is for a graph's own copy, for flow on its way out, and for others."""

_log = logging.getLogger("flowcli")


class Batches:
    """`size` frames in a step, until memory is short."""

    settled = True
    """Whether `size` is what it will be for frames like those that come; else after the first full step."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self._warned = False

    def begin(self, frame: tuple[int, int], inner: tuple[int, int]) -> None:
        """Frames of that size come now, height and width; inner: as the network sees them."""

    @contextmanager
    def full_step(self) -> Iterator[None]:
        """Around a step that does all that later ones do."""
        yield

    def shrink(self, count: int, device: torch.device) -> None:
        """From now on half of the `count` frames that the device had no memory for."""
        self.size = count // 2
        if not self._warned:
            self._warned = True
            _log.warning("not enough memory on %s for %d frames at once: taking fewer", device, count)


class BusyBatches(Batches):
    """As many frames as keep the cores of a CPU busy; `together`: pixels that do."""

    def __init__(self, together: int) -> None:
        super().__init__()
        self._together = together

    def begin(self, frame: tuple[int, int], inner: tuple[int, int]) -> None:
        self.size = whole_batch(self._together // (inner[0] * inner[1]))


class FittingBatches(Batches):
    """As many frames as the memory of a GPU is good for: one, until it is known what that takes."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._frame: tuple[int, int] | None = None
        """For which the size is, or will be."""

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
    """What suits the device; asked: frames in a step, if that is not left to it; together: see FlowModel."""
    if asked is not None:
        return Batches(asked)
    if device.type == "cuda":
        return FittingBatches(device)
    return BusyBatches(together) if together else Batches()


def choose_batch(free: int, need: int) -> int:
    """Frames in a step. free: bytes there are; need: bytes for each frame."""
    return whole_batch(int(_SHARE * free) // max(need, 1))


def whole_batch(fit: int) -> int:
    """Frames in a step if `fit` of them would do: a power of two from 1 to MOST."""
    # Where memory is short all the same, the engine takes halves.
    return 1 << max(1, min(MOST, fit)).bit_length() - 1
