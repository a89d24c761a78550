"""Outputs that need the frames, beside the pairs or instead: copies of them, and what is measured on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from flowcli.types import FlowPair, Frame, Sink

if TYPE_CHECKING:
    import numpy as np

    from flowcli.motion.stats import Meter, Row

Watch = Callable[[Iterable[Frame]], Iterator[Frame]]
"""Passes frames on, as they come or a few of them late."""


class Passage:
    """The place where all frames pass, on their way to the engine, those who watch."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []
        self._first: list[Watch] = []

    def add(self, watch: Watch, *, deep: bool = False) -> None:
        """Adds one who watches, before the first frame has passed. deep: who sees frames of 16 bits as they are."""
        (self._first if deep else self._watches).append(watch)

    def through(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames, in 8 bits."""
        for watch in self._first:
            frames = watch(frames)
        frames = map(_in_bytes, frames)
        for watch in self._watches:
            frames = watch(frames)
        yield from frames


def _in_bytes(frame: Frame) -> Frame:
    from flowcli.pictures import in_bytes

    image = in_bytes(frame.image)
    return frame if image is frame.image else replace(frame, image=image)


class Deep:
    """A sink that hands on pairs with the pictures as they passed `watch`: the engine gets them in 8 bits."""

    def __init__(self, sink: Sink[FlowPair]) -> None:
        self._sink = sink
        self._waiting: deque[Frame] = deque()
        """Frames that have passed, which another thread adds."""
        self._images: dict[int, np.ndarray] = {}

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            self._waiting.append(frame)
            yield frame

    def write(self, pair: FlowPair) -> None:
        oldest = min(pair.first.index, pair.second.index)
        self._images = {index: image for index, image in self._images.items() if index >= oldest}
        while self._waiting:
            frame = self._waiting.popleft()
            self._images[frame.index] = frame.image
        first, second = (replace(frame, image=self._images[frame.index]) for frame in (pair.first, pair.second))
        at = first if pair.at.index == first.index else second
        self._sink.write(replace(pair, first=first, second=second, at=at))

    def close(self) -> None:
        self._sink.close()

    def abort(self) -> None:
        self._sink.abort()


class Copies:
    """A sink of pairs that writes the frames that pass `watch`, also those that no pair has.

    Each is written with the next pair that comes, in its thread, or at the end.
    """

    def __init__(self, sink: Sink[Frame]) -> None:
        self._sink = sink
        self._waiting: deque[Frame] = deque()

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            self._waiting.append(frame)
            yield frame

    def write(self, pair: FlowPair) -> None:
        while self._waiting:
            self._sink.write(self._waiting.popleft())

    def close(self) -> None:
        while self._waiting:
            self._sink.write(self._waiting.popleft())
        self._sink.close()

    def abort(self) -> None:
        self._sink.abort()


class Measured:
    """A sink of pairs that writes a row of `flowcli stats` for each frame; the meter watches the frames."""

    def __init__(self, meter: Meter, table: Sink[Row]) -> None:
        self._meter = meter
        self._table = table

    def write(self, pair: FlowPair) -> None:
        # A last frame with a pair of its own has its row already.
        if pair.first.index != pair.second.index:
            self._write(self._meter.until(pair))

    def close(self) -> None:
        self._write(self._meter.rest())
        self._table.close()

    def abort(self) -> None:
        self._table.abort()

    def _write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._table.write(row)


class Numbered:
    """A sink that gives frames the names img_00001, img_00002 and so on, as two-stream networks read them."""

    def __init__(self, sink: Sink[Frame]) -> None:
        self._sink = sink
        self._count = 0

    def write(self, frame: Frame) -> None:
        self._count += 1
        self._sink.write(replace(frame, name=f"img_{self._count:05d}"))

    def close(self) -> None:
        self._sink.close()

    def abort(self) -> None:
        self._sink.abort()
